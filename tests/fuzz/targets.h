/// What the fuzzers call, and the regression test on the inputs that they found. Each takes any bytes; an Error is a
/// good answer, a crash or a hang is not.
#pragma once

#include <string_view>

namespace rapt::fuzz {

/// A GGUF file: all that it claims to hold is read, its config and its vocabulary are made of it.
void gguf(std::string_view input);
/// A safetensors file: every byte of its tensors is read.
void safetensors(std::string_view input);
/// config.json: what it becomes is written and read again, and must come out the same.
void config_json(std::string_view input);
/// tokenizer.json, a NUL, and a text that is encoded, decoded and streamed with it.
void tokenizer_json(std::string_view input);
/// A chat template, a NUL, and the content of a message.
void chat_template(std::string_view input);

}  // namespace rapt::fuzz
