/// A directory with a random language model that reads and writes printable ASCII, or any bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "core/random.h"
#include "families/checkpoint.h"
#include "formats/directory.h"
#include "formats/json.h"
#include "formats/scratch.h"
#include "text/pipeline/byte_level.h"

namespace rapt {

/// What the model's files say besides.
struct TinyLanguageModel {
  std::string chat_template = {};
  std::string generation_config = {};
  std::string decoder_attention = {};
  bool every_byte = false;  ///< there is a token for each, and no other but the special ones
  /// Bytes, each of them once: the likeliest token after one of them is the next, after the last and after a special
  /// token the first. Needs every_byte.
  std::string cycle = {};
};

/// The ids of the special tokens <|end|>, <|user|>, <|bot|> and <|system|>.
enum TinyToken : std::int32_t { end_token, user_token, bot_token, system_token };

/// Writes every role's messages as <|role|>content<|end|>.
inline constexpr const char* tiny_chat_template =
    "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|bot|>' if m.role == 'assistant' else "
    "'<|system|>' }}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}";

/// The id of a byte where every byte has one.
inline std::int32_t token_of_byte(char byte) {
  return system_token + 1 + static_cast<unsigned char>(byte);
}

inline std::string tiny_tokenizer(bool every_byte = false) {
  OrderedJson vocabulary, added = OrderedJson::array();
  const auto add = [&](const std::string& piece) { vocabulary[piece] = vocabulary.size(); };
  for (const char* special : {"<|end|>", "<|user|>", "<|bot|>", "<|system|>"}) {
    added.push_back({{"id", vocabulary.size()},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    add(special);
  }
  OrderedJson merges = OrderedJson::array();
  if (every_byte) {
    for (int value = 0; value < 256; ++value) add(bytes_to_characters(std::string(1, static_cast<char>(value))));
  } else {
    for (char byte = ' '; byte <= '~'; ++byte) add(bytes_to_characters({&byte, 1}));
    for (const char* bytes : {"\n", "\xc3", "\xa9"}) add(bytes_to_characters(bytes));  // é
    for (const char* whole : {"he", "th", "the", "an", "in", "er"}) add(whole);
    merges = {"h e", "t h", "t he", "a n", "i n", "e r"};
  }
  const OrderedJson byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return json_text({{"version", "1.0"},
                    {"added_tokens", added},
                    {"pre_tokenizer", byte_level},
                    {"decoder", byte_level},
                    {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}});
}

/// Makes each byte of a cycle the likeliest after the one before it: layers add nothing to a token's embedding, and the
/// row of the output that belongs to a byte points where the embedding of the byte before does.
inline void follow_cycle(Transformer& model, const std::string& cycle) {
  std::map<std::string, Tensor> values;
  for (const Parameter& parameter : model.parameters()) {
    const auto& [name, value] = *values.emplace(parameter.name, parameter.value()).first;
    const bool adds = name.ends_with("attention.output.weight") || name.ends_with("feed_forward.outer.weight");
    if (adds || name == "output.weight") std::fill_n(value.write<float>(), value.count(), 0.0F);
  }
  const auto row = [&](const char* table, std::int32_t token) {
    return values.at(table).rows(token, token + 1).write<float>();
  };
  const std::int64_t width = values.at("embedding.weight").shape()[1];
  for (std::size_t i = 0; i < cycle.size(); ++i) {
    const float* before = row("embedding.weight", token_of_byte(cycle[(i + cycle.size() - 1) % cycle.size()]));
    const float norm = std::sqrt(std::inner_product(before, before + width, before, 0.0F));
    std::transform(before, before + width, row("output.weight", token_of_byte(cycle[i])),
                   [norm](float x) { return 20 * x / norm; });
  }
  for (std::int32_t special = end_token; special <= system_token; ++special)
    std::copy_n(row("embedding.weight", token_of_byte(cycle.back())), width, row("embedding.weight", special));
}

inline void write_tiny_language_model(const std::filesystem::path& directory, const TinyLanguageModel& more = {}) {
  OrderedJson json = {{"model_type", "llama"},
                      {"vocab_size", more.every_byte ? 260 : 108},
                      {"hidden_size", 16},
                      {"num_hidden_layers", 2},
                      {"head_dim", 4},
                      {"num_attention_heads", 4},
                      {"num_key_value_heads", 2},
                      {"intermediate_size", 24},
                      {"bos_token_id", nullptr},
                      {"eos_token_id", 0},
                      {"max_position_embeddings", 400}};
  if (!more.decoder_attention.empty()) json["rapt_attention"]["decoder"] = OrderedJson::array({more.decoder_attention});
  const ModelConfig config = read_config(JsonObject::parse(json_text(json), "config.json"));
  Transformer model(config);
  std::uint64_t stream = 0;
  for (const Parameter& parameter : model.parameters()) {
    RandomSequence random(11, stream++);
    const Tensor value = parameter.value();
    const bool norm = value.shape().rank() == 1;
    for (std::int64_t i = 0; i < value.count(); ++i)
      value.write<float>()[i] = static_cast<float>(norm ? 1 : 0.4 * random.normal());
    parameter.weight->changed();
  }
  if (!more.cycle.empty()) follow_cycle(model, more.cycle);
  DirectoryWriter writer(directory);
  write_model(model, writer);
  if (!more.generation_config.empty()) writer.add_file("generation_config.json", more.generation_config);
  writer.add_file("tokenizer.json", tiny_tokenizer(more.every_byte));
  writer.add_file("tokenizer_config.json",
                  json_text({{"eos_token", "<|end|>"}, {"clean_up_tokenization_spaces", false}}));
  if (!more.chat_template.empty()) writer.add_file("chat_template.jinja", more.chat_template);
  writer.commit();
}

}  // namespace rapt
