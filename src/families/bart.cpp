#include "families/bart_like.h"
#include "families/common.h"

namespace rapt {
namespace {

std::vector<ConfigConstant> bart_constants() {
  auto constants = bart_like::constants();
  // Keys of early conversions; BartModel computes with these values whatever the file says.
  constants.push_back({"add_bias_logits", false});
  constants.push_back({"add_final_layer_norm", false});
  constants.push_back({"normalize_before", false});
  constants.push_back({"normalize_embedding", true});
  constants.push_back({"static_position_embeddings", false});
  return constants;
}

}  // namespace

/// BART (Lewis et al. 2020): post-norm, learned positions from row 2 of their tables on, a norm of the embeddings.
/// https://huggingface.co/docs/transformers/model_doc/bart
const Family bart{.model_type = "bart",
                  .architecture = "BartForConditionalGeneration",
                  .defaults = {.family = "bart",
                               .vocab = 50265,
                               .d_model = 1024,
                               .encoder_layers = 12,
                               .decoder_layers = 12,
                               .encoder_heads = 16,
                               .decoder_heads = 16,
                               .encoder_ff = 4096,
                               .decoder_ff = 4096,
                               .activation = kernels::Activation::gelu,
                               .embedding_norm = true,
                               .positions = Positions::learned,
                               .position_offset = 2,
                               .scale_embedding = false,
                               .pad = 1,
                               .bos = 0,
                               .eos = 2,
                               .decoder_start = 2},
                  .fields = bart_like::fields(),
                  .constants = bart_constants(),
                  .irrelevant = bart_like::irrelevant(),
                  .read = bart_like::read_shared,
                  .write = bart_like::write_shared,
                  .detect = bart_like::detect,
                  .tensors = joined(bart_like::tensors(), bart_like::embedding_tensors()),
                  .copies = bart_like::copies()};

}  // namespace rapt
