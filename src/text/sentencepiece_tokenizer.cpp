#include "text/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "formats/file.h"
#include "formats/printable.h"
#include "text/clean_up.h"
#include "text/tokenizer_files.h"
#include "text/translation_languages.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxModelBytes = std::size_t{1} << 28;
constexpr std::int64_t kMaxExtraIds = 10'000;
constexpr const char* kModelNames[] = {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"};
constexpr std::string_view kOtherFiles[] = {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};

/// Keys of tokenizer_config.json that change nothing for single texts.
constexpr std::string_view kIrrelevantToPieces =
    "additional_special_tokens_with_lengths auto_map backend chat_template cls_token device from_slow is_local "
    "language_codes legacy local_files_only max_length model_input_names model_max_length name_or_path "
    "num_madeup_words pad_to_multiple_of pad_token_type_id padding padding_side processor_class return_tensors "
    "sep_token spaces_between_special_tokens special_tokens_map_file spm_file stride tgt_lang tokenizer_file "
    "truncation truncation_side truncation_strategy use_default_system_prompt use_fast vocab_file";

/// SentencePiece's own way back: the mark of a word is a space; the one that was put before a text goes, and all at the
/// beginning where the model removes spaces that it takes for too many.
DecoderFactory make_decoder(const SentencePieceModel& model) {
  const bool removes_extra_spaces = model.encode("a  a") == model.encode("a a");
  const OrderedJson strip{
      {"type", "Strip"}, {"content", " "}, {"start", removes_extra_spaces ? 1 << 20 : 1}, {"stop", 0}};
  const OrderedJson steps{{{"type", "Replace"}, {"pattern", {{"String", kWordMark}}}, {"content", " "}},
                          {{"type", "ByteFallback"}},
                          {{"type", "Fuse"}},
                          strip};
  const OrderedJson json{{"type", "Sequence"}, {"decoders", steps}};
  return read_decoder(JsonObject::parse(json.dump(), "the decoder of SentencePiece models"));
}

std::string model_name(const std::filesystem::path& directory) {
  for (const char* name : kModelNames) {
    if (std::filesystem::exists(directory / name)) return name;
  }
  return "";
}

}  // namespace

enum class SentencePieceTokenizer::Numbering { llama, t5, fairseq, m2m100 };

enum class SentencePieceTokenizer::Place { none, before, before_or_behind, behind };

struct SentencePieceTokenizer::Class {
  std::string_view name;
  Numbering numbering;
  std::string_view model_types;  // those of config.json that it is the usual class of
  std::vector<std::string> (*languages)() = nullptr;
  Place language = Place::none;  // where it marks a text
  std::string_view usual_language;
};

class SentencePieceTokenizer::Stream final : public TextStream {
 public:
  explicit Stream(const SentencePieceTokenizer& tokenizer) : tokenizer_(tokenizer), decoder_(tokenizer.decoder_()) {}
  std::string add(std::int32_t id) override {
    std::string text;
    const std::string& piece = tokenizer_.piece(id);
    if (!tokenizer_.is_special(id)) decoder_->add(piece, text);
    if (!waits_) return text;
    whole_ += text;
    return "";
  }
  std::string finish() override {
    decoder_->finish(whole_);
    if (tokenizer_.class_->numbering == Numbering::m2m100) whole_ = strip(whole_);
    return tokenizer_.clean_up_ ? clean_up_spaces(std::move(whole_)) : std::move(whole_);
  }

 private:
  const SentencePieceTokenizer& tokenizer_;
  std::unique_ptr<PieceDecoder> decoder_;
  bool waits_ = tokenizer_.clean_up_ || tokenizer_.class_->numbering == Numbering::m2m100;
  std::string whole_;  // what cleaning up may still change
};

bool SentencePieceTokenizer::is_in(const std::filesystem::path& directory) {
  return !model_name(directory).empty();
}

