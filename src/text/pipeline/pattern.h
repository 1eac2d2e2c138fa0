/// Patterns that cut texts: literal strings, and the regular expressions of known tokenizers.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"

namespace rapt {

// How models cut texts into words whose files name the way without showing it.
constexpr std::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenWords =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// A part of a text, in bytes.
struct Part {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool match = false;

  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

/// Cuts a text into what matches, from left to right without overlap, and what lies between. The parts cover the text;
/// an empty text has none.
using Pattern = std::function<std::vector<Part>(std::string_view text)>;

/// What equals a string, which is not empty.
Pattern literal_pattern(std::string literal);

/// Each character that fulfils a predicate.
Pattern character_pattern(std::function<bool(char32_t)> predicate);

/// A regular expression that tokenizers of published models use, in time linear in the text; none if it is not among
/// them. Each known expression has a matcher of its own: there is no engine, hence nothing that could run away.
Pattern find_regex_pattern(std::string_view regex);

/// All expressions that find_regex_pattern knows.
std::vector<std::string_view> known_regexes();

/// The text with `content` in place of the parts that match.
std::string replace_matches(std::string_view text, const std::vector<Part>& parts, std::string_view content);

/// Reads "pattern" of an object of tokenizer.json: {"String": ...} or {"Regex": ...}. Throws Error for an expression
/// that is not known, showing it.
Pattern read_pattern(const JsonObject& object);

}  // namespace rapt
