#include "text/pipeline/pattern.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>

#include "text/pipeline/growth.h"
#include "text/pipeline/model.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// The characters of a text with their classes.
class Characters {
 public:
  explicit Characters(std::string_view text) {
    points_.reserve(text.size());
    for (std::size_t position = 0; position < text.size();) {
      const Utf8Step step = utf8_step(text, position);
      points_.push_back({position, step.code_point, classes_of(step.code_point)});
      position += step.length;
    }
    bytes_ = text.size();
  }

  std::size_t size() const { return points_.size(); }
  /// U+0000 past the end, as for a NUL; no expression asks for either.
  char32_t operator[](std::size_t at) const { return at < size() ? points_[at].code_point : 0; }
  bool is(std::size_t at, unsigned classes) const { return at < size() && (points_[at].classes & classes) != 0; }
  bool is_not(std::size_t at, unsigned classes) const { return at < size() && (points_[at].classes & classes) == 0; }
  std::size_t byte(std::size_t at) const { return at < size() ? points_[at].byte : bytes_; }

  /// The end of the run of characters of some classes that begins at `at`.
  std::size_t run(std::size_t at, unsigned classes, std::size_t at_most = std::string_view::npos) const {
    std::size_t end = at;
    while (is(end, classes) && end - at < at_most) ++end;
    return end;
  }
  std::size_t run_of_others(std::size_t at, unsigned classes) const {
    while (is_not(at, classes)) ++at;
    return at;
  }
  /// The end of the run of characters out of a set.
  std::size_t run_of(std::size_t at, std::u32string_view set) const {
    while (at < size() && set.find(points_[at].code_point) != set.npos) ++at;
    return at;
  }

 private:
  struct Point {
    std::size_t byte;
    char32_t code_point;
    unsigned classes;
  };
  std::vector<Point> points_;
  std::size_t bytes_;
};

/// Where the match that begins at a character ends; the same character if there is none. No match is empty.
using Matcher = std::function<std::size_t(const Characters& text, std::size_t at)>;

Pattern pattern_of(Matcher matcher) {
  return [matcher = std::move(matcher)](std::string_view text) {
    const Characters characters(text);
    std::vector<Part> parts;
    std::size_t unmatched = 0;
    for (std::size_t at = 0; at < characters.size();) {
      const std::size_t end = matcher(characters, at);
      if (end == at) {
        ++at;
        continue;
      }
      if (unmatched < at) parts.push_back({characters.byte(unmatched), characters.byte(at), false});
      parts.push_back({characters.byte(at), characters.byte(end), true});
      at = unmatched = end;
    }
    if (unmatched < characters.size()) parts.push_back({characters.byte(unmatched), text.size(), false});
    return parts;
  };
}

/// The expressions of GPT-2 and its descendants are alternatives in one order: contractions, letters, digits, other
/// characters, white space. They differ in what follows.
struct WordRules {
  enum class Contractions {
    none,
    lower_case,  ///< 's|'t|'re|'ve|'m|'ll|'d
    any_case,    ///< (?i:'s|'t|'re|'ve|'m|'ll|'d)
    suffix,      ///< the same, as the end of a word
  };
  enum class Letters {
    after_space,  ///< " ?\p{L}+"
    after_other,  ///< [^\r\n\p{L}\p{N}]?\p{L}+
    by_case,      ///< [^\r\n\p{L}\p{N}]? and then capitals, small letters, or capitals before small letters
  };
  Contractions contractions = Contractions::none;
  Letters letters = Letters::after_other;
  bool marks = false;        ///< marks count as letters, except before a word
  std::size_t digits = 1;    ///< at most so many together; 0: any number, and a space before them
  std::u32string_view tail;  ///< what may follow other characters
  bool lines = true;         ///< \s*[\r\n]+ comes before other white space
};

using Contractions = WordRules::Contractions;
using Letters = WordRules::Letters;

/// The letter that an expression which ignores case takes a character for.
char32_t fold(char32_t character) {
  constexpr char32_t long_s = 0x17F;
  if (character == long_s) return 's';
  return character >= 'A' && character <= 'Z' ? character + ('a' - 'A') : character;
}

