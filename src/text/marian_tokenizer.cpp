#include "text/marian_tokenizer.h"

#include <fmt/core.h>

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/printable.h"
#include "text/clean_up.h"
#include "text/replace.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_files.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxModelBytes = std::size_t{1} << 28;
constexpr double kMaxLength = 1 << 24;  // transformers writes 1e30 where there is no limit
constexpr std::string_view kClasses[] = {"MarianTokenizer"};

using IdOfPiece = std::unordered_map<std::string, std::int32_t>;

IdOfPiece ids_of(const std::vector<std::string>& pieces, const std::string& file) {
  IdOfPiece ids;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const bool added = pieces[id].empty() || ids.emplace(pieces[id], static_cast<std::int32_t>(id)).second;
    require(added, "{}: the piece \"{}\" has two ids, {} and {}", file, printable(pieces[id]), ids[pieces[id]], id);
  }
  return ids;
}

std::int32_t special_id(const IdOfPiece& ids, const std::string& name, const std::string& file) {
  const auto found = ids.find(name);
  require(found != ids.end(), "{} has no id for the special token \"{}\"", file, printable(name));
  return found->second;
}

/// Takes the name of a special token from tokenizer_config.json or special_tokens_map.json, if one of them gives it.
void read_special_token(const JsonObject& config, const JsonObject& map, std::string_view key, std::string& name) {
  const std::optional<std::string> in_config = find_special_token(config, key);
  const std::optional<std::string> in_map = find_special_token(map, key);
  if (in_config && in_map && in_config != in_map) {
    config.refuse(key, fmt::format("\"{}\" as in special_tokens_map.json", printable(*in_map)));
  }
  name = in_config.value_or(in_map.value_or(name));
}

/// Throws Error unless "added_tokens_decoder" adds nothing to the vocabulary.
void require_no_added_tokens(const JsonObject& config, const MarianFiles& files) {
  const auto added = config.find_object("added_tokens_decoder");
  if (!added) return;
  for (const std::string& id : added->keys()) {
    const std::optional<std::string> name = find_special_token(*added, id);
    const bool special = name == files.eos || name == files.unk || name == files.pad;
    const auto index = static_cast<std::size_t>(std::strtoull(id.c_str(), nullptr, 10));
    const bool known = special && index < files.vocabulary.size() && files.vocabulary[index] == name;
    if (!known) added->refuse(id, "a special token with its id in vocab.json; rapt supports no other added tokens");
  }
}

/// Reads tokenizer_config.json, and special_tokens_map.json, which older versions of transformers wrote.
void read_config(const std::filesystem::path& directory, MarianFiles& files) {
  const JsonObject config = read_json_if_there(directory / "tokenizer_config.json");
  const JsonObject map = read_json_if_there(directory / "special_tokens_map.json");
  read_special_token(config, map, "eos_token", files.eos);
  read_special_token(config, map, "unk_token", files.unk);
  read_special_token(config, map, "pad_token", files.pad);
  files.source_lang = config.find_text("source_lang").value_or("");
  files.target_lang = config.find_text("target_lang").value_or("");
  files.clean_up_spaces = config.find_boolean("clean_up_tokenization_spaces").value_or(false);
  const double max_length =
      config.find_number("model_max_length").value_or(static_cast<double>(files.model_max_length));
  if (max_length >= 1 && max_length <= kMaxLength) files.model_max_length = static_cast<std::int64_t>(max_length);
  if (config.find_boolean("separate_vocabs").value_or(false)) {
    files.target_vocabulary = read_vocabulary(directory / "target_vocab.json");
  }
  require_no_added_tokens(config, files);
  constexpr std::string_view file_names[] = {"source_spm", "target_spm", "target_vocab_file", "vocab"};
  for (const std::string_view key : file_names) config.value(key);
  require_understood(config, kClasses);
}

std::string config_json(const MarianFiles& files) {
  OrderedJson config{{"tokenizer_class", kClasses[0]}};
  if (!files.source_lang.empty()) config["source_lang"] = files.source_lang;
  if (!files.target_lang.empty()) config["target_lang"] = files.target_lang;
  config["eos_token"] = files.eos;
  config["unk_token"] = files.unk;
  config["pad_token"] = files.pad;
  config["model_max_length"] = files.model_max_length;
  config["separate_vocabs"] = !files.target_vocabulary.empty();
  config["clean_up_tokenization_spaces"] = files.clean_up_spaces;
  return json_text(config);
}

