#include "decoding/generation_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "families/gguf.h"
#include "formats/gguf.h"
#include "formats/json.h"

namespace rapt::decoding {
namespace {

/// Keys that say nothing about which tokens are drawn, or that options of rapt's own stand for.
constexpr std::string_view irrelevant[] = {"_from_model_config",
                                           "bos_token_id",
                                           "cache_implementation",
                                           "decoder_start_token_id",
                                           "early_stopping",
                                           "length_penalty",
                                           "max_length",
                                           "max_new_tokens",
                                           "num_beams",
                                           "num_return_sequences",
                                           "output_attentions",
                                           "output_hidden_states",
                                           "output_logits",
                                           "output_scores",
                                           "pad_token_id",
                                           "return_dict_in_generate",
                                           "transformers_version",
                                           "use_cache"};

/// Whether a value is one of those that switch things off.
bool is_off(const Json& value) {
  if (value.is_number()) return value == 0 || value == 1;
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

constexpr IntegerRange token{.min = 0, .max = std::numeric_limits<std::int32_t>::max()};

std::vector<std::int32_t> end_tokens(const JsonObject& json) {
  constexpr std::string_view key = "eos_token_id";
  std::vector<std::int64_t> ids;
  if (json.value(key).is_array()) {
    ids = json.integers(key, token);
  } else if (const auto id = json.find_integer(key, token)) {
    ids = {*id};
  }
  return {ids.begin(), ids.end()};
}

GenerationConfig read_json_config(const JsonObject& json) {
  GenerationConfig config;
  config.end = end_tokens(json);
  if (const auto forced = json.find_integer("forced_bos_token_id", token))
    config.forced_bos = static_cast<std::int32_t>(*forced);
  SamplingChoices& sampling = config.sampling;
  sampling.temperature = json.find_number("temperature", {.min = 0});
  if (const auto k = json.find_integer("top_k", {.min = 0, .max = std::numeric_limits<int>::max()}))
    sampling.top_k = static_cast<int>(*k);
  sampling.top_p = json.find_number("top_p", {.min = 0, .max = 1, .exclude_min = true});
  sampling.min_p = json.find_number("min_p", {.min = 0, .max = 1});
  sampling.repetition_penalty = json.find_number("repetition_penalty", {.min = 0, .exclude_min = true});
  if (!json.find_boolean("do_sample").value_or(true)) sampling.temperature = 0;
  for (const std::string& key : json.unread(irrelevant)) {
    if (!is_off(json.value(key))) config.ignored.push_back(key);
  }
  return config;
}

}  // namespace

GenerationConfig read_generation_config(const std::filesystem::path& model) {
  if (is_gguf(model)) {
    const Gguf file = read_gguf(model);
    return read_json_config(JsonObject::parse(json_line(gguf_generation_config(file)), file.file()));
  }
  const std::filesystem::path file = model / "generation_config.json";
  return std::filesystem::exists(file) ? read_json_config(JsonObject::read(file)) : GenerationConfig();
}

SamplingChoices merged(const SamplingChoices& wanted, const SamplingChoices& otherwise) {
  const auto either = [](const auto& a, const auto& b) { return a ? a : b; };
  return {.temperature = either(wanted.temperature, otherwise.temperature),
          .top_k = either(wanted.top_k, otherwise.top_k),
          .top_p = either(wanted.top_p, otherwise.top_p),
          .min_p = either(wanted.min_p, otherwise.min_p),
          .repetition_penalty = either(wanted.repetition_penalty, otherwise.repetition_penalty)};
}

}  // namespace rapt::decoding
