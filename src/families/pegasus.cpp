#include "families/bart_like.h"
#include "families/common.h"

namespace rapt {
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
    .detect = bart_like::detect,
    .tensors = joined(bart_like::tensors(), bart_like::last_norm_tensors()),
    .copies = bart_like::copies(),
    .ignored_tensors = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"}};

}  // namespace rapt
