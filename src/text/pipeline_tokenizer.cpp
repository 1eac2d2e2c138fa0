#include "text/pipeline_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/printable.h"
#include "text/clean_up.h"
#include "text/pipeline/byte_level.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_files.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// Vocabularies of a quarter of a million pieces with twice as many merges take 35 MB.
constexpr JsonLimits kLimits{.bytes = std::size_t{1} << 26, .values = std::size_t{1} << 23};

constexpr std::string_view kFiles[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                       "chat_template.jinja"};

constexpr std::string_view kSpecialKeys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                             "pad_token", "cls_token", "mask_token"};

/// Keys of tokenizer_config.json that transformers passes over where there is a tokenizer.json, or that say the same,
/// or that concern pairs, several texts, images and sound.
constexpr std::string_view kIrrelevantToPipeline =
    "add_bos_token add_eos_token added_tokens_file audio_token auto_map backend boi_token boa_token cache_dir "
    "chat_template device do_basic_tokenize do_split_on_punc eoa_token eoi_token errors extra_ids from_slow "
    "full_tokenizer_file image_token init_inputs is_local language language_codes legacy local_files_only max_len "
    "max_length "
    "mask_token_sent merges_file model_input_names model_max_length model_specific_special_tokens name_or_path "
    "never_split "
    "num_madeup_words offset padding pad_to_multiple_of pad_token_type_id padding_side processor_class remove_space "
    "return_attention_mask return_tensors return_token_type_ids sp_model_kwargs spaces_between_special_tokens "
    "special_tokens_map_file stride "
    "tgt_lang tokenizer_class tokenizer_file tokenizer_version trim_offsets trust_remote_code truncation "
    "truncation_side "
    "truncation_strategy "
    "unk_id use_default_system_prompt use_fast video_token vision_bos_token vision_eos_token vocab_file "
    "wordpieces_prefix";

JsonObject parse(const std::map<std::string, std::string>& files, const std::string& name) {
  const auto found = files.find(name);
  return JsonObject::parse(found == files.end() ? "{}" : std::string_view(found->second), name, kLimits);
}

/// Whether an object of tokenizer.json, or one within it, is of some kind.
bool has_kind(const Json& object, std::string_view kind) {
  if (object.is_array()) return std::ranges::any_of(object, [&](const Json& item) { return has_kind(item, kind); });
  if (!object.is_object()) return false;
  if (object.contains("type") && object["type"] == kind) return true;
  return std::ranges::any_of(object, [&](const Json& item) { return item.is_array() && has_kind(item, kind); });
}

/// Throws Error if tokenizer_config.json gives a rule another value than tokenizer.json: transformers would rewrite the
/// rule.
void require_same(const JsonObject& config, std::string_view key, const Json& rules, std::string_view kind,
                  const char* rule) {
  const Json& wanted = config.value(key);
  const bool concerns = !wanted.is_null() && rules.is_object() && rules.contains("type") && rules["type"] == kind;
  if (!concerns || !rules.contains(rule) || rules[rule] == wanted) return;
  config.refuse(key, rules[rule].dump() + ", as in tokenizer.json");
}

/// The tokens of a key that holds a list of them, or an object of named ones.
std::vector<Json> token_list(const JsonObject& config, std::string_view key) {
  const Json& list = config.value(key);
  if (!list.is_null() && !list.is_structured()) config.refuse(key, "a list of tokens");
  return {list.begin(), list.end()};
}

