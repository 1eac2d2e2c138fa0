/// What the fuzzers call, and the regression test on the inputs that they found. Each takes any bytes; an Error is a
/// good answer, a crash or a hang is not.
#pragma once

#include <string_view>

namespace rapt::fuzz {

/// tokenizer.json, a NUL, and a text that is encoded, decoded and streamed with it.
void tokenizer_json(std::string_view input);
/// A chat template, a NUL, and the content of a message.
void chat_template(std::string_view input);

}  // namespace rapt::fuzz
