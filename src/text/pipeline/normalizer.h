/// What a tokenizer does to a text before it cuts it.
#pragma once

#include <functional>
#include <string>

#include "formats/json.h"

namespace rapt {

struct NormalizedText {
  std::string text;
  /// Whether the first character still stands for the beginning of the text that was given, because nothing was removed
  /// before it.
  bool keeps_start = true;
};

using Normalizer = std::function<void(NormalizedText&)>;

/// Reads an object of tokenizer.json's "normalizer". Throws Error for kinds and settings that rapt does not know.
Normalizer read_normalizer(const JsonObject& object);

}  // namespace rapt
