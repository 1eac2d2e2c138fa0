#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>

#include "core/error.h"
#include "families/common.h"
#include "families/config.h"
#include "families/gguf.h"
#include "families/gguf_architecture.h"
#include "formats/printable.h"

namespace rapt {
namespace {

// Of the settings of scaled rotary embeddings.
constexpr double min_scaling = 1e-6;
constexpr double max_scaling = 1e6;

/// The shortest decimals that give a float back: those of the JSON that it came from.
double shortest(double value) {
  return std::stod(fmt::format("{}", static_cast<float>(value)));
}

std::vector<std::string_view> names_of(const std::vector<GgufArchitectureRules>& all) {
  std::vector<std::string_view> names;
  for (const GgufArchitectureRules& rules : all) {
    if (std::ranges::find(names, rules.name) == names.end()) names.push_back(rules.name);
  }
  return names;
}

/// The ids of tokens below `vocab`, under the names of config.json.
OrderedJson token_ids(const Gguf& file, std::int64_t vocab) {
  const auto find = [&](std::string_view name) -> std::optional<std::int64_t> {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    if (!file.contains(key)) return {};
    return file.integer(key, 0, vocab - 1);
  };
  OrderedJson json = OrderedJson::object();
  if (const auto begin = find("bos")) json["bos_token_id"] = *begin;
  // The end of a text, of a turn and of a message.
  std::vector<std::int64_t> ends;
  for (const std::string_view name : {"eos", "eot", "eom"}) {
    const auto end = find(name);
    if (end && std::ranges::find(ends, *end) == ends.end()) ends.push_back(*end);
  }
  if (ends.size() == 1) json["eos_token_id"] = ends.front();
  if (ends.size() > 1) json["eos_token_id"] = ends;
  if (const auto padding = find("padding")) json["pad_token_id"] = *padding;
  return json;
}

/// What follows "general.sampling.", where generation_config.json has another name for it.
constexpr GgufNameRule sampling_names[] = {{"temp", "temperature"}, {"penalty_repeat", "repetition_penalty"}};

OrderedJson json_of(const Gguf& file, std::string_view key) {
  const GgufValue& value = file.metadata().at(key);
  constexpr double limit = std::numeric_limits<float>::max();
  if (value.length) return value.shown();
  switch (value.type) {
    case GgufType::string:
      return printable(file.text(key));
    case GgufType::boolean:
      return file.boolean(key);
    case GgufType::f32:
    case GgufType::f64:
      return shortest(file.number(key, -limit, limit));
    default:
      return file.integer(key);
  }
}

/// Reads the keys of one architecture, and knows which were read.
class ConfigReader {
 public:
  explicit ConfigReader(const Gguf& file) : file_(file), rules_(find_architecture(file)) {}

  ModelConfig read() {
    const GgufArchitecture sizes = read_architecture(file_);
    json_["model_type"] = rules_.model_type;
    for (const GgufKeyRule& rule : rules_.keys) read_key(rule);
    for (const GgufConstant& constant : rules_.constants) require_value(constant);
    for (const std::string_view name : rules_.irrelevant) take(name);
    read_sizes(sizes);
    if (rules_.rotary) read_rotary(sizes);
    json_.update(token_ids(file_, json_["vocab_size"].get<std::int64_t>()));
    if (rules_.complete != nullptr) rules_.complete(file_, sizes, json_);
    require_all_read();
    return read_config(JsonObject::parse(json_.dump(), file_.file()));
  }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", rules_.name, name); }

  /// Marks a key as read; its full name if it is there.
  std::optional<std::string> take(std::string_view name) {
    std::string full = key(name);
    if (!file_.contains(full)) return {};
    read_.insert(full);
    return full;
  }

  void read_key(const GgufKeyRule& rule) {
    const std::string json(rule.json);
    if (rule.kind == GgufKeyRule::Kind::number) {
      constexpr double limit = 1e15;
      if (const auto value = find_number(rule.name, 0, limit)) json_[json] = *value;
    } else if (const auto found = take(rule.name)) {
      if (rule.kind == GgufKeyRule::Kind::boolean) {
        json_[json] = file_.boolean(*found);
      } else {
        json_[json] = file_.integer(*found);
      }
    }
  }

