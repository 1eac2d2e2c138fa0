#include "families/bart_like.h"

namespace rapt {
namespace {

std::vector<TensorRule> pegasus_tensors() {
  auto tensors = bart_like::tensors();
  tensors.push_back({"model.encoder.layer_norm", {"encoder_norm"}});
  tensors.push_back({"model.decoder.layer_norm", {"decoder_norm"}});
  return tensors;
}

}  // namespace

/// Pegasus: MarianMT's twin with the norm before each sublayer, so the home of pre-norm encoder-decoders.
/// https://huggingface.co/docs/transformers/model_doc/pegasus
const Family pegasus{
    .model_type = "pegasus",
    .architecture = "PegasusForConditionalGeneration",
    .defaults = {.family = "pegasus",
                 .encoder_layers = 12,
                 .decoder_layers = 12,
                 .activation = kernels::Activation::gelu,
                 .norm = NormPlacement::pre,
                 .scale_embedding = false,
                 .pad = 0,
                 .eos = 1,
                 .decoder_start = 0},
    .fields = bart_like::fields(),
    .constants = bart_like::constants(),
    .irrelevant = bart_like::irrelevant(),
    .read = bart_like::read,
    .write = bart_like::write,
    .tensors = pegasus_tensors(),
    .copies = bart_like::copies(),
    .ignored_tensors = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"}};

}  // namespace rapt
