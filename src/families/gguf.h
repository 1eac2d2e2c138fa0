/// Models in GGUF files, as llama.cpp's converter writes them.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "families/checkpoint_tensor.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "model/config.h"

namespace rapt {

/// The metadata as the Hugging Face family of this architecture has them. Every key of the architecture is understood
/// or refused: throws Error naming it.
ModelConfig gguf_config(const Gguf& file);

/// What generation_config.json says of the model: the tokens that begin and end texts, and how the next one is drawn,
/// in its keys and, where it has none, under llama.cpp's names.
OrderedJson gguf_generation_config(const Gguf& file);

/// The tensors under Hugging Face's names, as they were before the converter changed them: rows of Llama's
/// queries and keys back from pairs to halves, and Gemma's norm weights without the 1 that was added. What the
/// converter laid out as rapt's parameters are stays so (`stacked`). Blocks are unpacked to f32 when they are read, and
/// their pages of a mapped file go back to the system then. Throws Error for a tensor that the architecture does not
/// have.
CheckpointTensors gguf_tensors(const std::shared_ptr<const Gguf>& file);

/// The name in GGUF files of the architecture for a tensor under Hugging Face's name; that name itself if it has none.
std::string gguf_tensor_name(const Gguf& file, const std::string& hugging_face);

}  // namespace rapt