/// The vocabulary of a Marian directory for a SentencePiece model: eos, unk, the model's pieces, pad.
std::vector<std::string> vocabulary_of(const std::string& spm, const std::string& file, const MarianFiles& names) {
  std::vector<std::string> pieces{names.eos, names.unk};
  for (std::string& piece : SentencePieceModel(spm, file).pieces()) {
    const bool control = piece == names.eos || piece == names.unk || piece == names.pad || piece == "<s>";
    if (!control) pieces.push_back(std::move(piece));
  }
  pieces.push_back(names.pad);
  return pieces;
}

MarianFiles new_files(std::string source_spm, std::string target_spm, const MarianOptions& options) {
  return {.source_spm = std::move(source_spm),
          .target_spm = std::move(target_spm),
          .source_lang = options.source_lang,
          .target_lang = options.target_lang,
          .model_max_length = options.model_max_length};
}

/// Special tokens that a text spells out, from left to right.
class SpecialTokenSearch {
 public:
  struct Match {
    std::size_t position;
    std::size_t length;
    std::int32_t id;
  };
  using Names = std::array<std::pair<std::string_view, std::int32_t>, 3>;

  SpecialTokenSearch(std::string_view text, const Names& names) : text_(text), names_(names) {
    for (std::size_t i = 0; i < names.size(); ++i) next_[i] = text.find(names[i].first);
  }

  /// The first token at or after `position`, the longest if there are several; positions must not decrease.
  std::optional<Match> next(std::size_t position) {
    std::optional<Match> first;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (next_[i] < position) next_[i] = text_.find(names_[i].first, position);
      if (next_[i] == std::string_view::npos) continue;
      const Match match{next_[i], names_[i].first.size(), names_[i].second};
      const bool better = !first || match.position < first->position ||
                          (match.position == first->position && match.length > first->length);
      if (better) first = match;
    }
    return first;
  }

 private:
  std::string_view text_;
  Names names_;
  std::array<std::size_t, 3> next_{};
};

}  // namespace

/// What both languages share.
struct MarianTokenizer::Common {
  MarianFiles files;
  SpecialTokens special;
};

/// What one language has of its own.
struct MarianTokenizer::Language {
  std::shared_ptr<const SentencePieceModel> spm;
  const std::vector<std::string>* pieces;  // of the files in Common
  IdOfPiece ids;
};

MarianTokenizer::MarianTokenizer(std::shared_ptr<const Common> common, std::shared_ptr<const Language> language)
    : common_(std::move(common)), language_(std::move(language)) {}

MarianTokenizer::MarianTokenizer(MarianFiles files) {
  const auto common = std::make_shared<Common>(Common{.files = std::move(files), .special = {}});
  const MarianFiles& held = common->files;
  const auto source = std::make_shared<Language>();
  source->spm = std::make_shared<SentencePieceModel>(held.source_spm, "source.spm");
  source->pieces = &held.vocabulary;
  source->ids = ids_of(held.vocabulary, "vocab.json");
  common->special = {.pad = special_id(source->ids, held.pad, "vocab.json"),
                     .eos = special_id(source->ids, held.eos, "vocab.json"),
                     .bos = std::nullopt,
                     .unk = special_id(source->ids, held.unk, "vocab.json")};
  const auto target = std::make_shared<Language>(*source);
  if (held.target_spm != held.source_spm) {
    target->spm = std::make_shared<SentencePieceModel>(held.target_spm, "target.spm");
  }
  if (!held.target_vocabulary.empty()) {
    target->pieces = &held.target_vocabulary;
    target->ids = ids_of(held.target_vocabulary, "target_vocab.json");
    for (const std::string& name : {held.eos, held.unk, held.pad}) {
      const std::int32_t source_id = source->ids[name];
      const std::int32_t target_id = special_id(target->ids, name, "target_vocab.json");
      require(source_id == target_id,
              "\"{}\" has id {} in vocab.json and {} in target_vocab.json, and must have the same in both, as "
              "transformers keeps only one; for a new model, make both vocabularies equally large",
              printable(name), source_id, target_id);
    }
  }
  common_ = common;
  language_ = source;
  target_.reset(new MarianTokenizer(common, target));
}

