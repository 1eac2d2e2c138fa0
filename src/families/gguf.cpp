#include "families/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "families/common.h"
#include "families/config.h"
#include "formats/gguf_model.h"
#include "formats/printable.h"
#include "model/positions.h"

namespace rapt {
namespace {

enum class Kind { integer, number };

/// A key of the metadata, after the architecture, and the key of config.json for the same.
struct KeyRule {
  std::string_view name;
  std::string_view json;
  Kind kind = Kind::integer;
};

/// A tensor, without ".weight" or ".bias"; {} is a layer's index.
struct NameRule {
  std::string_view name;
  std::string_view hugging_face;
};

struct Architecture {
  std::string_view name;  ///< general.architecture, and Hugging Face's model_type
  std::vector<KeyRule> keys;
  std::vector<NameRule> tensors;
  bool pairs = false;      ///< rows of a head's queries and keys that turn together are neighbours
  double norm_offset = 0;  ///< what was added to norm weights
  /// Adds what needs more than a table.
  void (*complete)(const Gguf& file, const GgufArchitecture& sizes, OrderedJson& json);
};

constexpr std::string_view rotary_factors = "rope_freqs.weight";
// Of the settings of scaled rotary embeddings.
constexpr double min_scaling = 1e-6;
constexpr double max_scaling = 1e6;

std::vector<KeyRule> common_keys() {
  return {{"context_length", "max_position_embeddings"},
          {"embedding_length", "hidden_size"},
          {"block_count", "num_hidden_layers"},
          {"feed_forward_length", "intermediate_size"},
          {"attention.head_count", "num_attention_heads"},
          {"attention.head_count_kv", "num_key_value_heads"},
          {"attention.layer_norm_rms_epsilon", "rms_norm_eps", Kind::number},
          {"rope.freq_base", "rope_theta", Kind::number}};
}

std::vector<NameRule> common_tensors() {
  return {{"token_embd", "model.embed_tokens"},
          {"output_norm", "model.norm"},
          {"output", "lm_head"},
          {"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
          {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
          {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"},
          {"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
          {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
          {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
          {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
          {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"}};
}

std::vector<NameRule> tensors_with_two_norms() {
  return joined(common_tensors(), {{"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"}});
}

bool has_tensor(const Gguf& file, std::string_view name) {
  return file.tensors().contains(name);
}

/// Llama 3.1 and later slow their frequencies down; files hold the resulting factors, config.json what they are
/// computed from. All published models have the same but for the factor.
std::optional<OrderedJson> llama3_scaling(const Gguf& file, const GgufArchitecture& sizes) {
  const Tensor stored = file.unpack(rotary_factors);
  ModelConfig config{.d_model = sizes.d_model,
                     .decoder_heads = static_cast<int>(sizes.heads),
                     .d_head = sizes.d_head,
                     .positions = Positions::rotary,
                     .rotary_base = sizes.rotary_base.value_or(10000)};
  const std::vector<double> plain = rotary_frequencies(config);
  for (const double factor : {8., 16., 32.}) {
    config.rotary_scaling = {.kind = RotaryScaling::Kind::llama3, .factor = factor, .original_positions = 8192};
    const std::vector<double> scaled = rotary_frequencies(config);
    const auto values = stored.values<float>();
    bool same = values.size() == plain.size();
    for (std::size_t i = 0; same && i < plain.size(); ++i) {
      same = std::abs(plain[i] / scaled[i] - static_cast<double>(values[i])) <= 1e-4 * factor;
    }
    if (same) {
      return OrderedJson{{"rope_type", "llama3"},
                         {"factor", factor},
                         {"low_freq_factor", config.rotary_scaling.low_frequency_factor},
                         {"high_freq_factor", config.rotary_scaling.high_frequency_factor},
                         {"original_max_position_embeddings", config.rotary_scaling.original_positions}};
    }
  }
  return {};
}

void complete_llama(const Gguf& file, const GgufArchitecture& sizes, OrderedJson& json) {
  json["attention_bias"] = has_tensor(file, "blk.0.attn_q.bias");
  json["mlp_bias"] = has_tensor(file, "blk.0.ffn_up.bias");
  if (!has_tensor(file, rotary_factors)) return;
  require(!json.contains("rope_scaling"), "{}: has both the key \"llama.rope.scaling.type\" and the tensor \"{}\"",
          file.file(), rotary_factors);
  const auto scaling = llama3_scaling(file, sizes);
  require(scaling.has_value(),
          "{}: tensor \"{}\": expected the factors of Llama 3.1 or later (8, 16 or 32 beyond 8192 positions), found "
          "others; load the model from its Hugging Face directory",
          file.file(), rotary_factors);
  json["rope_scaling"] = *scaling;
}

void complete_qwen(const Gguf&, const GgufArchitecture&, OrderedJson& json) {
  json["use_sliding_window"] = false;
}

void complete_gemma2(const Gguf&, const GgufArchitecture& sizes, OrderedJson& json) {
  // The files do not say it: the 27B model, which alone has 46 layers, divides by the mean width of a head.
  json["query_pre_attn_scalar"] = sizes.layers == 46 ? sizes.d_model / sizes.heads : sizes.d_head;
}

const Architecture& find_architecture(const Gguf& file) {
  static const std::vector<Architecture> all{
      {.name = "llama",
       .keys = common_keys(),
       .tensors = tensors_with_two_norms(),
       .pairs = true,
       .complete = complete_llama},
      {.name = "qwen2", .keys = common_keys(), .tensors = tensors_with_two_norms(), .complete = complete_qwen},
      {.name = "qwen3",
       .keys = common_keys(),
       .tensors = joined(tensors_with_two_norms(), {{"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"},
                                                    {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"}}),
       .complete = complete_qwen},
      {.name = "gemma2",
       .keys = joined(common_keys(), {{"attention.sliding_window", "sliding_window"},
                                      {"attn_logit_softcapping", "attn_logit_softcapping", Kind::number},
                                      {"final_logit_softcapping", "final_logit_softcapping", Kind::number}}),
       .tensors = joined(common_tensors(), {{"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
                                            {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
                                            {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}}),
       .norm_offset = 1,
       .complete = complete_gemma2}};
  const std::string_view name = file.text("general.architecture");
  const auto found = std::ranges::find(all, name, &Architecture::name);
  if (found == all.end()) file.refuse("general.architecture", "llama, qwen2, qwen3 or gemma2");
  return *found;
}

/// Reads the keys of one architecture, and knows which were read.
class ConfigReader {
 public:
  explicit ConfigReader(const Gguf& file) : file_(file), architecture_(find_architecture(file)) {}

  ModelConfig read() {
    const GgufArchitecture sizes = read_architecture(file_);
    json_["model_type"] = architecture_.name;
    for (const KeyRule& rule : architecture_.keys) read_key(rule);
    read_sizes(sizes);
    read_scaling();
    read_tokens();
    architecture_.complete(file_, sizes, json_);
    require_all_read();
    return read_config(JsonObject::parse(json_.dump(), file_.file()));
  }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", architecture_.name, name); }

  /// Marks a key as read; its full name if it is there.
  std::optional<std::string> take(std::string_view name) {
    std::string full = key(name);
    if (!file_.contains(full)) return {};
    read_.insert(full);
    return full;
  }

  void read_key(const KeyRule& rule) {
    const std::string json(rule.json);
    if (rule.kind == Kind::number) {
      constexpr double limit = 1e15;
      if (const auto value = find_number(rule.name, 0, limit)) json_[json] = *value;
    } else if (const auto found = take(rule.name)) {
      json_[json] = file_.integer(*found);
    }
  }

  /// Sizes that other keys or tensors imply.
  void read_sizes(const GgufArchitecture& sizes) {
    require(sizes.layers > 0 && sizes.d_model > 0 && sizes.heads > 0,
            "{}: expected the keys \"{}\", \"{}\" and \"{}\"; the file holds no whole model", file_.file(),
            key("block_count"), key("embedding_length"), key("attention.head_count"));
    json_["head_dim"] = sizes.d_head;
    take("attention.key_length");
    require_equal("attention.value_length", sizes.d_head);
    require_equal("rope.dimension_count", sizes.d_head);
    require_equal("expert_count", 0);
    require_equal("expert_used_count", 0);
    const std::int64_t vocab = file_.tensor("token_embd.weight").shape[0];
    require_equal("vocab_size", vocab);
    json_["vocab_size"] = vocab;
    json_["tie_word_embeddings"] = !has_tensor(file_, "output.weight");
  }

  void require_equal(std::string_view name, std::int64_t expected) {
    const auto found = take(name);
    if (found) file_.integer(*found, expected, expected);
  }

  /// A number of the architecture, as the shortest decimals that give its float back: those of config.json.
  std::optional<double> find_number(std::string_view name, double least, double most) {
    const auto found = take(name);
    if (!found) return {};
    return std::stod(fmt::format("{}", static_cast<float>(file_.number(*found, least, most))));
  }

  void read_scaling() {
    const auto found = take("rope.scaling.type");
    take("rope.scaling.finetuned");  // how the model came to it
    if (!found || file_.text(*found) == "none") return;
    const std::string_view type = file_.text(*found);
    if (type != "linear" && type != "yarn") file_.refuse(*found, "none, linear or yarn");
    const auto factor = find_number("rope.scaling.factor", 1, max_scaling);
    require(factor.has_value(), "{}: key \"{}\" is missing", file_.file(), key("rope.scaling.factor"));
    OrderedJson scaling{{"rope_type", type}, {"factor", *factor}};
    if (type == "yarn") read_yarn(*factor, scaling);
    json_["rope_scaling"] = scaling;
  }

  /// What llama.cpp's converter writes of config.json ("yarn_attn_factor" is its attention_factor), and a factor of
  /// llama.cpp's own for what is turned, which multiplies that one or the recommended one.
  void read_yarn(double factor, OrderedJson& scaling) {
    if (const auto original = take("rope.scaling.original_context_length"))
      scaling["original_max_position_embeddings"] =
          file_.integer(*original, 1, std::numeric_limits<std::int32_t>::max());
    for (const char* name : {"beta_fast", "beta_slow"}) {
      if (const auto turns = find_number(fmt::format("rope.scaling.yarn_{}", name), min_scaling, max_scaling))
        scaling[name] = *turns;
    }
    const auto attention = find_number("rope.scaling.yarn_attn_factor", min_scaling, max_scaling);
    const auto more = find_number("rope.scaling.attn_factor", min_scaling, max_scaling);
    if (attention || more)
      scaling["attention_factor"] = attention.value_or(yarn_attention_factor(factor)) * more.value_or(1);
    // Others would mix frequencies differently; llama.cpp reads the last key for other architectures alone.
    find_number("rope.scaling.yarn_ext_factor", 1, 1);
    find_number("rope.scaling.yarn_log_multiplier", 0, 0);
  }

  void read_tokens() {
    for (const auto& [name, json] : {std::pair{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                     std::pair{"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                     std::pair{"tokenizer.ggml.padding_token_id", "pad_token_id"}}) {
      if (file_.contains(name)) json_[json] = file_.integer(name, 0, json_["vocab_size"].get<std::int64_t>() - 1);
    }
  }

  void require_all_read() const {
    const std::string prefix = key("");
    for (const auto& [name, value] : file_.metadata()) {
      require(!name.starts_with(prefix) || read_.contains(std::string(name)),
              "{}: key \"{}\" ({}) may change what the model computes, but rapt does not know it; load the model from "
              "its Hugging Face directory",
              file_.file(), printable(name), value.shown());
    }
  }

  const Gguf& file_;
  const Architecture& architecture_;
  OrderedJson json_;
  std::set<std::string> read_;
};

struct Name {
  std::string_view stem;
  std::string_view ending;  ///< ".weight" or ".bias"
};

Name split_name(std::string_view name) {
  const std::size_t dot = std::min(name.rfind('.'), name.size());
  return {name.substr(0, dot), name.substr(dot)};
}

/// The index in `stem` where `pattern` has {}; nothing when they do not match.
std::optional<std::string_view> match(std::string_view pattern, std::string_view stem) {
  const std::size_t place = pattern.find("{}");
  if (place == std::string_view::npos) return pattern == stem ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view before = pattern.substr(0, place);
  const std::string_view after = pattern.substr(place + 2);
  if (!stem.starts_with(before) || !stem.ends_with(after) || stem.size() <= before.size() + after.size()) return {};
  const std::string_view index = stem.substr(before.size(), stem.size() - before.size() - after.size());
  return index.find_first_not_of("0123456789") == std::string_view::npos ? std::optional(index) : std::nullopt;
}

/// The other name for one without its ending.
std::optional<std::string> renamed(const Architecture& architecture, std::string_view stem,
                                   std::string_view NameRule::*from, std::string_view NameRule::*to) {
  for (const NameRule& rule : architecture.tensors) {
    const auto index = match(rule.*from, stem);
    if (!index) continue;
    std::string result(rule.*to);
    if (!index->empty()) result.replace(result.find("{}"), 2, *index);
    return result;
  }
  return {};
}

/// The row of [heads, d_head / 2, 2] that is row `row` of [heads, 2, d_head / 2].
std::int64_t row_of_pairs(std::int64_t row, std::int64_t d_head) {
  const std::int64_t in_head = row % d_head;
  return row - in_head + in_head % (d_head / 2) * 2 + in_head / (d_head / 2);
}

/// Rows [heads, d_head / 2, 2] -> [heads, 2, d_head / 2], of a matrix or a bias.
Tensor halves_of_pairs(const Tensor& pairs, std::int64_t d_head) {
  Tensor result = Tensor::empty(pairs.shape(), DType::f32);
  const std::int64_t rows = pairs.dim(0);
  const std::int64_t width = rows > 0 ? pairs.count() / rows : 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(pairs.data<float>() + row_of_pairs(row, d_head) * width, width, result.write<float>() + row * width);
  }
  return result;
}

/// A tensor of the file as it was before the converter changed it: `d_head`, if not 0, tells that rows of heads of that
/// size come in pairs, and `offset` was added to all elements.
CheckpointTensor lazy_tensor(const std::shared_ptr<const Gguf>& file, std::string_view name, std::int64_t d_head,
                             double offset) {
  // Vectors are copied: reading them in the file at every step would keep what lies around them in memory.
  if (d_head == 0 && offset == 0 && file->lies_ready(name) && file->tensor(name).shape.rank() > 1)
    return file->load(name);
  file->require_unpackable(name);
  CheckpointTensor result(file->tensor(name).shape, DType::f32, [file, name, d_head, offset] {
    Tensor tensor = file->unpack(name);
    file->release_pages(name);
    if (d_head != 0) tensor = halves_of_pairs(tensor, d_head);
    float* values = tensor.write<float>();
    const auto subtracted = static_cast<float>(offset);
    if (offset != 0) std::transform(values, values + tensor.count(), values, [=](float x) { return x - subtracted; });
    return tensor;
  });
  if (offset == 0 && result.shape.rank() == 2)
    result.read_rows = [file, name, d_head](std::span<const std::int32_t> ids) {
      std::vector<std::int32_t> stored(ids.begin(), ids.end());
      if (d_head != 0) {
        for (std::int32_t& id : stored) id = static_cast<std::int32_t>(row_of_pairs(id, d_head));
      }
      return file->unpack_rows(name, stored);
    };
  return result;
}

}  // namespace

ModelConfig gguf_config(const Gguf& file) {
  return ConfigReader(file).read();
}

CheckpointTensors gguf_tensors(const std::shared_ptr<const Gguf>& file) {
  const Architecture& architecture = find_architecture(*file);
  const std::int64_t d_head = read_architecture(*file).d_head;
  CheckpointTensors result;
  for (const auto& [name, stored] : file->tensors()) {
    if (architecture.pairs && name == rotary_factors) continue;
    const auto [stem, ending] = split_name(name);
    const auto stem_there = renamed(architecture, stem, &NameRule::name, &NameRule::hugging_face);
    require(stem_there && (ending == ".weight" || ending == ".bias"),
            "{}: tensor \"{}\" {}: a {} model has no such tensor", file->file(), printable(name), stored.shape,
            architecture.name);
    const bool pairs = architecture.pairs && (stem.ends_with(".attn_q") || stem.ends_with(".attn_k"));
    require(!pairs || (d_head > 0 && stored.shape.rank() > 0 && stored.shape[0] % d_head == 0),
            "{}: tensor \"{}\" is {}; expected a multiple of {} rows, the size of a head", file->file(),
            printable(name), stored.shape, d_head);
    const double offset = stem.ends_with("_norm") ? architecture.norm_offset : 0;
    result.emplace(*stem_there + std::string(ending), lazy_tensor(file, name, pairs ? d_head : 0, offset));
  }
  return result;
}

std::string gguf_tensor_name(const Gguf& file, const std::string& hugging_face) {
  const auto [stem, ending] = split_name(hugging_face);
  const auto found = renamed(find_architecture(file), stem, &NameRule::hugging_face, &NameRule::name);
  return found ? *found + std::string(ending) : hugging_face;
}

}  // namespace rapt
