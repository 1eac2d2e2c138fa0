/// A directory with a random language model that reads and writes printable ASCII.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
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
};

/// The ids of the special tokens <|end|>, <|user|>, <|bot|> and <|system|>.
enum TinyToken : std::int32_t { end_token, user_token, bot_token, system_token };

/// Writes every role's messages as <|role|>content<|end|>.
inline constexpr const char* tiny_chat_template =
    "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|bot|>' if m.role == 'assistant' else "
    "'<|system|>' }}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}";

inline std::string tiny_tokenizer() {
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
  for (char byte = ' '; byte <= '~'; ++byte) add(bytes_to_characters({&byte, 1}));
  for (const char* bytes : {"\n", "\xc3", "\xa9"}) add(bytes_to_characters(bytes));  // é
  for (const char* whole : {"he", "th", "the", "an", "in", "er"}) add(whole);
  const OrderedJson byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return json_text(
      {{"version", "1.0"},
       {"added_tokens", added},
       {"pre_tokenizer", byte_level},
       {"decoder", byte_level},
       {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e", "t h", "t he", "a n", "i n", "e r"}}}}});
}

inline void write_tiny_language_model(const std::filesystem::path& directory, const TinyLanguageModel& more = {}) {
  const ModelConfig config = read_config(JsonObject::parse(
      R"({"model_type": "llama", "vocab_size": 108, "hidden_size": 16, "num_hidden_layers": 2, "head_dim": 4,
          "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24, "bos_token_id": null,
          "eos_token_id": 0, "max_position_embeddings": 400)" +
          (more.decoder_attention.empty()
               ? ""
               : R"(, "rapt_attention": {"decoder": [")" + more.decoder_attention + R"("]})") +
          "}",
      "config.json"));
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
  DirectoryWriter writer(directory);
  write_model(model, writer);
  if (!more.generation_config.empty()) writer.add_file("generation_config.json", more.generation_config);
  writer.add_file("tokenizer.json", tiny_tokenizer());
  writer.add_file("tokenizer_config.json",
                  json_text({{"eos_token", "<|end|>"}, {"clean_up_tokenization_spaces", false}}));
  if (!more.chat_template.empty()) writer.add_file("chat_template.jinja", more.chat_template);
  writer.commit();
}

}  // namespace rapt
