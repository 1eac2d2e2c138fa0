#include "families/bert_like.h"
#include "families/common.h"

namespace rapt {
namespace {

/// config.json does not say which heads there are.
void detect(const CheckpointTensors& tensors, ModelConfig& config) {
  config.heads = {.masked_language_model = bert_like::has(tensors, "cls.predictions.transform.dense.weight"),
                  .pooler = bert_like::has(tensors, "pooler.dense.weight"),
                  .next_sentence = bert_like::has(tensors, "cls.seq_relationship.weight")};
}

void write(const ModelConfig& config, OrderedJson& json) {
  bert_like::write(config, json);
  json["max_position_embeddings"] = config.max_positions;
  if (!config.heads.masked_language_model) json["architectures"] = {"BertModel"};
  if (config.heads.next_sentence) json["architectures"] = {"BertForPreTraining"};
}

}  // namespace

/// BERT (Devlin et al. 2019).  https://huggingface.co/docs/transformers/model_doc/bert
const Family bert{
    .model_type = "bert",
    .architecture = "BertForMaskedLM",
    .defaults =
        [] {
          ModelConfig config = bert_like::defaults("bert");
          config.token_types = 2;
          return config;
        }(),
    .fields = joined(bert_like::fields(), {{"max_position_embeddings", &ModelConfig::max_positions}}),
    .constants = bert_like::constants(),
    .irrelevant = irrelevant_keys({"directionality", "pooler_fc_size", "pooler_num_attention_heads",
                                   "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"}),
    .read = bert_like::read,
    .write = write,
    .detect = detect,
    .optional_prefix = "bert.",
    .tensors = joined(bert_like::tensors("bert."), {{"cls.predictions.transform.dense", {"masked_language.dense"}},
                                                    {"cls.predictions.transform.LayerNorm", {"masked_language.norm"}},
                                                    {"cls.predictions.decoder.weight", {"output.weight"}},
                                                    {"cls.predictions.bias", {"output.bias"}},
                                                    {"cls.seq_relationship", {"next_sentence"}}}),
    .copies = {{"cls.predictions.decoder.weight", "embedding.weight"}, {"cls.predictions.decoder.bias", "output.bias"}},
    .ignored_tensors = bert_like::ignored_tensors("bert.")};

}  // namespace rapt