std::size_t match_contraction(const Characters& text, std::size_t at, bool any_case) {
  if (text[at] != '\'') return at;
  const char32_t first = any_case ? fold(text[at + 1]) : text[at + 1];
  const char32_t second = any_case ? fold(text[at + 2]) : text[at + 2];
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  const bool two = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return two ? at + 3 : at;
}

/// \s*[\r\n]+ if asked for, \s+(?!\S), \s+: what they leave of a run of white space is its last character, if something
/// follows it.
std::size_t match_white_space(const Characters& text, std::size_t at, bool lines) {
  const std::size_t end = text.run(at, kWhiteSpace);
  if (lines) {
    for (std::size_t last = end; last > at; --last) {
      if (text.is(last - 1, kLineEnd)) return last;
    }
  }
  return end < text.size() && end > at + 1 ? end - 1 : end;
}

constexpr unsigned kCapital = kUpperLetter | kOtherLetter | kMark;
constexpr unsigned kSmall = kLowerLetter | kOtherLetter | kMark;

/// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
std::size_t match_small_word(const Characters& text, std::size_t at) {
  const std::size_t capitals = text.run(at, kCapital);
  if (text.is(capitals, kSmall)) return text.run(capitals, kSmall);
  // The last character that may be small ends the word.
  for (std::size_t last = capitals; last > at; --last) {
    if (text.is(last - 1, kSmall)) return last;
  }
  return at;
}

/// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*
std::size_t match_capital_word(const Characters& text, std::size_t at) {
  const std::size_t capitals = text.run(at, kCapital);
  return capitals > at ? text.run(capitals, kSmall) : at;
}

/// `match`, with one character before it if that is not excluded, else without.
template <typename Match>
std::size_t after_one_of_others(const Characters& text, std::size_t at, unsigned excluded, Match match) {
  if (text.is_not(at, excluded)) {
    const std::size_t end = match(text, at + 1);
    if (end > at + 1) return end;
  }
  return match(text, at);
}

std::size_t match_word(const Characters& text, std::size_t at, const WordRules& rules) {
  const unsigned letters = rules.marks ? kLetter | kMark : unsigned{kLetter};
  if (rules.letters == Letters::after_space) {
    const std::size_t begin = text[at] == ' ' ? at + 1 : at;
    const std::size_t end = text.run(begin, letters);
    return end > begin ? end : at;
  }
  constexpr unsigned excluded = kLineEnd | kLetter | kNumber;
  if (rules.letters == Letters::after_other) {
    return after_one_of_others(text, at, excluded,
                               [&](const Characters& t, std::size_t begin) { return t.run(begin, letters); });
  }
  std::size_t end = after_one_of_others(text, at, excluded, match_small_word);
  if (end == at) end = after_one_of_others(text, at, excluded, match_capital_word);
  return end > at && rules.contractions == Contractions::suffix ? match_contraction(text, end, true) : end;
}

std::size_t match_digits(const Characters& text, std::size_t at, const WordRules& rules) {
  if (rules.digits > 0) return text.run(at, kNumber, rules.digits);
  const std::size_t begin = text[at] == ' ' ? at + 1 : at;
  const std::size_t end = text.run(begin, kNumber);
  return end > begin ? end : at;
}

/// " ?[^\s\p{L}\p{N}]+" and a tail.
std::size_t match_others(const Characters& text, std::size_t at, const WordRules& rules) {
  const unsigned excluded = kWhiteSpace | kLetter | kNumber | (rules.marks ? unsigned{kMark} : 0);
  const std::size_t begin = text[at] == ' ' ? at + 1 : at;
  const std::size_t end = text.run_of_others(begin, excluded);
  return end > begin ? text.run_of(end, rules.tail) : at;
}

std::size_t match_rules(const Characters& text, std::size_t at, const WordRules& rules) {
  std::size_t end = at;
  if (rules.contractions == Contractions::lower_case || rules.contractions == Contractions::any_case) {
    end = match_contraction(text, at, rules.contractions == Contractions::any_case);
  }
  if (end == at) end = match_word(text, at, rules);
  if (end == at) end = match_digits(text, at, rules);
  if (end == at) end = match_others(text, at, rules);
  if (end == at) end = match_white_space(text, at, rules.lines);
  return end;
}

Matcher words(const WordRules& rules) {
  return [rules](const Characters& text, std::size_t at) { return match_rules(text, at, rules); };
}

