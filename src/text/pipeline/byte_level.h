/// The alphabet of byte-level BPE (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, 2.2):
/// each byte as one printable character, so that vocabularies of bytes can be kept as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rapt {

/// One character for each byte: printable ones of Latin-1 stand for themselves, the others are U+0100 onwards.
std::string bytes_to_characters(std::string_view bytes);

/// The bytes that a piece of such characters stands for; nothing if one of its characters stands for no byte.
std::optional<std::string> characters_to_bytes(std::string_view piece);

}  // namespace rapt
