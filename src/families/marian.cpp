#include "families/bart_like.h"

namespace rapt {
namespace {

Family make() {
  Family family = bart_like::family("marian", "MarianMTModel");
  family.defaults.vocab = 58101;
  family.defaults.pad = family.defaults.decoder_start = 58100;
  family.constants = bart_like::constants({.sinusoidal = true});
  family.ignored_tensors = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"};
  return family;
}

}  // namespace

/// MarianMT: the Transformer of the paper, post-norm, with sinusoidal positions.
/// https://huggingface.co/docs/transformers/model_doc/marian
const Family marian = make();

}  // namespace rapt