Matcher run_of_classes(unsigned classes, std::size_t at_most = std::string_view::npos) {
  return [=](const Characters& text, std::size_t at) { return text.run(at, classes, at_most); };
}

/// CLIP: contractions, letters, single digits, other characters; white space matches nothing.
std::size_t match_clip(const Characters& text, std::size_t at) {
  std::size_t end = match_contraction(text, at, false);
  if (end == at) end = text.run(at, kLetter);
  if (end == at) end = text.run(at, kNumber, 1);
  return end == at ? text.run_of_others(at, kWhiteSpace | kLetter | kNumber) : end;
}

/// BLOOM: a space and a run of what is neither white space nor one of some signs. (A set within a set is a union.)
std::size_t match_bloom(const Characters& text, std::size_t at) {
  static constexpr std::u32string_view excluded = U"(|).,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C";
  const std::size_t begin = text[at] == ' ' ? at + 1 : at;
  std::size_t end = begin;
  while (text.is_not(end, kWhiteSpace) && excluded.find(text[end]) == excluded.npos) ++end;
  return end > begin ? end : at;
}

/// Han characters, hiragana and katakana, as DeepSeek-V3 cuts them out.
std::size_t match_deepseek_cjk(const Characters& text, std::size_t at) {
  const auto inside = [](char32_t c) { return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF); };
  while (at < text.size() && inside(text[at])) ++at;
  return at;
}

bool is_ascii_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_ascii_punctuation(char32_t c) {
  return c > ' ' && c < 0x7F && !is_ascii_letter(c) && !(c >= '0' && c <= '9');
}

/// DeepSeek-V3: a sign with the ASCII letters after it; letters and marks, one character before them; signs; white
/// space.
std::size_t match_deepseek_words(const Characters& text, std::size_t at) {
  if (is_ascii_punctuation(text[at])) {
    std::size_t end = at + 1;
    while (is_ascii_letter(text[end])) ++end;
    if (end > at + 1) return end;
  }
  const std::size_t word =
      after_one_of_others(text, at, kLineEnd | kLetter | kPunctuation | kSymbol,
                          [](const Characters& t, std::size_t begin) { return t.run(begin, kLetter | kMark); });
  if (word > at) return word;
  const std::size_t begin = text[at] == ' ' ? at + 1 : at;
  const std::size_t end = text.run(begin, kPunctuation | kSymbol);
  return end > begin ? text.run_of(end, U"\r\n") : match_white_space(text, at, true);
}

/// DeepSeek-Coder: a run of one class, and one white space before it.
Matcher run_after_space(unsigned classes) {
  return [classes](const Characters& text, std::size_t at) {
    const std::size_t begin = text.is(at, kWhiteSpace) ? at + 1 : at;
    const std::size_t end = text.run(begin, classes);
    return end > begin ? end : at;
  };
}

/// From the Samaritan block to Han characters, and Hangul.
std::size_t match_deepseek_coder_cjk(const Characters& text, std::size_t at) {
  const auto inside = [](char32_t c) { return (c >= 0x800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF); };
  while (at < text.size() && inside(text[at])) ++at;
  return at;
}

/// Three ASCII digits (Falcon).
std::size_t match_three_digits(const Characters& text, std::size_t at) {
  for (std::size_t i = at; i < at + 3; ++i) {
    if (text[i] < '0' || text[i] > '9') return at;
  }
  return at + 3;
}

std::size_t match_two_spaces(const Characters& text, std::size_t at) {
  const std::size_t end = text.run_of(at, U" ");
  return end >= at + 2 ? end : at;
}

struct KnownRegex {
  std::string_view regex;
  Matcher matcher;
};

