#include "text/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "formats/printable.h"

namespace rapt {
namespace {

/// Where the tokenizer came from, how texts are padded and cut, and names of other files.
constexpr std::string_view kIrrelevantOfMarian[] = {"backend",
                                                    "is_local",
                                                    "local_files_only",
                                                    "max_length",
                                                    "model_input_names",
                                                    "model_max_length",
                                                    "name_or_path",
                                                    "pad_to_multiple_of",
                                                    "pad_token_type_id",
                                                    "padding",
                                                    "padding_side",
                                                    "processor_class",
                                                    "return_tensors",
                                                    "special_tokens_map_file",
                                                    "stride",
                                                    "tokenizer_file",
                                                    "truncation",
                                                    "truncation_side",
                                                    "truncation_strategy",
                                                    "use_fast"};

constexpr std::size_t kMaxIdsPerPiece = 4;  // a vocabulary with more gaps than that is damaged

constexpr std::string_view kUnsupported[] = {"additional_special_tokens", "bos_token",           "cls_token",
                                             "extra_special_tokens",      "mask_token",          "sep_token",
                                             "sp_model_kwargs",           "split_special_tokens"};

bool is_empty(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

bool swallows_whitespace(const Json& token) {
  return std::ranges::any_of(std::initializer_list<const char*>{"lstrip", "rstrip", "single_word"},
                             [&](const char* key) { return token.contains(key) && token[key] != false; });
}

}  // namespace

std::vector<std::string> read_vocabulary(const std::filesystem::path& file) {
  const Json ids = read_json(file);
  require(ids.is_object() && !ids.empty(), "{} must be an object that gives each piece its id", file.string());
  const std::size_t max_id = kMaxIdsPerPiece * ids.size();
  std::vector<std::string> pieces;
  for (const auto& [piece, id] : ids.items()) {
    require(id.is_number_unsigned() && id <= max_id, "{}: \"{}\": expected an id from 0 to {}, found {}", file.string(),
            printable(piece), max_id, printable(id.dump()));
    require(!piece.empty(), "{}: the piece with id {} is empty", file.string(), id.dump());
    const auto index = id.get<std::size_t>();
    if (index >= pieces.size()) pieces.resize(index + 1);
    require(pieces[index].empty(), "{}: id {} belongs to two pieces, \"{}\" and \"{}\"", file.string(), index,
            printable(pieces[index]), printable(piece));
    pieces[index] = piece;
  }
  return pieces;
}

OrderedJson vocabulary_object(const std::vector<std::string>& pieces) {
  OrderedJson object = OrderedJson::object();
  auto& members = object.get_ref<OrderedJson::object_t&>();
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    // Not emplace(), which looks through all members every time.
    if (!pieces[id].empty()) members.emplace_back(pieces[id], id);
  }
  return object;
}

JsonObject read_json_if_there(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? JsonObject::read(file) : JsonObject::parse("{}", file.string());
}

std::optional<std::string> find_special_token(const JsonObject& config, std::string_view key) {
  const Json& token = config.value(key);
  if (token.is_null()) return std::nullopt;
  if (token.is_string()) return token.get<std::string>();
  const bool known = token.is_object() && token.contains("content") && token["content"].is_string();
  if (!known || swallows_whitespace(token)) config.refuse(key, "a token that leaves the whitespace around it alone");
  return token["content"].get<std::string>();
}

void require_empty(const JsonObject& config, std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (!is_empty(config.value(key))) config.refuse(key, "nothing, because rapt does not support it here");
  }
}

void require_understood(const JsonObject& config, std::span<const std::string_view> classes) {
  if (const auto name = config.find_text("tokenizer_class")) {
    if (std::ranges::find(classes, *name) == classes.end()) config.refuse("tokenizer_class", classes.front());
  }
  require_empty(config, kUnsupported);
  config.require_all_read(kIrrelevantOfMarian);
}

}  // namespace rapt