/// Collects added tokens, numbered as the tokenizers library numbers them: like the piece of the same name, else one
/// after the other behind the vocabulary.
class TokenCollector {
 public:
  explicit TokenCollector(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  /// Adds a token, or replaces what is known of it; the id it has.
  std::int32_t add(const AddedToken& token) {
    const std::int32_t id = id_of(token.content);
    tokens_[id] = token;
    ids_[token.content] = id;
    return id;
  }

  bool contains(const std::string& content) const { return ids_.contains(content); }
  std::map<std::int32_t, AddedToken> take() { return std::move(tokens_); }

 private:
  std::int32_t id_of(const std::string& content) const {
    if (const auto found = ids_.find(content); found != ids_.end()) return found->second;
    if (const std::int32_t id = vocabulary_.find(content); id >= 0) return id;
    const auto behind = static_cast<std::int32_t>(vocabulary_.count());
    return tokens_.empty() ? behind : std::max(behind, tokens_.rbegin()->first + 1);
  }

  const Vocabulary& vocabulary_;
  std::map<std::int32_t, AddedToken> tokens_;
  std::map<std::string, std::int32_t> ids_;
};

void require_id(const std::string& file, const AddedToken& token, std::int64_t wanted, std::int32_t given) {
  require(wanted == given, "{}: the added token \"{}\" has the id {}, but {} by the vocabulary", file,
          printable(token.content), wanted, given);
}

/// A special token of tokenizer_config.json: its name, or an object.
AddedToken special_token(const JsonObject& config, std::string_view key, const Json& value) {
  AddedToken token{.normalized = false, .special = true};
  const bool sound =
      value.is_string() || (value.is_object() && value.contains("content") && value["content"].is_string());
  if (!sound) config.refuse(key, "a token");
  if (value.is_string()) {
    token.content = value.get<std::string>();
  } else {
    token = read_added_token(JsonObject::parse(value.dump(), config.file()), token);
    token.special = true;
  }
  if (token.content.empty() || token.content.size() > kMaxPieceBytes) config.refuse(key, "a text of 1 to 1024 bytes");
  return token;
}

void read_added_tokens(const JsonObject& json, TokenCollector& collector) {
  for (const JsonObject& object : json.find_objects("added_tokens").value_or(std::vector<JsonObject>{})) {
    const AddedToken token = read_added_token(object);
    require(!collector.contains(token.content), "{}: the added token \"{}\" is there twice", json.file(),
            printable(token.content));
    require_id(json.file(), token, object.integer("id", {.min = 0, .max = std::numeric_limits<std::int32_t>::max()}),
               collector.add(token));
  }
}

/// "added_tokens_decoder": tokens by id, which overrule those of tokenizer.json.
void read_added_tokens_decoder(const JsonObject& config, TokenCollector& collector) {
  const auto list = config.find_object("added_tokens_decoder");
  if (!list) return;
  std::map<std::int64_t, AddedToken> tokens;
  for (const std::string& key : list->keys()) {
    const bool number =
        !key.empty() && key.size() < 10 && std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    require(number, "{}: \"added_tokens_decoder\": expected ids, found \"{}\"", config.file(), printable(key));
    tokens[std::stoll(key)] = read_added_token(list->object(key));
  }
  for (const auto& [id, token] : tokens) require_id(config.file(), token, id, collector.add(token));
}

/// Special tokens that the configuration names and that are not added tokens yet become such.
void add_special(const JsonObject& config, std::string_view key, const Json& value, TokenCollector& collector) {
  const AddedToken token = special_token(config, key, value);
  if (!collector.contains(token.content)) collector.add(token);
}

}  // namespace

/// Decodes token by token.
class PipelineTokenizer::Stream final : public TextStream {
 public:
  explicit Stream(const PipelineTokenizer& tokenizer) : tokenizer_(tokenizer), decoder_(tokenizer.decoder_()) {}

  std::string add(std::int32_t id) override {
    std::string text;
    const std::string& piece = tokenizer_.piece(id);
    if (tokenizer_.added_.is_special(id)) return text;
    decoder_->add(tokenizer_.added_.contains(id) ? tokenizer_.added_.text(id) : piece, text);
    if (!tokenizer_.clean_up_) return text;
    whole_ += text;
    return "";
  }

  std::string finish() override {
    decoder_->finish(whole_);
    return tokenizer_.clean_up_ ? clean_up_spaces(std::move(whole_)) : std::move(whole_);
  }

 private:
  const PipelineTokenizer& tokenizer_;
  std::unique_ptr<PieceDecoder> decoder_;
  std::string whole_;  // what cleaning up may still change
};

std::unique_ptr<PipelineTokenizer> PipelineTokenizer::read(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const std::string_view name : kFiles) {
    const std::filesystem::path file = directory / name;
    if (std::filesystem::exists(file)) files.emplace(name, read_file(file, kLimits.bytes));
  }
  try {
    return of_files(files);
  } catch (const Error& error) {
    fail("{}: {}", shown(directory), error.what());
  }
}