const SentencePieceTokenizer::Class& SentencePieceTokenizer::find_class(const std::filesystem::path& directory,
                                                                        const JsonObject& config,
                                                                        std::size_t model_pieces) {
  static constexpr Class classes[] = {
      {"LlamaTokenizer", Numbering::llama},
      {"GemmaTokenizer", Numbering::llama},
      {"T5Tokenizer", Numbering::t5, "t5 mt5"},
      {"XLMRobertaTokenizer", Numbering::fairseq, "xlm-roberta"},
      {"MBartTokenizer", Numbering::fairseq, "mbart", mbart_languages, Place::behind, "en_XX"},
      {"MBart50Tokenizer", Numbering::fairseq, "", mbart50_languages, Place::before, "en_XX"},
      {"NllbTokenizer", Numbering::fairseq, "", nllb_languages, Place::before_or_behind, "eng_Latn"},
      {"M2M100Tokenizer", Numbering::m2m100, "m2m_100", m2m100_languages, Place::before, "en"}};
  const JsonObject model = read_json_if_there(directory / "config.json");
  const auto of_model = model.find_text("tokenizer_class");
  std::string name = config.find_text("tokenizer_class").value_or(of_model.value_or(""));
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const std::string model_type = model.find_text("model_type").value_or("");
  for (const Class& known : classes) {
    const auto types = split_words(known.model_types);
    if (known.name == name) return known;
    if (!name.empty() || std::ranges::find(types, model_type) == types.end()) continue;
    // mBART-50 has the model_type of the first mBART.
    const auto size = static_cast<std::int64_t>(model_pieces + 2 + mbart_languages().size());
    if (model_type == "mbart" && model.find_integer("vocab_size").value_or(size) != size)
      config.refuse("tokenizer_class", "MBartTokenizer or MBart50Tokenizer, which config.json leaves open");
    return known;
  }
  std::vector<std::string_view> names;
  for (const Class& known : classes) names.push_back(known.name);
  const JsonObject& said = config.has("tokenizer_class") || !of_model ? config : model;
  said.refuse("tokenizer_class", fmt::format("one of {}, as there is no tokenizer.json", fmt::join(names, ", ")));
}

std::unique_ptr<SentencePieceTokenizer> SentencePieceTokenizer::read(const std::filesystem::path& directory) {
  std::unique_ptr<SentencePieceTokenizer> tokenizer(new SentencePieceTokenizer);
  const std::string name = model_name(directory);
  std::string serialized = read_file(directory / name, kMaxModelBytes);
  tokenizer->files_[name] = serialized;
  for (const std::string_view file : kOtherFiles) {
    if (std::filesystem::exists(directory / file))
      tokenizer->files_.emplace(file, read_file(directory / file, kMaxModelBytes));
  }
  tokenizer->model_ = std::make_unique<SentencePieceModel>(std::move(serialized), (directory / name).string());

  const JsonObject config = read_json_if_there(directory / "tokenizer_config.json");
  const JsonObject map = read_json_if_there(directory / "special_tokens_map.json");
  tokenizer->class_ = &find_class(directory, config, tokenizer->model_->pieces().size());
  tokenizer->decoder_ = make_decoder(*tokenizer->model_);
  tokenizer->number_pieces(directory, config);
  tokenizer->add_tokens(config, map);
  tokenizer->surround(config);
  tokenizer->clean_up_ = config.find_boolean("clean_up_tokenization_spaces").value_or(false);
  constexpr std::string_view unsupported[] = {"split_special_tokens", "sp_model_kwargs"};
  require_empty(config, unsupported);
  if (!config.find_boolean("add_prefix_space").value_or(true)) config.refuse("add_prefix_space", "true");
  config.require_all_read(split_words(kIrrelevantToPieces));
  return tokenizer;
}

