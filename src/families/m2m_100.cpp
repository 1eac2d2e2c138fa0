#include "families/bart_like.h"
#include "families/common.h"

namespace rapt {
namespace {

/// Positions count from behind the padding token's id, as in fairseq.
void read(const JsonObject& json, ModelConfig& config) {
  bart_like::read_shared(json, config);
  config.position_offset = config.pad + 1;
}

}  // namespace

/// M2M-100 (Fan et al. 2021) and NLLB (2022): mBART with sinusoidal positions and without a norm of the embeddings.
/// What the decoder writes first is the target language. https://huggingface.co/docs/transformers/model_doc/m2m_100,
/// .../nllb
const Family m2m_100{
    .model_type = "m2m_100",
    .architecture = "M2M100ForConditionalGeneration",
    .defaults = {.family = "m2m_100",
                 .vocab = 128112,
                 .d_model = 1024,
                 .encoder_layers = 12,
                 .decoder_layers = 12,
                 .encoder_heads = 16,
                 .decoder_heads = 16,
                 .encoder_ff = 4096,
                 .decoder_ff = 4096,
                 .activation = kernels::Activation::relu,
                 .norm = NormPlacement::pre,
                 .positions = Positions::sinusoidal_fairseq,
                 .position_offset = 2,
                 .scale_embedding = true,
                 .pad = 1,
                 .bos = 0,
                 .eos = 2,
                 .decoder_start = 2,
                 .attention_dropout = 0.1f},
    .fields = bart_like::fields(),
    .constants = bart_like::constants(),
    .irrelevant = bart_like::irrelevant(),
    .read = read,
    .write = bart_like::write_shared,
    .detect = bart_like::detect,
    .tensors = joined(bart_like::tensors(), bart_like::last_norm_tensors()),
    .copies = bart_like::copies(),
    .ignored_tensors = {"model.encoder.embed_positions.weights", "model.decoder.embed_positions.weights"}};

}  // namespace rapt
