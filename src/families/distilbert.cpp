#include "families/bert_like.h"
#include "families/common.h"

namespace rapt {
namespace {

void detect(const CheckpointTensors& tensors, ModelConfig& config) {
  config.heads = {.masked_language_model = bert_like::has(tensors, "vocab_transform.weight")};
}

void write(const ModelConfig& config, OrderedJson& json) {
  if (!config.heads.masked_language_model) json["architectures"] = {"DistilBertModel"};
}

}  // namespace

/// DistilBERT (Sanh et al. 2019): BERT without segments and pooler.
/// https://huggingface.co/docs/transformers/model_doc/distilbert
const Family distilbert{
    .model_type = "distilbert",
    .architecture = "DistilBertForMaskedLM",
    .defaults =
        [] {
          ModelConfig config = bert_like::defaults("distilbert");
          config.encoder_layers = 6;
          return config;
        }(),
    .fields = {{"vocab_size", &ModelConfig::vocab},
               {"max_position_embeddings", &ModelConfig::max_positions},
               {"n_layers", &ModelConfig::encoder_layers},
               {"n_heads", &ModelConfig::encoder_heads},
               {"dim", &ModelConfig::d_model},
               {"hidden_dim", &ModelConfig::encoder_ff},
               {"activation", &ModelConfig::activation},
               {"dropout", &ModelConfig::dropout},
               {"attention_dropout", &ModelConfig::attention_dropout},
               {"tie_word_embeddings", &ModelConfig::tied_output},
               {"pad_token_id", &ModelConfig::pad},
               {"bos_token_id", &ModelConfig::bos},
               {"eos_token_id", EndTokens{}}},
    .constants = {{"is_encoder_decoder", false}},
    // sinusoidal_pos_embds says how the table of positions began; it is in the file either way.
    .irrelevant = irrelevant_keys({"qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_"}),
    .read = bert_like::read,
    .write = write,
    .detect = detect,
    .optional_prefix = "distilbert.",
    .tensors = {{"distilbert.embeddings.word_embeddings.weight", {"embedding.weight"}},
                {"distilbert.embeddings.position_embeddings.weight", {"positions.weight"}},
                {"distilbert.embeddings.LayerNorm", {"encoder_embedding_norm"}},
                {"distilbert.transformer.layer.{}.attention.q_lin", {"encoder.{}.self_attention.query"}},
                {"distilbert.transformer.layer.{}.attention.k_lin", {"encoder.{}.self_attention.key"}},
                {"distilbert.transformer.layer.{}.attention.v_lin", {"encoder.{}.self_attention.value"}},
                {"distilbert.transformer.layer.{}.attention.out_lin", {"encoder.{}.self_attention.output"}},
                {"distilbert.transformer.layer.{}.sa_layer_norm", {"encoder.{}.self_attention_norm"}},
                {"distilbert.transformer.layer.{}.ffn.lin1", {"encoder.{}.feed_forward.inner"}},
                {"distilbert.transformer.layer.{}.ffn.lin2", {"encoder.{}.feed_forward.outer"}},
                {"distilbert.transformer.layer.{}.output_layer_norm", {"encoder.{}.feed_forward_norm"}},
                {"vocab_transform", {"masked_language.dense"}},
                {"vocab_layer_norm", {"masked_language.norm"}},
                {"vocab_projector.weight", {"output.weight"}},
                {"vocab_projector.bias", {"output.bias"}}},
    .copies = {{"vocab_projector.weight", "embedding.weight"}},
    .ignored_tensors = {"distilbert.embeddings.position_ids"}};

}  // namespace rapt
