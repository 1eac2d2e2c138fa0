#include "text/vocabulary_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/printable.h"
#include "text/pipeline/pattern.h"
#include "text/tokenizer_files.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 26;
constexpr std::string_view kFiles[] = {"vocab.txt",
                                       "vocab.json",
                                       "merges.txt",
                                       "added_tokens.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "chat_template.jinja"};

enum class Kind { bert, gpt2, roberta, qwen2 };

struct Class {
  std::string_view name;
  Kind kind;
  std::string_view model_types;  ///< those of config.json that it is the usual class of
};

constexpr Class kClasses[] = {
    {"BertTokenizer", Kind::bert, "bert"},    {"DistilBertTokenizer", Kind::bert, "distilbert"},
    {"GPT2Tokenizer", Kind::gpt2, "gpt2"},    {"RobertaTokenizer", Kind::roberta, "roberta"},
    {"BartTokenizer", Kind::roberta, "bart"}, {"Qwen2Tokenizer", Kind::qwen2, "qwen2 qwen3"}};

/// A directory's tokenizer as tokenizer.json would have it.
struct Description {
  const JsonObject& config;  ///< tokenizer_config.json
  const JsonObject& map;     ///< special_tokens_map.json
  OrderedJson special;       ///< the same with what the class has besides
  OrderedJson json = {
      {"version", "1.0"}, {"normalizer", nullptr}, {"pre_tokenizer", nullptr}, {"post_processor", nullptr}};
};

/// The name of a special token.
std::string name_of(const Description& description, const char* key) {
  if (const auto name = find_special_token(description.config, key)) return *name;
  if (const auto name = find_special_token(description.map, key)) return *name;
  return description.special.at(key).get<std::string>();
}

/// The special tokens that a class has where no file names them.
void set_default_tokens(Description& description, const std::vector<std::pair<const char*, OrderedJson>>& tokens) {
  for (const auto& [key, token] : tokens) {
    if (!description.map.has(key)) description.special[key] = token;
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& file) {
  const std::string text = read_file(file, kMaxFileBytes);
  require_utf8(text, file.string());
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(strip_right(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

/// The line that a piece stands in is its id; of equal lines the last counts.
std::vector<std::string> read_piece_lines(const std::filesystem::path& file) {
  std::vector<std::string> pieces = read_lines(file);
  std::set<std::string_view> known;
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (!piece->empty() && !known.insert(*piece).second) piece->clear();
  }
  return pieces;
}

OrderedJson read_merges(const std::filesystem::path& file) {
  OrderedJson merges = OrderedJson::array();
  for (std::string& line : read_lines(file)) {
    const bool title = merges.empty() && line.starts_with("#version");
    if (!line.empty() && !title) merges.push_back(std::move(line));
  }
  return merges;
}

std::int64_t id_of(const std::vector<std::string>& pieces, const std::string& piece,
                   const std::filesystem::path& file) {
  const auto found = std::ranges::find(pieces, piece);
  require(found != pieces.end(), "{}: the special token \"{}\" is not among the pieces", file.string(),
          printable(piece));
  return found - pieces.begin();
}

void describe_bert(const std::filesystem::path& directory, Description& description) {
  const JsonObject& config = description.config;
  set_default_tokens(description, {{"unk_token", "[UNK]"},
                                   {"sep_token", "[SEP]"},
                                   {"pad_token", "[PAD]"},
                                   {"cls_token", "[CLS]"},
                                   {"mask_token", "[MASK]"}});
  if (!config.find_boolean("do_basic_tokenize").value_or(true)) config.refuse("do_basic_tokenize", "true");
  require_empty(config, std::vector<std::string_view>{"never_split"});
  const std::filesystem::path file = directory / "vocab.txt";
  const std::vector<std::string> pieces = read_piece_lines(file);
  const Json& accents = config.value("strip_accents");
  OrderedJson& json = description.json;
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", config.find_boolean("tokenize_chinese_chars").value_or(true)},
                        {"strip_accents", accents.is_boolean() ? OrderedJson(accents.get<bool>()) : OrderedJson()},
                        {"lowercase", config.find_boolean("do_lower_case").value_or(true)}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  const std::string sep = name_of(description, "sep_token"), cls = name_of(description, "cls_token");
  json["post_processor"] = {
      {"type", "BertProcessing"}, {"sep", {sep, id_of(pieces, sep, file)}}, {"cls", {cls, id_of(pieces, cls, file)}}};
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", name_of(description, "unk_token")},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", vocabulary_object(pieces)}};
}

/// GPT-2's byte-level pieces; of RoBERTa and BART with tokens around a text, of Qwen with other words.
void describe_gpt2(const std::filesystem::path& directory, Kind kind, Description& description) {
  const JsonObject& config = description.config;
  if (kind == Kind::roberta) {
    const OrderedJson mask = {{"content", "<mask>"}, {"lstrip", true}, {"normalized", false}};
    set_default_tokens(description, {{"bos_token", "<s>"},
                                     {"eos_token", "</s>"},
                                     {"sep_token", "</s>"},
                                     {"cls_token", "<s>"},
                                     {"unk_token", "<unk>"},
                                     {"pad_token", "<pad>"},
                                     {"mask_token", mask}});
  } else if (kind == Kind::gpt2) {
    set_default_tokens(
        description, {{"unk_token", "<|endoftext|>"}, {"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}});
  } else {
    set_default_tokens(
        description, {{"unk_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}});
  }
  require_empty(config, std::vector<std::string_view>{"add_bos_token", "add_eos_token"});
  const std::filesystem::path file = directory / "vocab.json";
  const std::vector<std::string> pieces = read_vocabulary(file);
  const bool prefix_space = config.find_boolean("add_prefix_space").value_or(false);
  const OrderedJson bytes = {{"type", "ByteLevel"},
                             {"add_prefix_space", prefix_space},
                             {"trim_offsets", true},
                             {"use_regex", kind != Kind::qwen2}};
  OrderedJson& json = description.json;
  json["pre_tokenizer"] = bytes;
  if (kind == Kind::qwen2) {
    json["normalizer"] = {{"type", "NFC"}};
    const OrderedJson words = {
        {"type", "Split"}, {"pattern", {{"Regex", kQwen2Words}}}, {"behavior", "Isolated"}, {"invert", false}};
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", OrderedJson::array({words, bytes})}};
  }
  if (kind == Kind::roberta) {
    const std::string sep = name_of(description, "sep_token"), cls = name_of(description, "cls_token");
    json["post_processor"] = {{"type", "RobertaProcessing"},
                              {"sep", {sep, id_of(pieces, sep, file)}},
                              {"cls", {cls, id_of(pieces, cls, file)}},
                              {"trim_offsets", true},
                              {"add_prefix_space", prefix_space}};
  }
  json["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", ""},
                   {"end_of_word_suffix", ""},
                   {"fuse_unk", false},
                   {"vocab", vocabulary_object(pieces)},
                   {"merges", read_merges(directory / "merges.txt")}};
}

/// added_tokens.json: ids by name. It counts where tokenizer_config.json does not list the tokens itself.
OrderedJson read_added_tokens_file(const std::filesystem::path& file, const Description& description) {
  OrderedJson list = OrderedJson::array();
  if (!std::filesystem::exists(file) || description.config.has("added_tokens_decoder")) return list;
  std::set<std::string> special;
  for (const auto& [key, token] : description.special.items()) {
    for (const OrderedJson& one : token.is_array() ? token : OrderedJson::array({token}))
      special.insert(one.is_object() ? one.value("content", "") : one.is_string() ? one.get<std::string>() : "");
  }
  const JsonObject ids = JsonObject::read(file);
  std::map<std::int64_t, std::string> names;
  for (const std::string& name : ids.keys()) {
    const std::int64_t id = ids.integer(name, {.min = 0, .max = 1 << 30});
    if (!names.emplace(id, name).second) ids.refuse(name, "an id of its own");
  }
  for (const auto& [id, name] : names) {
    const bool is_special = special.contains(name);
    list.push_back({{"id", id},
                    {"content", name},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", !is_special},
                    {"special", is_special}});
  }
  return list;
}

const Class& find_class(const std::filesystem::path& directory, const JsonObject& config) {
  const JsonObject model = read_json_if_there(directory / "config.json");
  const auto of_model = model.find_text("tokenizer_class");
  std::string name = config.find_text("tokenizer_class").value_or(of_model.value_or(""));
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const std::string model_type = model.find_text("model_type").value_or("");
  const bool lines = std::filesystem::exists(directory / "vocab.txt");
  std::string names;
  for (const Class& known : kClasses) {
    if (lines != (known.kind == Kind::bert)) continue;
    const auto types = split_words(known.model_types);
    if (known.name == name || (name.empty() && std::ranges::find(types, model_type) != types.end())) return known;
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  const JsonObject& said = config.has("tokenizer_class") || !of_model ? config : model;
  said.refuse("tokenizer_class", "one of " + names + ", as there is no tokenizer.json but " +
                                     (lines ? "vocab.txt" : "vocab.json and merges.txt"));
}

}  // namespace

bool has_vocabulary_files(const std::filesystem::path& directory) {
  return std::filesystem::exists(directory / "vocab.txt") ||
         (std::filesystem::exists(directory / "vocab.json") && std::filesystem::exists(directory / "merges.txt"));
}

std::unique_ptr<PipelineTokenizer> read_vocabulary_files(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const std::string_view name : kFiles) {
    if (std::filesystem::exists(directory / name)) files.emplace(name, read_file(directory / name, kMaxFileBytes));
  }
  const JsonObject config = read_json_if_there(directory / "tokenizer_config.json");
  const Class& known = find_class(directory, config);
  const JsonObject map = read_json_if_there(directory / "special_tokens_map.json");
  Description description{.config = config, .map = map, .special = OrderedJson::object()};
  for (const std::string& key : map.keys()) description.special[key] = map.value(key);
  if (known.kind == Kind::bert) {
    describe_bert(directory, description);
  } else {
    describe_gpt2(directory, known.kind, description);
  }
  description.json["added_tokens"] = read_added_tokens_file(directory / "added_tokens.json", description);
  std::map<std::string, std::string> described = files;
  described["tokenizer.json"] = description.json.dump();
  described["special_tokens_map.json"] = description.special.dump();
  try {
    return PipelineTokenizer::of_files(described, std::move(files));
  } catch (const Error& error) {
    fail("{}: its {}, read as {}", shown(directory),
         known.kind == Kind::bert ? "vocab.txt" : "vocab.json and merges.txt", error.what());
  }
}

}  // namespace rapt
