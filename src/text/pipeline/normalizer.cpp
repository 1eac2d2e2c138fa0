#include "text/pipeline/normalizer.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "text/pipeline/base64.h"
#include "text/pipeline/byte_level.h"
#include "text/pipeline/charsmap.h"
#include "text/pipeline/growth.h"
#include "text/pipeline/pattern.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

Normalizer of_form(NormalizationForm form) {
  return [form](NormalizedText& normalized) { normalized.text = normalize(normalized.text, form); };
}

/// Replaces each character by what `map` appends for it.
template <typename Map>
void map_characters(NormalizedText& normalized, Map map) {
  const std::string text = std::exchange(normalized.text, "");
  normalized.text.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    map(step.code_point, normalized.text);
    position += step.length;
    if (position == step.length && normalized.text.empty()) normalized.keeps_start = false;
  }
}

template <typename Predicate>
void remove_characters(NormalizedText& normalized, Predicate predicate) {
  map_characters(normalized, [&](char32_t character, std::string& result) {
    if (!predicate(character)) append_utf8(result, character);
  });
}

void strip_left(NormalizedText& normalized) {
  const std::string& text = normalized.text;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const Utf8Step step = utf8_step(text, begin);
    if (!is_white_space(step.code_point)) break;
    begin += step.length;
  }
  if (begin > 0) normalized.keeps_start = false;
  normalized.text.erase(0, begin);
}

void strip_right(NormalizedText& normalized) {
  std::string& text = normalized.text;
  while (!text.empty()) {
    const std::size_t position = character_begin(text, text.size() - 1);
    if (!is_white_space(utf8_step(text, position).code_point)) break;
    text.resize(position);
  }
}

Normalizer read_strip(const JsonObject& object) {
  const bool left = object.boolean("strip_left");
  const bool right = object.boolean("strip_right");
  return [left, right](NormalizedText& normalized) {
    if (left) strip_left(normalized);
    if (right) strip_right(normalized);
  };
}

/// The rules of "Neural Machine Translation" that SentencePiece calls nmt: some control characters go, others and rare
/// spaces become spaces.
void normalize_nmt(NormalizedText& normalized) {
  map_characters(normalized, [](char32_t c, std::string& result) {
    const bool removed =
        (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    if (removed) return;
    static constexpr std::u32string_view spaces =
        U"\t\n\f\r\u1680\u200B\u200C\u200D\u200E\u200F\u2028\u2029\u2581\uFEFF\uFFFD";
    append_utf8(result, spaces.find(c) != spaces.npos ? U' ' : c);
  });
}

bool is_cjk_ideograph(char32_t c) {
  constexpr std::pair<char32_t, char32_t> blocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                                      {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::ranges::any_of(blocks, [c](const auto& block) { return c >= block.first && c <= block.second; });
}

void clean_for_bert(char32_t c, std::string& result) {
  const bool space = is_white_space(c);
  const bool kept_control = c == '\t' || c == '\n' || c == '\r';
  if (c == 0 || c == kReplacementCharacter || (is_control(c) && !kept_control)) return;
  append_utf8(result, space ? U' ' : c);
}

void put_spaces_around_ideographs(char32_t c, std::string& result) {
  if (!is_cjk_ideograph(c)) return append_utf8(result, c);
  result += ' ';
  append_utf8(result, c);
  result += ' ';
}

/// BERT's basic tokenisation, up to where words are cut (Devlin et al. 2019).
Normalizer read_bert_normalizer(const JsonObject& object) {
  const bool clean = object.boolean("clean_text");
  const bool ideographs = object.boolean("handle_chinese_chars");
  const bool lower = object.boolean("lowercase");
  const bool strip_accents = object.find_boolean("strip_accents").value_or(lower);
  return [=](NormalizedText& normalized) {
    if (clean) map_characters(normalized, clean_for_bert);
    if (ideographs) map_characters(normalized, put_spaces_around_ideographs);
    if (strip_accents) {
      normalized.text = normalize(normalized.text, NormalizationForm::nfd);
      remove_characters(normalized, is_nonspacing_mark);
    }
    if (lower) normalized.text = to_lower_each(normalized.text);
  };
}

Normalizer read_replace(const JsonObject& object) {
  const std::string content = object.text("content");
  return [pattern = read_pattern(object), content](NormalizedText& normalized) {
    const std::vector<Part> parts = pattern(normalized.text);
    // The tokenizers library takes what replaces several characters for standing where the last of them stood.
    if (!parts.empty() && parts.front().match) {
      const bool one = parts.front().end == utf8_step(normalized.text, 0).length;
      normalized.keeps_start &= one && !content.empty();
    }
    normalized.text = replace_matches(normalized.text, parts, content);
  };
}

Normalizer read_precompiled(const JsonObject& object) {
  const std::optional<std::string> charsmap = decode_base64(object.text("precompiled_charsmap"));
  if (!charsmap) object.refuse("precompiled_charsmap", "base64");
  return [rules = std::make_shared<Charsmap>(*charsmap, object.file())](NormalizedText& normalized) {
    normalized.text = rules->normalize(normalized.text);
  };
}

Normalizer read_prepend(const JsonObject& object) {
  return [prefix = object.text("prepend")](NormalizedText& normalized) {
    if (!normalized.text.empty()) normalized.text.insert(0, prefix);
  };
}

Normalizer read_normalizer_step(const JsonObject& object, const std::string& type) {
  if (type == "NFC") return of_form(NormalizationForm::nfc);
  if (type == "NFD") return of_form(NormalizationForm::nfd);
  if (type == "NFKC") return of_form(NormalizationForm::nfkc);
  if (type == "NFKD") return of_form(NormalizationForm::nfkd);
  if (type == "Lowercase") return [](NormalizedText& normalized) { normalized.text = to_lower_each(normalized.text); };
  if (type == "StripAccents") return [](NormalizedText& normalized) { remove_characters(normalized, is_mark); };
  if (type == "Strip") return read_strip(object);
  if (type == "Nmt") return normalize_nmt;
  if (type == "BertNormalizer") return read_bert_normalizer(object);
  if (type == "Replace") return read_replace(object);
  if (type == "Prepend") return read_prepend(object);
  if (type == "Precompiled") return read_precompiled(object);
  if (type == "ByteLevel") {
    return [](NormalizedText& normalized) { normalized.text = bytes_to_characters(normalized.text); };
  }
  object.refuse("type", "a kind of normalizer that rapt knows");
}

void read_steps(const JsonObject& object, std::vector<Normalizer>& steps) {
  const std::string type = object.text("type");
  if (type != "Sequence") return steps.push_back(read_normalizer_step(object, type));
  for (const JsonObject& step : object.objects("normalizers")) read_steps(step, steps);
}

}  // namespace

Normalizer read_normalizer(const JsonObject& object) {
  std::vector<Normalizer> steps;
  read_steps(object, steps);
  return [steps](NormalizedText& normalized) {
    const std::size_t given = normalized.text.size();
    for (const Normalizer& step : steps) {
      step(normalized);
      require_modest_growth(given, normalized.text.size());
    }
  };
}

}  // namespace rapt
