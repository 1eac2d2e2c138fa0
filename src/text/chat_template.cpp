#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "formats/file.h"
#include "formats/gguf.h"
#include "formats/printable.h"
#include "text/template/interpreter.h"
#include "text/template/parser.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20;

constexpr const char* kTokenKeys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                      "pad_token", "cls_token", "mask_token"};

/// The text of a template in tokenizer_config.json: a string, or the default one of a list.
std::optional<std::string> template_of(const JsonObject& config) {
  const Json& value = config.value("chat_template");
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) config.refuse("chat_template", "a template, or a list of templates with names");
  for (const JsonObject& entry : config.objects("chat_template")) {
    if (entry.text("name") == "default") return entry.text("template");
  }
  config.refuse("chat_template", "a list with a template called \"default\"");
}

/// The text of a special token, whatever else the configuration says of it.
std::optional<std::string> token_text(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return std::nullopt;
}

}  // namespace

struct ChatTemplate::Program {
  std::string file;
  jinja::Block block;
  jinja::Variables variables;
};

ChatTemplate::ChatTemplate(std::string_view source, std::string file) : program_(std::make_unique<Program>()) {
  program_->file = std::move(file);
  require(source.size() <= kMaxSourceBytes, "{}: {} bytes of template, where at most {} are allowed", program_->file,
          source.size(), kMaxSourceBytes);
  require_utf8(source, program_->file);
  try {
    program_->block = jinja::parse_template(source);
  } catch (const Error& error) {
    fail("{}: {}", program_->file, error.what());
  }
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

std::optional<ChatTemplate> ChatTemplate::read(const std::filesystem::path& directory) {
  if (is_gguf(directory)) return read_gguf_template(read_gguf(directory));
  const JsonObject config = read_json_if_there(directory / "tokenizer_config.json");
  const JsonObject map = read_json_if_there(directory / "special_tokens_map.json");
  const std::filesystem::path file = directory / "chat_template.jinja";
  std::optional<std::string> source;
  std::string name = shown(file);
  if (std::filesystem::exists(file)) {
    source = read_file(file, kMaxSourceBytes);
  } else {
    source = template_of(config);
    name = config.file() + ": chat_template";
  }
  if (!source) return std::nullopt;
  ChatTemplate result(*source, std::move(name));
  for (const char* key : kTokenKeys) {
    const auto token = token_text(config.value(key).is_null() ? map.value(key) : config.value(key));
    if (token) result.program_->variables.insert_or_assign(key, *token);
  }
  return result;
}

std::optional<ChatTemplate> ChatTemplate::read_gguf_template(const Gguf& file) {
  constexpr std::string_view key = "tokenizer.chat_template";
  if (!file.contains(key)) return std::nullopt;
  ChatTemplate result(file.text(key), fmt::format("{}: {}", file.file(), key));
  const std::vector<std::string_view> pieces = file.texts("tokenizer.ggml.tokens");
  for (const auto& [id, name] :
       {std::pair{"tokenizer.ggml.bos_token_id", "bos_token"}, std::pair{"tokenizer.ggml.eos_token_id", "eos_token"}}) {
    if (!file.contains(id)) continue;
    const std::int64_t token = file.integer(id, 0, std::ssize(pieces) - 1);
    result.program_->variables.insert_or_assign(name, std::string(pieces[static_cast<std::size_t>(token)]));
  }
  return result;
}

std::string ChatTemplate::render(const OrderedJson& variables, const std::tm& now) const {
  require(variables.is_object(), "the variables of a chat template must be an object");
  jinja::Variables all = program_->variables;
  for (const auto& [key, value] : variables.items()) all.insert_or_assign(key, jinja::Value::of(value));
  try {
    return jinja::render(program_->block, all, now);
  } catch (const Error& error) {
    fail("{}: {}", program_->file, error.what());
  }
}

}  // namespace rapt