/// Puts pieces and languages where the class has them.
void SentencePieceTokenizer::number_pieces(const std::filesystem::path& directory, const JsonObject& config) {
  if (class_->languages != nullptr) languages_ = class_->languages();
  if (class_->numbering == Numbering::m2m100) {
    const std::string codes = config.find_text("language_codes").value_or("m2m100");
    if (codes != "m2m100" && codes != "wmt21") config.refuse("language_codes", "m2m100 or wmt21");
    if (codes == "wmt21") languages_ = wmt21_languages();
    const std::filesystem::path file = directory / "vocab.json";
    require(
        std::filesystem::exists(file),
        "{} is missing, which numbers the pieces of an M2M100Tokenizer; without it, tokenizer_config.json must name "
        "another \"tokenizer_class\", such as NllbTokenizer",
        file.string());
    files_["vocab.json"] = read_file(file, kMaxModelBytes);
    pieces_ = read_vocabulary(file);
    require(std::ranges::find(pieces_, "") == pieces_.end(), "{}: no piece has the id {}", file.string(),
            std::ranges::find(pieces_, "") - pieces_.begin());
    pieces_.insert(pieces_.end(), languages_.begin(), languages_.end());
  } else if (class_->numbering == Numbering::fairseq) {
    constexpr std::size_t of_own = 3;  // the model's <unk>, <s> and </s> make room for fairseq's four
    const std::vector<std::string> of_model = model_->pieces();
    require(of_model.size() > of_own, "the SentencePiece model has {} pieces, too few for {}", of_model.size(),
            class_->name);
    pieces_ = {"<s>", "<pad>", "</s>", "<unk>"};
    pieces_.insert(pieces_.end(), of_model.begin() + of_own, of_model.end());
    pieces_.insert(pieces_.end(), languages_.begin(), languages_.end());
    pieces_.emplace_back("<mask>");
  } else {
    pieces_ = model_->pieces();
    const std::int64_t extra_ids = config.find_integer("extra_ids", {.min = 0, .max = kMaxExtraIds}).value_or(100);
    for (std::int64_t i = extra_ids - 1; class_->numbering == Numbering::t5 && i >= 0; --i)
      pieces_.push_back(fmt::format("<extra_id_{}>", i));
  }
  for (const std::string& piece : pieces_) ids_.emplace(piece, static_cast<std::int32_t>(&piece - pieces_.data()));
  require(languages_.empty() || ids_.size() == pieces_.size(),
          "{}: the tokens of languages, which {} adds behind the pieces, are among the pieces already",
          directory.string(), class_->name);
}

std::int32_t SentencePieceTokenizer::id_of(const std::string& piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? -1 : found->second;
}

/// Special tokens, and tokens that tokenizer_config.json adds with their ids.
void SentencePieceTokenizer::add_tokens(const JsonObject& config, const JsonObject& map) {
  std::map<std::int32_t, AddedToken> tokens;
  const auto add_special = [&](const std::string& name) {
    const std::int32_t id = id_of(name);
    if (id >= 0) tokens.try_emplace(id, AddedToken{.content = name, .normalized = false, .special = true});
    return id;
  };
  if (const auto added = config.find_object("added_tokens_decoder")) {
    for (const std::string& key : added->keys()) {
      const AddedToken token = read_added_token(added->object(key));
      const std::int32_t id =
          id_of(token.content) >= 0 ? id_of(token.content) : static_cast<std::int32_t>(pieces_.size());
      if (key != std::to_string(id)) added->refuse(key, fmt::format("the id {} for this token", id));
      if (id == static_cast<std::int32_t>(pieces_.size())) {
        ids_.emplace(token.content, id);
        pieces_.push_back(token.content);
      }
      tokens[id] = token;
    }
  }
  const auto special = [&](std::string_view key, const char* usual) -> std::optional<std::int32_t> {
    const bool given = config.has(key) || map.has(key);
    const std::string name = find_special_token(config, key).value_or(find_special_token(map, key).value_or(usual));
    if (name.empty()) return std::nullopt;
    const std::int32_t id = add_special(name);
    if (id < 0 && given) config.refuse(key, "a piece of the SentencePiece model or an added token");
    return id < 0 ? std::nullopt : std::optional(id);
  };
  special_ = {.pad = special("pad_token", class_->numbering == Numbering::llama ? "" : "<pad>"),
              .eos = special("eos_token", "</s>"),
              .bos = special("bos_token", class_->numbering == Numbering::t5 ? "" : "<s>"),
              .unk = special("unk_token", "<unk>")};
  require(special_.unk && special_.eos && (special_.bos || class_->numbering == Numbering::t5),
          "the SentencePiece model lacks one of the tokens for unknown pieces, the beginning and the end of a text");
  if (config.value("mask_token").is_object()) {
    const AddedToken mask = read_added_token(config.object("mask_token"), {.normalized = false, .special = true});
    if (const std::int32_t id = id_of(mask.content); id >= 0) tokens[id] = mask;
  } else if (class_->numbering == Numbering::fairseq) {
    tokens.try_emplace(id_of("<mask>"),
                       AddedToken{.content = "<mask>", .lstrip = true, .normalized = false, .special = true});
  }
  for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
    for (const std::string& name : config.find_texts(key).value_or(std::vector<std::string>{})) {
      if (add_special(name) < 0) config.refuse(key, "pieces of the SentencePiece model or added tokens");
    }
  }
  if (class_->numbering == Numbering::t5) {
    for (const std::string& piece : pieces_) {
      if (piece.starts_with("<extra_id_")) add_special(piece);
    }
  }
  for (const std::string& language : languages_) add_special(language);
  for (auto& [id, token] : tokens) token.normalized = false;  // such tokenizers find all tokens in the text as it is
  added_ = AddedTokens(std::move(tokens), nullptr);
}