MarianTokenizer::~MarianTokenizer() = default;

std::unique_ptr<MarianTokenizer> MarianTokenizer::read(const std::filesystem::path& directory) {
  MarianFiles files;
  files.source_spm = read_file(directory / "source.spm", kMaxModelBytes);
  files.target_spm = read_file(directory / "target.spm", kMaxModelBytes);
  files.vocabulary = read_vocabulary(directory / "vocab.json");
  read_config(directory, files);
  try {
    return std::make_unique<MarianTokenizer>(std::move(files));
  } catch (const Error& error) {
    fail("{}: {}", directory.string(), error.what());
  }
}

std::unique_ptr<MarianTokenizer> MarianTokenizer::joint(const std::string& spm, const MarianOptions& options) {
  MarianFiles files = new_files(spm, spm, options);
  files.vocabulary = vocabulary_of(files.source_spm, "source.spm", files);
  return std::make_unique<MarianTokenizer>(std::move(files));
}

std::unique_ptr<MarianTokenizer> MarianTokenizer::separate(std::string source_spm, std::string target_spm,
                                                           const MarianOptions& options) {
  MarianFiles files = new_files(std::move(source_spm), std::move(target_spm), options);
  files.vocabulary = vocabulary_of(files.source_spm, "source.spm", files);
  files.target_vocabulary = vocabulary_of(files.target_spm, "target.spm", files);
  return std::make_unique<MarianTokenizer>(std::move(files));
}

void MarianTokenizer::append_ids(std::string_view segment, std::vector<std::int32_t>& ids) const {
  const auto append = [&](const std::string& piece) {
    const auto found = language_->ids.find(piece);
    ids.push_back(found == language_->ids.end() ? *common_->special.unk : found->second);
  };
  if (const std::size_t code_end = segment.find("<<"); segment.starts_with(">>") && code_end != segment.npos) {
    append(std::string(segment.substr(0, code_end + 2)));
    segment.remove_prefix(code_end + 2);
  }
  for (const std::string& piece : language_->spm->encode(segment)) append(piece);
}

std::vector<std::int32_t> MarianTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  require_utf8(text, "the text to encode");
  const MarianFiles& files = common_->files;
  const SpecialTokens& tokens = common_->special;
  SpecialTokenSearch search(text, {{{files.eos, *tokens.eos}, {files.unk, *tokens.unk}, {files.pad, *tokens.pad}}});
  std::vector<std::int32_t> ids;
  std::size_t position = 0;
  while (const auto match = search.next(position)) {
    append_ids(text.substr(position, match->position - position), ids);
    ids.push_back(match->id);
    position = match->position + match->length;
  }
  append_ids(text.substr(position), ids);
  if (options.special_tokens) ids.push_back(*tokens.eos);
  return ids;
}

std::string MarianTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) {
    if (!common_->special.contains(id)) pieces.push_back(piece(id));
  }
  const std::string joined = replace_all(language_->spm->decode(pieces), kWordMark, " ");
  std::string text(strip(joined));
  return common_->files.clean_up_spaces ? clean_up_spaces(std::move(text)) : text;
}

const std::vector<std::string>& MarianTokenizer::pieces() const {
  return *language_->pieces;
}

const SpecialTokens& MarianTokenizer::special() const {
  return common_->special;
}

DisplayPiece MarianTokenizer::display(std::int32_t id) const {
  std::string_view text = piece(id);
  if (common_->special.contains(id)) return {.text = std::string(text), .special = true};
  const bool starts_word = text.starts_with(kWordMark);
  if (starts_word) text.remove_prefix(kWordMark.size());
  return {.text = std::string(text), .starts_word = starts_word};
}

bool MarianTokenizer::has_separate_vocabularies() const {
  return !common_->files.target_vocabulary.empty();
}

std::map<std::string, std::string> MarianTokenizer::files() const {
  const MarianFiles& files = common_->files;
  std::map<std::string, std::string> result{{"source.spm", files.source_spm},
                                            {"target.spm", files.target_spm},
                                            {"vocab.json", json_text(vocabulary_object(files.vocabulary))},
                                            {"tokenizer_config.json", config_json(files)}};
  if (has_separate_vocabularies()) result["target_vocab.json"] = json_text(vocabulary_object(files.target_vocabulary));
  return result;
}

}  // namespace rapt