std::unique_ptr<PipelineTokenizer> PipelineTokenizer::of_files(const std::map<std::string, std::string>& files,
                                                               std::map<std::string, std::string> written) {
  std::unique_ptr<PipelineTokenizer> tokenizer(new PipelineTokenizer);
  {
    const JsonObject json = parse(files, "tokenizer.json");
    if (json.object("model").find_text("type") == "WordLevel") return nullptr;
    const JsonObject config = parse(files, "tokenizer_config.json");
    tokenizer->read_rules(json);
    tokenizer->read_tokens(json, config, parse(files, "special_tokens_map.json"));
    tokenizer->read_surroundings(json, config);
    tokenizer->read_clean_up(json, config);
    require_same(config, "add_prefix_space", json.value("pre_tokenizer"), "ByteLevel", "add_prefix_space");
    require_same(config, "do_lower_case", json.value("normalizer"), "BertNormalizer", "lowercase");
    require_same(config, "strip_accents", json.value("normalizer"), "BertNormalizer", "strip_accents");
    require_same(config, "tokenize_chinese_chars", json.value("normalizer"), "BertNormalizer", "handle_chinese_chars");
    json.require_all_read();
    config.require_all_read(split_words(kIrrelevantToPipeline));
  }
  tokenizer->files_ = std::move(written);
  return tokenizer;
}

void PipelineTokenizer::read_rules(const JsonObject& json) {
  if (json.has("version") && json.text("version") != "1.0") json.refuse("version", "\"1.0\"");
  json.value("truncation");  // texts are encoded whole, and one by one
  json.value("padding");
  if (const auto normalizer = json.find_object("normalizer")) normalizer_ = read_normalizer(*normalizer);
  if (const auto splitter = json.find_object("pre_tokenizer")) pre_tokenizer_ = read_pre_tokenizer(*splitter);
  const auto decoder = json.find_object("decoder");
  decoder_ = decoder ? read_decoder(*decoder) : space_decoder();
  model_ = read_model(json.object("model"));
  if (has_kind(json.value("decoder"), "ByteLevel")) style_ = PieceStyle::bytes;
  if (has_kind(json.value("decoder"), "WordPiece")) style_ = PieceStyle::word_piece;
  if (has_kind(json.value("decoder"), "BPEDecoder")) style_ = PieceStyle::word_suffix;
}

void PipelineTokenizer::read_tokens(const JsonObject& json, const JsonObject& config, const JsonObject& map) {
  TokenCollector collector(model_->vocabulary());
  read_added_tokens(json, collector);
  read_added_tokens_decoder(config, collector);
  std::map<std::string_view, std::string> names;
  for (const std::string_view key : kSpecialKeys) {
    const JsonObject& source = config.value(key).is_null() ? map : config;
    if (source.value(key).is_null()) continue;
    add_special(source, key, source.value(key), collector);
    names[key] = special_token(source, key, source.value(key)).content;
  }
  for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
    for (const JsonObject* source : {&config, &map}) {
      for (const Json& token : token_list(*source, key)) add_special(*source, key, token, collector);
    }
  }
  if (config.find_boolean("split_special_tokens").value_or(false)) config.refuse("split_special_tokens", "false");

  added_ = AddedTokens(collector.take(), normalizer_);
  pieces_ = model_->vocabulary().pieces();
  for (const auto& [id, token] : added_.tokens()) {
    const auto index = static_cast<std::size_t>(id);
    require(index < pieces_.size() + added_.tokens().size(),
            "{}: the added token \"{}\" has the id {}, far behind the vocabulary", json.file(),
            printable(token.content), id);
    if (index >= pieces_.size()) pieces_.resize(index + 1);
    require(pieces_[index].empty() || pieces_[index] == token.content, "{}: id {} belongs to \"{}\" and \"{}\"",
            json.file(), id, printable(pieces_[index]), printable(token.content));
    pieces_[index] = token.content;
  }
  const auto id = [&](std::string_view key) {
    const auto name = names.find(key);
    return name == names.end() ? std::nullopt : std::optional(find(name->second));
  };
  special_ = {.pad = id("pad_token"),
              .eos = id("eos_token"),
              .bos = id("bos_token"),
              .unk = id("unk_token"),
              .mask = id("mask_token")};
}

std::int32_t PipelineTokenizer::find(std::string_view piece) const {
  for (const auto& [id, token] : added_.tokens()) {
    if (token.content == piece) return id;
  }
  return model_->vocabulary().find(piece);
}

