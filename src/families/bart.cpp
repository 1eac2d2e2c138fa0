#include "families/bart_like.h"

namespace rapt {
namespace {

Family make() {
  Family family = bart_like::shared_family("bart", "BartForConditionalGeneration");
  bart_like::add_embedding_tensors(family);
  family.defaults.decoder_start = 2;
  family.constants = bart_like::constants({.embedding_norm = true});
  return family;
}

}  // namespace

/// BART (Lewis et al. 2020): post-norm, learned positions from row 2 of their tables on, a norm of the embeddings.
/// https://huggingface.co/docs/transformers/model_doc/bart
const Family bart = make();

}  // namespace rapt
