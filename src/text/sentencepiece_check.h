#pragma once

#include <string>
#include <string_view>

namespace rapt {

/// Throws Error naming `file` if a serialised SentencePiece model has rules of normalisation that point outside of
/// themselves: the library follows them without looking, and what is not checked here would crash the program later.
void require_sound_normalization(std::string_view serialized, const std::string& file);

}  // namespace rapt
