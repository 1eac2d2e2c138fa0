/// What the files of all kinds of tokenizers have in common.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"

namespace rapt {

/// Reads a vocabulary from an object that gives each piece its id (vocab.json): pieces by id, empty where none has the
/// id. Throws Error unless the ids differ and have few gaps.
std::vector<std::string> read_vocabulary(const std::filesystem::path& file);

/// A vocabulary as its files hold it: each piece with its id, in the order of the ids. An empty piece is an id that
/// none has; the others must differ.
OrderedJson vocabulary_object(const std::vector<std::string>& pieces);

/// Reads the object of a JSON file, or gives an empty one if there is no such file.
JsonObject read_json_if_there(const std::filesystem::path& file);

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
