#include "families/bert_like.h"
#include "families/common.h"

namespace rapt {
namespace {

/// The table of positions begins with rows that no token has: positions count from behind the padding token's id.
void read(const JsonObject& json, ModelConfig& config) {
  bert_like::read(json, config);
  config.position_offset = config.pad + 1;
  const std::int64_t rows = json.find_integer("max_position_embeddings", {.min = 1, .max = 1 << 30}).value_or(512);
  config.max_positions = rows - config.position_offset;
}

void detect(const CheckpointTensors& tensors, ModelConfig& config) {
  config.heads = {.masked_language_model = bert_like::has(tensors, "lm_head.dense.weight"),
                  .pooler = bert_like::has(tensors, "pooler.dense.weight")};
}

/// `architectures`: with and without the head.
template <const auto& architectures>
void write(const ModelConfig& config, OrderedJson& json) {
  bert_like::write(config, json);
  json["max_position_embeddings"] = config.max_positions + config.position_offset;
  json["architectures"] = {architectures[config.heads.masked_language_model ? 0 : 1]};
}

constexpr std::string_view roberta_architectures[] = {"RobertaForMaskedLM", "RobertaModel"};
constexpr std::string_view xlm_roberta_architectures[] = {"XLMRobertaForMaskedLM", "XLMRobertaModel"};
constexpr std::string_view camembert_architectures[] = {"CamembertForMaskedLM", "CamembertModel"};

Family family_of(std::string_view model_type, std::string_view architecture, std::int64_t vocab,
                 void (*write)(const ModelConfig&, OrderedJson&)) {
  ModelConfig defaults = bert_like::defaults(model_type);
  defaults.vocab = vocab;
  defaults.token_types = 2;
  defaults.pad = 1;
  defaults.bos = 0;
  defaults.eos = 2;
  auto constants = bert_like::constants();
  constants.push_back({"hidden_act", "gelu"});  // the head has it whatever the key says
  auto fields = bert_like::fields();
  std::erase_if(fields, [](const ConfigField& field) { return field.key == "hidden_act"; });
  return {.model_type = model_type,
          .architecture = architecture,
          .defaults = defaults,
          .fields = fields,
          .constants = constants,
          .irrelevant = irrelevant_keys(),
          .read = read,
          .write = write,
          .detect = detect,
          .optional_prefix = "roberta.",
          .tensors = joined(bert_like::tensors("roberta."), {{"lm_head.dense", {"masked_language.dense"}},
                                                             {"lm_head.layer_norm", {"masked_language.norm"}},
                                                             {"lm_head.decoder.weight", {"output.weight"}},
                                                             {"lm_head.bias", {"output.bias"}}}),
          .copies = {{"lm_head.decoder.weight", "embedding.weight"}, {"lm_head.decoder.bias", "output.bias"}},
          .ignored_tensors = bert_like::ignored_tensors("roberta.")};
}

}  // namespace

/// RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020), which are the same
/// with other vocabularies.
/// https://huggingface.co/docs/transformers/model_doc/roberta
const Family roberta = family_of("roberta", roberta_architectures[0], 50265, write<roberta_architectures>);
const Family xlm_roberta =
    family_of("xlm-roberta", xlm_roberta_architectures[0], 30522, write<xlm_roberta_architectures>);
const Family camembert = family_of("camembert", camembert_architectures[0], 30522, write<camembert_architectures>);

}  // namespace rapt
