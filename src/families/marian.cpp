#include "families/bart_like.h"

namespace rapt {
namespace {

std::vector<ConfigConstant> marian_constants() {
  auto constants = bart_like::constants();
  // Keys of early conversions; MarianMTModel computes with these values whatever the file says.
  constants.push_back({"add_final_layer_norm", false});
  constants.push_back({"normalize_before", false});
  constants.push_back({"normalize_embedding", false});
  constants.push_back({"static_position_embeddings", true});
  return constants;
}

}  // namespace

/// MarianMT: the Transformer of the paper, post-norm, with sinusoidal positions.
/// https://huggingface.co/docs/transformers/model_doc/marian
const Family marian{
    .model_type = "marian",
    .architecture = "MarianMTModel",
    .defaults = {.family = "marian",
                 .encoder_layers = 12,
                 .decoder_layers = 12,
                 .activation = kernels::Activation::gelu,
                 .scale_embedding = false,
                 .pad = 58100,
                 .decoder_start = 58100},
    .fields = bart_like::fields(),
    .constants = marian_constants(),
    .irrelevant = bart_like::irrelevant(),
    .read = bart_like::read,
    .write = bart_like::write,
    .detect = bart_like::detect,
    .tensors = bart_like::tensors(),
    .copies = bart_like::copies(),
    .ignored_tensors = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"}};

}  // namespace rapt
