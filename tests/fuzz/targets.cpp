#include "fuzz/targets.h"

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "families/config.h"
#include "families/gguf.h"
#include "formats/gguf_model.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "text/chat_template.h"
#include "text/gguf_tokenizer.h"
#include "text/pipeline_tokenizer.h"
#include "text/utf8.h"

namespace rapt::fuzz {
namespace {

std::pair<std::string_view, std::string_view> split_at_nul(std::string_view input) {
  const std::size_t end = std::min(input.find('\0'), input.size());
  return {input.substr(0, end), input.substr(std::min(end + 1, input.size()))};
}

/// Not gtest's, which the fuzzers do not link.
void demand(bool condition) {
  if (!condition) __builtin_trap();
}

/// One of several readings of the same input.
template <typename Reading>
void refusable(Reading reading) {
  try {
    reading();
  } catch (const Error&) {
  }
}

}  // namespace

void gguf(std::string_view input) {
  try {
    const auto file = std::make_shared<const std::string>(input);
    const auto shared = std::make_shared<const Gguf>(read_gguf(file, std::as_bytes(std::span(*file)), "input"));
    const Gguf& read = *shared;
    for (const auto& [key, value] : read.metadata()) value.shown();
    for (const auto& [name, tensor] : read.tensors()) {
      if (tensor.type->unpack != nullptr) read.unpack(name);
    }
    refusable([&] { read_architecture(read); });
    refusable([&] { gguf_config(read); });
    refusable([&] { json_line(gguf_generation_config(read)); });
    refusable([&] {
      for (const auto& [name, tensor] : gguf_tensors(shared)) {
        tensor.read();
        if (tensor.read_rows && tensor.shape[0] > 0)
          tensor.read_rows(std::vector{static_cast<std::int32_t>(tensor.shape[0] - 1)});
      }
    });
    refusable([&] { gguf_tokenizer(read); });
  } catch (const Error&) {
  }
}

void safetensors(std::string_view input) {
  try {
    const auto file = std::make_shared<const std::string>(input);
    const auto tensors = read_safetensors(file, std::as_bytes(std::span(*file)), "input").tensors;
    find_non_finite(tensors);
    for (const auto& [name, tensor] : tensors) tensor.clone();
  } catch (const Error&) {
  }
}

void config_json(std::string_view input) {
  try {
    const ModelConfig config = read_config(JsonObject::parse(input, "config.json"));
    const std::string text = config_text(config);
    demand(config_text(read_config(JsonObject::parse(text, "config.json"))) == text);
    generation_config_text(config);
  } catch (const Error&) {
  }
}

void tokenizer_json(std::string_view input) {
  const auto [json, text] = split_at_nul(input);
  try {
    const auto tokenizer = PipelineTokenizer::of_files({{"tokenizer.json", std::string(json)}});
    if (tokenizer == nullptr) return;
    const std::vector<std::int32_t> ids = tokenizer->encode(replace_invalid_utf8(text));
    for (const std::int32_t id : ids) demand(id >= 0 && id < tokenizer->vocab_size());
    const auto stream = tokenizer->stream();
    std::string streamed;
    for (const std::int32_t id : ids) {
      const std::string part = stream->add(id);
      demand(first_invalid_utf8(part) == std::string::npos);
      streamed += part;
      tokenizer->display(id);
    }
    demand(streamed + stream->finish() == tokenizer->decode(ids));
  } catch (const Error&) {
  }
}

void chat_template(std::string_view input) {
  const auto [source, content] = split_at_nul(input);
  try {
    const ChatTemplate chat(source, "template");
    const nlohmann::ordered_json message{{"role", "user"}, {"content", replace_invalid_utf8(content)}};
    const std::string text = chat.render({{"messages", {message, message}}, {"tools", {{{"name", "f"}}}}}, std::tm{});
    demand(first_invalid_utf8(text) == std::string::npos);
  } catch (const Error&) {
  }
}

}  // namespace rapt::fuzz
