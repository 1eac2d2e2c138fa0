/// What tokenizer_config.json says, of whatever kind the tokenizer is.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/json.h"

namespace rapt {

/// Reads tokenizer_config.json, or gives an empty object if the directory has none.
JsonObject read_tokenizer_config(const std::filesystem::path& directory);

/// The name of a special token, written as text or as an object with "content"; none if the key is absent. Throws Error
/// if the token is to swallow whitespace around it, which rapt does not support.
std::optional<std::string> find_special_token(const JsonObject& config, std::string_view key);

/// Throws Error unless the value of each key is absent, null, false or empty.
void require_empty(const JsonObject& config, std::span<const std::string_view> keys);

/// Throws Error unless "tokenizer_class", if there, is one of `classes`; the keys that could give any tokenizer further
/// special tokens or cut special tokens into pieces do not; and every other key was read already or cannot change the
/// ids of a text.
void require_understood(const JsonObject& config, std::span<const std::string_view> classes);

}  // namespace rapt