/// What stands around a text.
void SentencePieceTokenizer::surround(const JsonObject& config) {
  const bool begins = config.find_boolean("add_bos_token").value_or(class_->numbering != Numbering::t5);
  const bool ends = config.find_boolean("add_eos_token").value_or(class_->numbering != Numbering::llama);
  if (class_->language == Place::none) {
    if (begins) surroundings_.before = {*special_.bos};
    if (ends) surroundings_.after = {*special_.eos};
    return;
  }
  const bool legacy =
      class_->language == Place::before_or_behind && config.find_boolean("legacy_behaviour").value_or(false);
  const std::int32_t language = this->language(config);
  if (legacy || class_->language == Place::behind) {
    surroundings_.after = {*special_.eos, language};
  } else {
    surroundings_ = {.before = {language}, .after = {*special_.eos}};
  }
}

/// The language that marks a text where nobody asks for another.
std::int32_t SentencePieceTokenizer::language(const JsonObject& config) const {
  std::string token = config.find_text("src_lang").value_or(std::string(class_->usual_language));
  if (class_->numbering == Numbering::m2m100) token = "__" + token + "__";
  const std::int32_t id = id_of(token);
  if (!added_.is_special(id)) config.refuse("src_lang", fmt::format("one of {}", fmt::join(languages_, ", ")));
  return id;
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  require_utf8(text, "the text to encode");
  std::vector<std::int32_t> ids;
  if (options.special_tokens) ids = surroundings_.before;
  for (const Segment& segment : added_.split_given(text)) {
    if (segment.token >= 0) {
      ids.push_back(segment.token);
      continue;
    }
    for (const std::string& piece : model_->encode(segment.text)) {
      const std::int32_t id = id_of(piece);
      ids.push_back(id < 0 ? *special_.unk : id);
    }
  }
  if (options.special_tokens) ids.insert(ids.end(), surroundings_.after.begin(), surroundings_.after.end());
  return ids;
}

std::unique_ptr<TextStream> SentencePieceTokenizer::stream() const {
  return std::make_unique<Stream>(*this);
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
  Stream stream(*this);
  std::string text;
  for (const std::int32_t id : ids) text += stream.add(id);
  return text += stream.finish();
}

DisplayPiece SentencePieceTokenizer::display(std::int32_t id) const {
  std::string_view text = piece(id);
  if (is_special(id)) return {.text = std::string(text), .special = true};
  const bool starts_word = text.starts_with(kWordMark);
  if (starts_word) text.remove_prefix(kWordMark.size());
  return {.text = std::string(text), .starts_word = starts_word};
}

}  // namespace rapt