const std::vector<KnownRegex>& known() {
  static const std::vector<KnownRegex> table{
      // GPT-2, RoBERTa, OPT, GPT-NeoX, and most others that say ByteLevel without an expression.
      {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
       words({.contractions = Contractions::lower_case, .letters = Letters::after_space, .digits = 0, .lines = false})},
      {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
       words({.contractions = Contractions::lower_case, .letters = Letters::after_space, .digits = 0, .lines = false})},
      // Llama 3, GPT-4 (cl100k), OLMo 2, Phi-4, GLM-4.
      {kLlama3Words, words({.contractions = Contractions::any_case, .digits = 3, .tail = U"\r\n"})},
      {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
       words({.contractions = Contractions::any_case, .digits = 3, .tail = U"\r\n"})},
      // Qwen2, Qwen2.5, Qwen3.
      {kQwen2Words, words({.contractions = Contractions::any_case, .digits = 1, .tail = U"\r\n"})},
      // Qwen3.5.
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
       words({.contractions = Contractions::any_case, .marks = true, .digits = 1, .tail = U"\r\n"})},
      // GPT-4o, gpt-oss (o200k).
      {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
       words({.contractions = Contractions::suffix, .letters = Letters::by_case, .digits = 3, .tail = U"\r\n/"})},
      // Mistral's Tekken.
      {kTekkenWords, words({.letters = Letters::by_case, .digits = 1, .tail = U"\r\n/"})},
      // DeepSeek-V3 and R1 cut three times.
      {R"(\p{N}{1,3})", run_of_classes(kNumber, 3)},
      {R"([一-龥぀-ゟ゠-ヿ]+)", match_deepseek_cjk},
      {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
       match_deepseek_words},
      // DeepSeek-Coder.
      {R"(\s?\p{L}+)", run_after_space(kLetter)},
      {R"(\s?\p{P}+)", run_after_space(kPunctuation)},
      {R"([一-龥ࠀ-一가-퟿]+)", match_deepseek_coder_cjk},
      // CLIP, Falcon, BLOOM.
      {R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)", match_clip},
      {R"([0-9][0-9][0-9])", match_three_digits},
      {R"( ?[^(\s|[.,!?…。，、।۔،])]+)", match_bloom},
      // Normalizers and small pre-tokenizers.
      {R"( {2,})", match_two_spaces},
      {R"(\s+)", run_of_classes(kWhiteSpace)},
      {R"(\p{N})", run_of_classes(kNumber, 1)},
      {R"(\p{N}+)", run_of_classes(kNumber)},
      {R"(\p{L}+)", run_of_classes(kLetter)},
      {R"([\r\n])", run_of_classes(kLineEnd, 1)},
  };
  return table;
}

}  // namespace

Pattern literal_pattern(std::string literal) {
  return [literal = std::move(literal)](std::string_view text) {
    std::vector<Part> parts;
    std::size_t position = 0;
    for (std::size_t found; (found = text.find(literal, position)) != text.npos; position = found + literal.size()) {
      if (position < found) parts.push_back({position, found, false});
      parts.push_back({found, found + literal.size(), true});
    }
    if (position < text.size()) parts.push_back({position, text.size(), false});
    return parts;
  };
}

Pattern character_pattern(std::function<bool(char32_t)> predicate) {
  return pattern_of([predicate = std::move(predicate)](const Characters& text, std::size_t at) {
    return predicate(text[at]) ? at + 1 : at;
  });
}

Pattern find_regex_pattern(std::string_view regex) {
  const auto found = std::ranges::find(known(), regex, &KnownRegex::regex);
  return found == known().end() ? nullptr : pattern_of(found->matcher);
}

std::vector<std::string_view> known_regexes() {
  std::vector<std::string_view> result;
  for (const KnownRegex& entry : known()) result.push_back(entry.regex);
  return result;
}

std::string replace_matches(std::string_view text, const std::vector<Part>& parts, std::string_view content) {
  const auto replacement = [&](const Part& part) { return part.match ? content : part.of(text); };
  std::size_t bytes = 0;
  for (const Part& part : parts) bytes += replacement(part).size();
  require_modest_growth(text.size(), bytes);
  std::string result;
  result.reserve(bytes);
  for (const Part& part : parts) result += replacement(part);
  return result;
}

Pattern read_pattern(const JsonObject& object) {
  const JsonObject pattern = object.object("pattern");
  if (const auto literal = pattern.find_text("String")) {
    if (literal->empty() || literal->size() > kMaxPieceBytes) pattern.refuse("String", "a text of 1 to 1024 bytes");
    return literal_pattern(*literal);
  }
  Pattern result = find_regex_pattern(pattern.text("Regex"));
  if (!result) pattern.refuse("Regex", "a regular expression of a tokenizer that rapt knows");
  return result;
}

}  // namespace rapt
