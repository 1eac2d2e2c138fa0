/// The special tokens around a text, among them the language that mBART, M2M-100 and NLLB mark a text with.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace rapt {

/// The special tokens that a tokenizer puts around a text.
struct TextFrame {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;

  /// before, `ids`, after.
  std::vector<std::int32_t> around(std::span<const std::int32_t> ids) const;
};

/// Throws Error where the special tokens are not at the ends of a text alone.
TextFrame frame_of(const Tokenizer& tokenizer);

/// The id of the first of `names` that is a piece of the vocabulary.
std::optional<std::int32_t> find_piece(const Tokenizer& tokenizer, std::initializer_list<std::string_view> names);

/// The ids below `count` that no piece of the vocabulary has, but for those in `wanted`.
std::vector<std::int32_t> ids_without_piece(const Tokenizer& tokenizer, std::int64_t count,
                                            std::span<const std::int32_t> wanted);

/// Names of languages, as tokenizers write them: en_XX (mBART), en (M2M-100), eng_Latn (NLLB). Empty: what the
/// tokenizer's files say.
struct Languages {
  std::string source = {};
  std::string target = {};
};

/// How the two sides of a translation become ids.
struct PairFrames {
  TextFrame source;
  TextFrame target;
  std::string marked_with = {};  ///< the language that the tokenizer's files say; empty: it marks no text with one
  std::optional<std::int32_t> language = std::nullopt;  ///< the target language, where one was named
  bool language_ends = false;  ///< it stands behind a text (the first mBART), so that the decoder begins with it
};

/// The frames of a tokenizer with the languages in place of those that it has. `others`: special tokens of the model
/// that are no language (end, beginning, padding). Throws Error naming `model` for languages that the tokenizer does
/// not have.
PairFrames pair_frames(const Tokenizer& tokenizer, std::span<const std::int32_t> others, const Languages& languages,
                       std::string_view model);

}  // namespace rapt
