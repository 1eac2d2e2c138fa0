#include "families/bart_like.h"
#include "families/common.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  bart_like::read_shared(json, config);
  // Where config.json leaves it to the tokenizer, the decoder begins with the language, as the source ends with it.
  if (config.decoder_start < 0) config.decoder_start = config.eos;
}

std::vector<ConfigConstant> mbart_constants() {
  auto constants = bart_like::constants();
  constants.push_back({"add_bias_logits", false});
  constants.push_back({"add_final_layer_norm", true});
  constants.push_back({"normalize_before", true});
  constants.push_back({"normalize_embedding", true});
  constants.push_back({"static_position_embeddings", false});
  return constants;
}

}  // namespace

/// mBART (Liu et al. 2020): BART with the norm before each sublayer and behind each stack.
/// https://huggingface.co/docs/transformers/model_doc/mbart
const Family mbart{
    .model_type = "mbart",
    .architecture = "MBartForConditionalGeneration",
    .defaults = {.family = "mbart",
                 .vocab = 50265,
                 .d_model = 1024,
                 .encoder_layers = 12,
                 .decoder_layers = 12,
                 .encoder_heads = 16,
                 .decoder_heads = 16,
                 .encoder_ff = 4096,
                 .decoder_ff = 4096,
                 .activation = kernels::Activation::gelu,
                 .norm = NormPlacement::pre,
                 .embedding_norm = true,
                 .positions = Positions::learned,
                 .position_offset = 2,
                 .scale_embedding = false,
                 .pad = 1,
                 .bos = 0,
                 .eos = 2},
    .fields = bart_like::fields(),
    .constants = mbart_constants(),
    .irrelevant = bart_like::irrelevant(),
    .read = read,
    .write = bart_like::write_shared,
    .detect = bart_like::detect,
    .tensors = joined(joined(bart_like::tensors(), bart_like::embedding_tensors()), bart_like::last_norm_tensors()),
    .copies = bart_like::copies()};

}  // namespace rapt
