/// From pieces back to text, one piece after the other.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "formats/json.h"

namespace rapt {

/// A decoder in the middle of its work. It takes pieces and gives text as soon as nothing that follows can change it.
class PieceDecoder {
 public:
  virtual ~PieceDecoder() = default;
  /// Takes a piece and appends to `text` what has become certain.
  virtual void add(std::string piece, std::string& text) = 0;
  /// Appends the rest.
  virtual void finish(std::string& text) = 0;
};

/// Makes decoders that are at the beginning.
using DecoderFactory = std::function<std::unique_ptr<PieceDecoder>()>;

/// Reads an object of tokenizer.json's "decoder". Throws Error for kinds and settings that rapt does not know.
DecoderFactory read_decoder(const JsonObject& object);

/// Without a decoder, pieces are joined with spaces.
DecoderFactory space_decoder();

}  // namespace rapt
