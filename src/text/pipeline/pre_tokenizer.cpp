#include "text/pipeline/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "text/pipeline/byte_level.h"
#include "text/pipeline/growth.h"
#include "text/pipeline/metaspace.h"
#include "text/pipeline/pattern.h"
#include "text/replace.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of the matches of a pattern.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior read_behavior(const JsonObject& object, std::optional<Behavior> absent = std::nullopt) {
  constexpr std::pair<std::string_view, Behavior> names[] = {{"Removed", Behavior::removed},
                                                             {"Isolated", Behavior::isolated},
                                                             {"MergedWithPrevious", Behavior::merged_with_previous},
                                                             {"MergedWithNext", Behavior::merged_with_next},
                                                             {"Contiguous", Behavior::contiguous}};
  if (absent && !object.has("behavior")) return *absent;
  const std::string name = object.text("behavior");
  for (const auto& [known, behavior] : names) {
    if (name == known) return behavior;
  }
  object.refuse("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

std::vector<Part> merge_with_previous(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.match && !after_match && !merged.empty()) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
    after_match = part.match;
  }
  return merged;
}

std::vector<Part> merge_with_next(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool before_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->match && !before_match && !merged.empty()) {
      merged.back().begin = part->begin;
    } else {
      merged.push_back(*part);
    }
    before_match = part->match;
  }
  std::ranges::reverse(merged);
  return merged;
}

std::vector<Part> merge_neighbours(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  for (const Part& part : parts) {
    if (!merged.empty() && merged.back().match == part.match) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
  }
  return merged;
}

std::vector<Part> apply(Behavior behavior, std::vector<Part> parts) {
  switch (behavior) {
    case Behavior::removed:
      std::erase_if(parts, [](const Part& part) { return part.match; });
      return parts;
    case Behavior::isolated:
      return parts;
    case Behavior::merged_with_previous:
      return merge_with_previous(parts);
    case Behavior::merged_with_next:
      return merge_with_next(parts);
    case Behavior::contiguous:
      return merge_neighbours(parts);
  }
  return parts;
}

/// Cuts every word into the parts that `cut` gives.
template <typename Cut>
void cut_words(std::vector<PreToken>& words, Cut cut) {
  std::vector<PreToken> result;
  result.reserve(words.size());
  for (const PreToken& word : words) {
    for (const Part& part : cut(word.text)) {
      result.push_back({std::string(part.of(word.text)), word.starts_text && part.begin == 0});
    }
  }
  words = std::move(result);
}

PreTokenizer splitter(Pattern pattern, Behavior behavior, bool invert = false) {
  return [=](std::vector<PreToken>& words) {
    cut_words(words, [&](const std::string& text) {
      std::vector<Part> parts = pattern(text);
      if (invert) std::ranges::for_each(parts, [](Part& part) { part.match = !part.match; });
      return apply(behavior, std::move(parts));
    });
  };
}

PreTokenizer read_split(const JsonObject& object) {
  return splitter(read_pattern(object), read_behavior(object), object.boolean("invert"));
}

PreTokenizer read_byte_level(const JsonObject& object) {
  object.value("trim_offsets");  // places in the text are not asked for
  const bool prefix_space = object.boolean("add_prefix_space");
  const bool use_regex = object.find_boolean("use_regex").value_or(true);
  const PreTokenizer split = splitter(find_regex_pattern(kGpt2Regex), Behavior::isolated);
  return [=](std::vector<PreToken>& words) {
    for (PreToken& word : words) {
      if (prefix_space && !word.text.starts_with(' ')) word.text.insert(0, " ");
    }
    if (use_regex) split(words);
    for (PreToken& word : words) word.text = bytes_to_characters(word.text);
  };
}