  void require_value(const GgufConstant& constant) {
    const auto found = take(constant.name);
    if (!found) return;
    const GgufType type = file_.metadata().at(*found).type;
    if (type == GgufType::boolean) {
      if (file_.boolean(*found) != (constant.value != 0)) file_.refuse(*found, constant.value != 0 ? "true" : "false");
    } else if (type == GgufType::f32 || type == GgufType::f64) {
      const auto value = static_cast<double>(static_cast<float>(constant.value));
      file_.number(*found, value, value);
    } else {
      file_.integer(*found, static_cast<std::int64_t>(constant.value), static_cast<std::int64_t>(constant.value));
    }
  }

  /// Sizes that other keys or tensors imply.
  void read_sizes(const GgufArchitecture& sizes) {
    require(sizes.layers > 0 && sizes.d_model > 0 && sizes.heads > 0,
            "{}: expected the keys \"{}\", \"{}\" and \"{}\"; the file holds no whole model", file_.file(),
            key("block_count"), key("embedding_length"), key("attention.head_count"));
    if (rules_.head_size.empty()) {
      require_equal("attention.key_length", sizes.d_model / sizes.heads);
    } else {
      json_[std::string(rules_.head_size)] = sizes.d_head;
      take("attention.key_length");
    }
    require_equal("attention.value_length", sizes.d_head);
    const std::int64_t vocab = file_.tensor("token_embd.weight").shape[0];
    require_equal("vocab_size", vocab);
    json_["vocab_size"] = vocab;
    json_["tie_word_embeddings"] = !file_.tensors().contains("output.weight");
  }

  void require_equal(std::string_view name, std::int64_t expected) {
    const auto found = take(name);
    if (found) file_.integer(*found, expected, expected);
  }

  std::optional<double> find_number(std::string_view name, double least, double most) {
    const auto found = take(name);
    if (!found) return {};
    return shortest(file_.number(*found, least, most));
  }

  void read_rotary(const GgufArchitecture& sizes) {
    if (rules_.rotary_fraction.empty()) {
      require_equal("rope.dimension_count", sizes.d_head);
    } else if (const auto found = take("rope.dimension_count")) {
      json_[std::string(rules_.rotary_fraction)] =
          fraction_of(file_.integer(*found, 1, sizes.d_head), static_cast<double>(sizes.d_head));
    }
    read_scaling();
  }

  /// The fraction of a head that is cut to so many of its dimensions.
  static double fraction_of(std::int64_t dimensions, double d_head) {
    const double fraction = static_cast<double>(dimensions) / d_head;
    return static_cast<std::int64_t>(fraction * d_head) == dimensions ? fraction : std::nextafter(fraction, 1.);
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
  const GgufArchitectureRules& rules_;
  OrderedJson json_;
  std::set<std::string> read_;
};

}  // namespace

const GgufArchitectureRules& find_architecture(const Gguf& file) {
  static const std::vector<GgufArchitectureRules> all =
      joined(joined(gguf_llama_like(), gguf_gpt_like()), joined(gguf_bert_like(), gguf_t5_like()));
  const std::string_view name = file.text("general.architecture");
  const auto found = std::ranges::find_if(all, [&](const GgufArchitectureRules& rules) {
    return rules.name == name && (rules.applies == nullptr || rules.applies(file));
  });
  if (found == all.end()) file.refuse("general.architecture", fmt::format("one of {}", fmt::join(names_of(all), ", ")));
  return *found;
}

ModelConfig gguf_config(const Gguf& file) {
  return ConfigReader(file).read();
}

OrderedJson gguf_generation_config(const Gguf& file) {
  OrderedJson json = token_ids(file, file.tensor("token_embd.weight").shape[0]);
  const std::string start = fmt::format("{}.decoder_start_token_id", file.text("general.architecture"));
  if (file.contains(start)) json["decoder_start_token_id"] = file.integer(start);
  constexpr std::string_view prefix = "general.sampling.";
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = key.substr(prefix.size());
    const auto* const other = std::ranges::find(sampling_names, name, &GgufNameRule::name);
    json[std::string(other == std::ranges::end(sampling_names) ? name : other->hugging_face)] = json_of(file, key);
    json["do_sample"] = true;
  }
  return json;
}

}  // namespace rapt