void PipelineTokenizer::read_surroundings(const JsonObject& json, const JsonObject& config) {
  if (const auto processor = json.find_object("post_processor")) surroundings_ = read_post_processor(*processor);
  for (const auto* ids : {&surroundings_.before, &surroundings_.after}) {
    for (const std::int32_t id : *ids) {
      require(id < vocab_size() && !pieces_[static_cast<std::size_t>(id)].empty(),
              "{}: \"post_processor\" adds id {}, which is not in the vocabulary of {} pieces", json.file(), id,
              vocab_size());
    }
  }
  if (config.find_text("tokenizer_class").value_or("").starts_with("NllbTokenizer")) return surround_as_nllb(config);
  // transformers would put this language in place of the one that is there.
  if (const auto language = config.find_text("src_lang")) {
    const auto& [before, after] = surroundings_;
    const std::int32_t id = find(*language);
    const bool there = std::ranges::find(before, id) != before.end() || std::ranges::find(after, id) != after.end();
    if (id < 0 || !there) config.refuse("src_lang", "the language that tokenizer.json puts around a text");
  }
}

/// NLLB's class says itself what stands around a text: tokenizer.json has it as it was when the models came out.
void PipelineTokenizer::surround_as_nllb(const JsonObject& config) {
  const std::string name = config.find_text("src_lang").value_or("eng_Latn");
  const std::int32_t language = find(name);
  if (language < 0) config.refuse("src_lang", "a language of the vocabulary");
  const std::int32_t eos = special_.eos.value_or(find("</s>"));
  if (eos < 0) config.refuse("eos_token", "a token of the vocabulary, for an NllbTokenizer");
  if (config.find_boolean("legacy_behaviour").value_or(false)) {
    surroundings_ = {.before = {}, .after = {eos, language}};
  } else {
    surroundings_ = {.before = {language}, .after = {eos}};
  }
}

void PipelineTokenizer::read_clean_up(const JsonObject& json, const JsonObject& config) {
  const bool bpe = has_kind(json.value("model"), "BPE");
  const bool even_bpe =
      config.find_boolean("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output").value_or(false);
  clean_up_ = config.find_boolean("clean_up_tokenization_spaces").value_or(false) && (!bpe || even_bpe);
}

void PipelineTokenizer::append_ids(std::string_view text, bool starts_text, std::vector<std::int32_t>& ids) const {
  std::vector<PreToken> words{{std::string(text), starts_text}};
  if (pre_tokenizer_) pre_tokenizer_(words);
  for (const PreToken& word : words) {
    if (!word.text.empty()) model_->append_ids(word.text, ids);
  }
}

std::vector<std::int32_t> PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  require_utf8(text, "the text to encode");
  std::vector<std::int32_t> ids;
  if (options.special_tokens) ids = surroundings_.before;
  for (const Segment& given : added_.split_given(text)) {
    if (given.token >= 0) {
      ids.push_back(given.token);
      continue;
    }
    NormalizedText normalized{.text = std::string(given.text), .keeps_start = given.text.data() == text.data()};
    if (normalizer_) normalizer_(normalized);
    for (const Segment& segment : added_.split_normalized(normalized.text)) {
      if (segment.token >= 0) {
        ids.push_back(segment.token);
      } else {
        append_ids(segment.text, normalized.keeps_start && segment.text.data() == normalized.text.data(), ids);
      }
    }
  }
  if (options.special_tokens) ids.insert(ids.end(), surroundings_.after.begin(), surroundings_.after.end());
  return ids;
}

std::unique_ptr<TextStream> PipelineTokenizer::stream() const {
  return std::make_unique<Stream>(*this);
}

std::string PipelineTokenizer::decode(std::span<const std::int32_t> ids) const {
  Stream stream(*this);
  std::string text;
  for (const std::int32_t id : ids) text += stream.add(id);
  return text += stream.finish();
}

std::string PipelineTokenizer::bytes(std::int32_t id) const {
  if (style_ != PieceStyle::bytes || added_.contains(id)) return Tokenizer::bytes(id);
  return characters_to_bytes(piece(id)).value_or(piece(id));
}

DisplayPiece PipelineTokenizer::display(std::int32_t id) const {
  std::string text = piece(id);
  if (added_.is_special(id)) return {.text = text, .special = true};
  if (added_.contains(id)) return {.text = text};
  if (style_ == PieceStyle::word_piece) {
    const bool inside = text.starts_with("##");
    return {.text = inside ? text.substr(2) : text, .starts_word = !inside};
  }
  if (style_ == PieceStyle::word_suffix) return {.text = text};
  if (style_ == PieceStyle::bytes) text = replace_invalid_utf8(characters_to_bytes(text).value_or(text));
  const std::string_view mark = style_ == PieceStyle::bytes ? " " : kWordMark;
  const bool starts_word = text.starts_with(mark);
  return {.text = starts_word ? text.substr(mark.size()) : text, .starts_word = starts_word};
}

}  // namespace rapt