PreTokenizer read_metaspace_splitter(const JsonObject& object) {
  const Metaspace metaspace = read_metaspace(object);
  const PreTokenizer split = splitter(literal_pattern(metaspace.replacement), Behavior::merged_with_next);
  return [=](std::vector<PreToken>& words) {
    for (PreToken& word : words) {
      word.text = replace_all(word.text, " ", metaspace.replacement);
      const bool wanted = metaspace.prepend == Metaspace::Prepend::always ||
                          (metaspace.prepend == Metaspace::Prepend::first && word.starts_text);
      if (wanted && !word.text.starts_with(metaspace.replacement)) word.text.insert(0, metaspace.replacement);
    }
    if (metaspace.split) split(words);
  };
}

/// Punctuation as BERT has it: Unicode's and all ASCII signs.
bool is_bert_punctuation(char32_t c) {
  return is_punctuation(c) || (c < 0x80 && is_symbol(c));
}

PreTokenizer read_bert_pre_tokenizer(const JsonObject&) {
  const PreTokenizer spaces = splitter(character_pattern(is_white_space), Behavior::removed);
  const PreTokenizer punctuation = splitter(character_pattern(is_bert_punctuation), Behavior::isolated);
  return [=](std::vector<PreToken>& words) {
    spaces(words);
    punctuation(words);
  };
}

/// \w+|[^\w\s]+
PreTokenizer whitespace() {
  const auto kind = [](char32_t c) { return is_word_character(c) ? 1 : is_white_space(c) ? 0 : 2; };
  return [kind](std::vector<PreToken>& words) {
    cut_words(words, [&](const std::string& text) {
      std::vector<Part> parts;
      int previous = 0;
      for (std::size_t position = 0; position < text.size();) {
        const Utf8Step step = utf8_step(text, position);
        const int current = kind(step.code_point);
        const std::size_t end = position + step.length;
        if (current != 0 && current == previous) {
          parts.back().end = end;
        } else if (current != 0) {
          parts.push_back({position, end, true});
        }
        previous = current;
        position = end;
      }
      return parts;
    });
  };
}

PreTokenizer read_digits(const JsonObject& object) {
  const bool individual = object.boolean("individual_digits");
  return splitter(character_pattern(is_number), individual ? Behavior::isolated : Behavior::contiguous);
}

PreTokenizer read_delimiter(const JsonObject& object) {
  const std::string delimiter = object.text("delimiter");
  if (to_code_points(delimiter).size() != 1) object.refuse("delimiter", "one character");
  return splitter(literal_pattern(delimiter), Behavior::removed);
}

PreTokenizer read_pre_tokenizer_step(const JsonObject& object, const std::string& type) {
  if (type == "ByteLevel") return read_byte_level(object);
  if (type == "Metaspace") return read_metaspace_splitter(object);
  if (type == "Split") return read_split(object);
  if (type == "BertPreTokenizer") return read_bert_pre_tokenizer(object);
  if (type == "Whitespace") return whitespace();
  if (type == "WhitespaceSplit") return splitter(character_pattern(is_white_space), Behavior::removed);
  if (type == "Punctuation")
    return splitter(character_pattern(is_bert_punctuation), read_behavior(object, Behavior::isolated));
  if (type == "Digits") return read_digits(object);
  if (type == "CharDelimiterSplit") return read_delimiter(object);
  object.refuse("type", "a kind of pre-tokenizer that rapt knows");
}

void read_steps(const JsonObject& object, std::vector<PreTokenizer>& steps) {
  const std::string type = object.text("type");
  if (type != "Sequence") return steps.push_back(read_pre_tokenizer_step(object, type));
  for (const JsonObject& step : object.objects("pretokenizers")) read_steps(step, steps);
}

std::size_t bytes_of(const std::vector<PreToken>& words) {
  std::size_t bytes = 0;
  for (const PreToken& word : words) bytes += word.text.size();
  return bytes;
}

}  // namespace

PreTokenizer read_pre_tokenizer(const JsonObject& object) {
  std::vector<PreTokenizer> steps;
  read_steps(object, steps);
  return [steps](std::vector<PreToken>& words) {
    const std::size_t given = bytes_of(words);
    for (const PreTokenizer& step : steps) {
      step(words);
      require_modest_growth(given, bytes_of(words));
    }
  };
}

}  // namespace rapt
