#include "families/common.h"
#include "families/gguf_architecture.h"

namespace rapt {
namespace {

using enum GgufKeyRule::Kind;

bool has_segments(const Gguf& file) {
  return file.tensors().contains("token_types.weight");
}

/// Which says how many segments there are, once more.
void complete_bert(const Gguf& file, const GgufArchitecture&, OrderedJson& json) {
  const std::int64_t segments = file.tensor("token_types.weight").shape[0];
  json["type_vocab_size"] = segments;
  constexpr std::string_view key = "tokenizer.ggml.token_type_count";
  if (file.contains(key)) file.integer(key, segments, segments);
}

}  // namespace

/// The converter writes four kinds of models as "bert", and what it leaves out is what told them apart. RoBERTa and
/// XLM-RoBERTa lose the rows of their table of positions that no token has, which makes BERT of them. DistilBERT has no
/// segments, so no table of them. Pooler and masked-language head are not written, for none.
std::vector<GgufArchitectureRules> gguf_bert_like() {
  GgufArchitectureRules bert_rules{
      .name = "bert",
      .model_type = "bert",
      .applies = has_segments,
      .keys = {{"context_length", "max_position_embeddings"},
               {"embedding_length", "hidden_size"},
               {"block_count", "num_hidden_layers"},
               {"feed_forward_length", "intermediate_size"},
               {"attention.head_count", "num_attention_heads"},
               {"attention.layer_norm_epsilon", "layer_norm_eps", number}},
      .constants = {{"attention.causal", 0}},
      .irrelevant = {"pooling_type"},  // of what stands behind the encoder: see embedding/modules.h
      .tensors = {{"token_embd", "bert.embeddings.word_embeddings"},
                  {"position_embd", "bert.embeddings.position_embeddings"},
                  {"token_types", "bert.embeddings.token_type_embeddings"},
                  {"token_embd_norm", "bert.embeddings.LayerNorm"},
                  {"blk.{}.attn_q", "bert.encoder.layer.{}.attention.self.query"},
                  {"blk.{}.attn_k", "bert.encoder.layer.{}.attention.self.key"},
                  {"blk.{}.attn_v", "bert.encoder.layer.{}.attention.self.value"},
                  {"blk.{}.attn_output", "bert.encoder.layer.{}.attention.output.dense"},
                  {"blk.{}.attn_output_norm", "bert.encoder.layer.{}.attention.output.LayerNorm"},
                  {"blk.{}.ffn_up", "bert.encoder.layer.{}.intermediate.dense"},
                  {"blk.{}.ffn_down", "bert.encoder.layer.{}.output.dense"},
                  {"blk.{}.layer_output_norm", "bert.encoder.layer.{}.output.LayerNorm"}},
      .complete = complete_bert};

  GgufArchitectureRules distilbert_rules{
      .name = "bert",
      .model_type = "distilbert",
      .keys = {{"context_length", "max_position_embeddings"},
               {"embedding_length", "dim"},
               {"block_count", "n_layers"},
               {"feed_forward_length", "hidden_dim"},
               {"attention.head_count", "n_heads"}},
      .constants = {{"attention.causal", 0}, {"attention.layer_norm_epsilon", 1e-12}},
      .irrelevant = {"pooling_type"},
      .tensors = {{"token_embd", "distilbert.embeddings.word_embeddings"},
                  {"position_embd", "distilbert.embeddings.position_embeddings"},
                  {"token_embd_norm", "distilbert.embeddings.LayerNorm"},
                  {"blk.{}.attn_q", "distilbert.transformer.layer.{}.attention.q_lin"},
                  {"blk.{}.attn_k", "distilbert.transformer.layer.{}.attention.k_lin"},
                  {"blk.{}.attn_v", "distilbert.transformer.layer.{}.attention.v_lin"},
                  {"blk.{}.attn_output", "distilbert.transformer.layer.{}.attention.out_lin"},
                  {"blk.{}.attn_output_norm", "distilbert.transformer.layer.{}.sa_layer_norm"},
                  {"blk.{}.ffn_up", "distilbert.transformer.layer.{}.ffn.lin1"},
                  {"blk.{}.ffn_down", "distilbert.transformer.layer.{}.ffn.lin2"},
                  {"blk.{}.layer_output_norm", "distilbert.transformer.layer.{}.output_layer_norm"}}};
  return {bert_rules, distilbert_rules};
}

}  // namespace rapt
