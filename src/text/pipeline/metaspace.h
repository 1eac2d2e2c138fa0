/// SentencePiece's way with spaces: each becomes a visible character, and one stands before a text.
#pragma once

#include <string>

#include "formats/json.h"

namespace rapt {

struct Metaspace {
  enum class Prepend { never, first, always };

  std::string replacement;            ///< one character
  Prepend prepend = Prepend::always;  ///< before which parts of a text it is put
  bool split = true;                  ///< words begin at it
};

/// Reads an object of kind Metaspace, of "pre_tokenizer" or "decoder".
Metaspace read_metaspace(const JsonObject& object);

}  // namespace rapt
