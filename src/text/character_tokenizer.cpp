#include "text/character_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "formats/json.h"
#include "formats/printable.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// The class of a tokenizer.json without peculiarities: up to version 4 of transformers, and since.
constexpr std::string_view kClasses[] = {"PreTrainedTokenizerFast", "TokenizersBackend"};

/// tokenizer.json of a character tokenizer without its vocabulary. Splitting at every character leaves words of one
/// character for the word-level model to look up; Fuse joins pieces without spaces. The name of the unknown token is
/// not in the vocabulary, so that the tokenizers library refuses unknown characters instead of dropping them.
OrderedJson template_json() {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", OrderedJson::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Split"}, {"pattern", {{"Regex", "[\\s\\S]"}}}, {"behavior", "Isolated"}, {"invert", false}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "Fuse"}}},
          {"model", {{"type", "WordLevel"}, {"vocab", OrderedJson::object()}, {"unk_token", "<unk>"}}}};
}

/// What transformers 5 writes in place of no post-processor: the sequence as it is.
Json pass_through_post_processor() {
  const auto sequence = [](const char* id, int type) { return Json{{"Sequence", {{"id", id}, {"type_id", type}}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({sequence("A", 0)})},
          {"pair", Json::array({sequence("A", 0), sequence("B", 1)})},
          {"special_tokens", Json::object()}};
}

/// Throws Error unless `found` is a tokenizer.json that differs from template_json() in its vocabulary at most.
void require_character_kind(const JsonObject& found) {
  const Json expected = template_json();
  for (const auto& [key, value] : expected.items()) {
    if (key == "model" || found.value(key) == value) continue;
    if (key == "post_processor" && found.value(key) == pass_through_post_processor()) continue;
    found.refuse(key, value.dump() + " (rapt reads tokenizer.json of character tokenizers only)");
  }
  const JsonObject model = found.object("model");
  if (model.text("type") != "WordLevel") model.refuse("type", "\"WordLevel\"");
  if (model.value("vocab").contains(model.text("unk_token"))) {
    model.refuse("unk_token", "a name that is not in the vocabulary");
  }
}

/// The pieces of a vocabulary, by id; every piece a character, the ids 0 to size - 1.
std::vector<std::string> read_pieces(const Json& vocabulary, const std::string& file) {
  require(vocabulary.is_object() && !vocabulary.empty(), "{}: the vocabulary must be an object with at least one piece",
          file);
  std::vector<std::string> pieces(vocabulary.size());
  for (const auto& [piece, id] : vocabulary.items()) {
    require(!piece.empty() && utf8_step(piece, 0).length == piece.size(),
            "{}: the piece \"{}\" is not a single character; rapt reads tokenizer.json of character tokenizers only",
            file, printable(piece));
    const bool free = id.is_number_unsigned() && id < pieces.size() && pieces[id.get<std::size_t>()].empty();
    require(free, "{}: the piece \"{}\" has the id {}; every id from 0 to {} must be used once", file, printable(piece),
            printable(id.dump()), pieces.size() - 1);
    pieces[id.get<std::size_t>()] = piece;
  }
  return pieces;
}

void check_config(const std::filesystem::path& directory) {
  const JsonObject config = read_json_if_there(directory / "tokenizer_config.json");
  constexpr std::string_view unsupported[] = {"added_tokens_decoder", "clean_up_tokenization_spaces", "eos_token",
                                              "pad_token", "unk_token"};
  require_empty(config, unsupported);
  require_understood(config, kClasses);
}

/// Every piece is certain at once.
class CharacterStream final : public TextStream {
 public:
  explicit CharacterStream(const CharacterTokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string add(std::int32_t id) override { return tokenizer_.decode({&id, 1}); }
  std::string finish() override { return ""; }

 private:
  const CharacterTokenizer& tokenizer_;
};

}  // namespace

CharacterTokenizer::CharacterTokenizer(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {
  for (const std::string& character : pieces_) {
    ids_.emplace(utf8_step(character, 0).code_point, static_cast<std::int32_t>(ids_.size()));
  }
}

std::unique_ptr<CharacterTokenizer> CharacterTokenizer::of_text(std::string_view text) {
  require(!text.empty(), "a character tokenizer cannot be made of an empty text");
  require_utf8(text, "the text to take characters from");
  std::vector<bool> present(0x110000);
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    present[step.code_point] = true;
    position += step.length;
  }
  std::vector<std::string> pieces;
  for (char32_t code_point = 0; code_point < present.size(); ++code_point) {
    if (present[code_point]) append_utf8(pieces.emplace_back(), code_point);
  }
  return std::unique_ptr<CharacterTokenizer>(new CharacterTokenizer(std::move(pieces)));
}

std::unique_ptr<CharacterTokenizer> CharacterTokenizer::read(const std::filesystem::path& directory) {
  const JsonObject json = JsonObject::read(directory / "tokenizer.json");
  require_character_kind(json);
  const JsonObject model = json.object("model");
  std::vector<std::string> pieces = read_pieces(model.value("vocab"), json.file());
  json.require_all_read();
  check_config(directory);
  return std::unique_ptr<CharacterTokenizer>(new CharacterTokenizer(std::move(pieces)));
}

std::vector<std::int32_t> CharacterTokenizer::encode(std::string_view text, const EncodeOptions&) const {
  require_utf8(text, "the text to encode");
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    const auto found = ids_.find(step.code_point);
    require(found != ids_.end(), "the character \"{}\" (U+{:04X}) at byte {} is not among the {} that the model knows",
            printable(text.substr(position, step.length)), static_cast<std::uint32_t>(step.code_point), position,
            pieces_.size());
    ids.push_back(found->second);
    position += step.length;
  }
  return ids;
}

std::string CharacterTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int32_t id : ids) text += piece(id);
  return text;
}

std::unique_ptr<TextStream> CharacterTokenizer::stream() const {
  return std::make_unique<CharacterStream>(*this);
}

std::map<std::string, std::string> CharacterTokenizer::files() const {
  OrderedJson json = template_json();
  json["model"]["vocab"] = vocabulary_object(pieces_);
  const OrderedJson config{{"tokenizer_class", kClasses[0]}, {"clean_up_tokenization_spaces", false}};
  return {{"tokenizer.json", json_text(json)}, {"tokenizer_config.json", json_text(config)}};
}

}  // namespace rapt
