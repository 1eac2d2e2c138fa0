/// Chat templates: how a model wants a conversation written out. They are programs in a part of the language Jinja
/// (https://jinja.palletsprojects.com), run here by an interpreter that knows no files, no network and no end of steps.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "formats/json.h"

namespace rapt {

class Gguf;

/// A template that was read without an error. May be shared by threads.
class ChatTemplate {
 public:
  /// Throws Error naming `file`, the line and the construct for what is not Jinja or not supported.
  ChatTemplate(std::string_view source, std::string file);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  /// The template of a model directory: chat_template.jinja, else "chat_template" of tokenizer_config.json (of several
  /// the one called "default"); or that of a GGUF file. None if there is no template. bos_token, eos_token and the like
  /// become variables.
  static std::optional<ChatTemplate> read(const std::filesystem::path& model);

  /// The text of a conversation. `variables` is an object: "messages" is a list of objects with "role" and "content";
  /// templates may look at "tools", "documents", "add_generation_prompt" and others. `now` is the time that templates
  /// may write out. Throws Error naming the file and line where the template refuses the conversation, does what is
  /// not supported, or takes more steps or memory than any template needs.
  std::string render(const OrderedJson& variables, const std::tm& now) const;

 private:
  static std::optional<ChatTemplate> read_gguf_template(const Gguf& file);

  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace rapt
