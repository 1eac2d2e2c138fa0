#include "families/bart_like.h"

namespace rapt {
namespace {

Family make() {
  Family family = bart_like::family("pegasus", "PegasusForConditionalGeneration");
  bart_like::make_pre_norm(family);
  family.defaults.vocab = 50265;
  family.defaults.pad = family.defaults.decoder_start = 0;
  family.defaults.eos = 1;
  family.constants = bart_like::constants({.last_norm = true, .sinusoidal = true});
  family.ignored_tensors = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"};
  return family;
}

}  // namespace

/// Pegasus: MarianMT's twin with the norm before each sublayer, so the home of pre-norm encoder-decoders.
/// https://huggingface.co/docs/transformers/model_doc/pegasus
const Family pegasus = make();

}  // namespace rapt
