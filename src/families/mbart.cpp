#include "families/bart_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  bart_like::read_shared(json, config);
  // Where config.json leaves it to the tokenizer, the decoder begins with the language, as the source ends with it.
  if (config.decoder_start < 0) config.decoder_start = config.eos;
}

Family make() {
  Family family = bart_like::shared_family("mbart", "MBartForConditionalGeneration");
  bart_like::add_embedding_tensors(family);
  bart_like::make_pre_norm(family);
  family.constants = bart_like::constants({.last_norm = true, .embedding_norm = true});
  family.read = read;
  return family;
}

}  // namespace

/// mBART (Liu et al. 2020): BART with the norm before each sublayer and behind each stack.
/// https://huggingface.co/docs/transformers/model_doc/mbart
const Family mbart = make();

}  // namespace rapt
