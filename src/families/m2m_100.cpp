#include "families/bart_like.h"

namespace rapt {
namespace {

/// Positions count from behind the padding token's id, as in fairseq.
void read(const JsonObject& json, ModelConfig& config) {
  bart_like::read_shared(json, config);
  config.position_offset = config.pad + 1;
}

Family make() {
  Family family = bart_like::shared_family("m2m_100", "M2M100ForConditionalGeneration");
  bart_like::make_pre_norm(family);
  ModelConfig& defaults = family.defaults;
  defaults.vocab = 128112;
  defaults.activation = kernels::Activation::relu;
  defaults.positions = Positions::sinusoidal_fairseq;
  defaults.scale_embedding = true;
  defaults.decoder_start = 2;
  defaults.attention_dropout = 0.1f;
  family.read = read;
  family.ignored_tensors = {"model.encoder.embed_positions.weights", "model.decoder.embed_positions.weights"};
  return family;
}

}  // namespace

/// M2M-100 (Fan et al. 2021) and NLLB (2022): mBART with sinusoidal positions and without a norm of the embeddings.
/// What the decoder writes first is the target language. https://huggingface.co/docs/transformers/model_doc/m2m_100,
/// .../nllb
const Family m2m_100 = make();

}  // namespace rapt
