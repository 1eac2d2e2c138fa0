#include "view/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "view/base64.h"
#include "view/display_text.h"
#include "view/embedded.h"

namespace rapt::view {
namespace {

using nlohmann::json;

/// No token of a sane vocabulary is longer; a hostile one is cut.
constexpr std::size_t max_piece_length = 64;

std::vector<bool> special(const std::vector<Piece>& pieces) {
  std::vector<bool> marks;
  marks.reserve(pieces.size());
  for (const Piece& piece : pieces) marks.push_back(piece.special);
  return marks;
}

/// What the decoder reads: `start` and all pieces but the last; in a language model, the pieces themselves.
std::vector<Piece> decoder_inputs(const Sentence& sentence) {
  if (!sentence.start || sentence.target.empty()) return sentence.target;
  std::vector<Piece> inputs{*sentence.start};
  inputs.insert(inputs.end(), sentence.target.begin(), sentence.target.end() - 1);
  return inputs;
}

json piece_texts(const std::vector<Piece>& pieces) {
  json texts = json::array();
  for (const Piece& piece : pieces) texts.push_back(display_text(piece.text, max_piece_length));
  return texts;
}

json special_places(const std::vector<Piece>& pieces) {
  json places = json::array();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].special) places.push_back(i);
  }
  return places;
}

json pieces_json(const std::vector<Piece>& pieces) {
  return {{"texts", piece_texts(pieces)}, {"special", special_places(pieces)}};
}

/// Three decimals, as many as the page shows.
double rounded(float value) {
  return std::round(static_cast<double>(value) * 1000) / 1000;
}

json patterns_json(const Patterns& patterns) {
  const NamedPattern named = name_of(patterns);
  return {{"name", named.name},
          {"score", rounded(named.score)},
          {"previous", rounded(patterns.previous)},
          {"same", rounded(patterns.same)},
          {"next", rounded(patterns.next)},
          {"first", rounded(patterns.first)},
          {"last", rounded(patterns.last)},
          {"broad", rounded(patterns.broad)},
          {"aligned", rounded(patterns.aligned)}};
}

std::string scales_base64(const std::vector<std::uint16_t>& scales) {
  std::vector<std::uint8_t> little_endian;
  little_endian.reserve(scales.size() * 2);
  for (const std::uint16_t scale : scales) {
    little_endian.push_back(static_cast<std::uint8_t>(scale & 0xFF));
    little_endian.push_back(static_cast<std::uint8_t>(scale >> 8));
  }
  return base64(little_endian);
}

json map_json(const EncodedMap& map) {
  json patterns = json::array();
  for (const Patterns& head : map.patterns) patterns.push_back(patterns_json(head));
  return {{"kind", name_of(map.kind)},
          {"layer", map.layer},
          {"heads", map.heads},
          {"queries", map.queries},
          {"keys", map.keys},
          {"query_block", map.query_block},
          {"key_block", map.key_block},
          {"rows", map.rows},
          {"columns", map.columns},
          {"causal", map.causal},
          {"row_sum_error", map.row_sum_error},
          {"patterns", std::move(patterns)},
          {"mean_patterns", patterns_json(map.mean_patterns)},
          {"scales", scales_base64(map.scales)},
          {"weights", base64(map.weights)}};
}

json sentence_json(const Sentence& sentence) {
  json maps = json::array();
  for (const EncodedMap& map : sentence.maps) maps.push_back(map_json(map));
  json value{
      {"source", pieces_json(sentence.source)}, {"target", pieces_json(sentence.target)}, {"maps", std::move(maps)}};
  if (sentence.start) value["start"] = pieces_json({*sentence.start});
  return value;
}

/// What the list of sentences needs, so that weights are only decoded when a sentence is looked at.
json index_json(const Report& report) {
  json sentences = json::array();
  for (const Sentence& sentence : report.sentences) {
    json entry{{"source", display_text(sentence.source_text)}, {"target", display_text(sentence.target_text)}};
    if (sentence.reference) entry["reference"] = display_text(*sentence.reference);
    if (sentence.score) entry["score"] = *sentence.score;
    sentences.push_back(std::move(entry));
  }
  json absent = json::array();
  for (const AbsentAttention& layer : report.absent)
    absent.push_back({{"kind", name_of(layer.kind)}, {"layer", layer.layer}, {"reason", layer.reason}});
  return {{"model", display_text(report.model_name)},
          {"title", display_text(report.title)},
          {"absent", std::move(absent)},
          {"omitted", report.omitted},
          {"max_bytes", report.max_bytes},
          {"sentences", std::move(sentences)}};
}

/// A block that holds data and is never run.
std::string data_block(const std::string& id, const json& value) {
  return fmt::format("<script type=\"application/json\" id=\"{}\">{}</script>\n", id, script_json(value));
}

std::string data_blocks(const Report& report) {
  std::string blocks = data_block("index", index_json(report));
  for (std::size_t i = 0; i < report.sentences.size(); ++i) {
    blocks += data_block(fmt::format("sentence-{}", i), sentence_json(report.sentences[i]));
  }
  return blocks;
}

/// A hash source of a Content Security Policy: only the very text that was embedded may run.
std::string hash_source(const embedded::File& file) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < file.sha256.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(file.sha256.substr(i, 2)), nullptr, 16)));
  }
  return "'sha256-" + base64(bytes) + "'";
}

std::string content_security_policy() {
  return fmt::format(
      "default-src 'none'; script-src {}; style-src {}; img-src blob: data:; base-uri 'none'; "
      "form-action 'none'",
      hash_source(embedded::page_js), hash_source(embedded::page_css));
}

/// Replaces each "{{name}}" of the template; what is inserted is not looked at again.
std::string filled(std::string_view page, const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string result;
  for (std::size_t open; (open = page.find("{{")) != std::string_view::npos;) {
    const std::size_t close = page.find("}}", open);
    const std::string_view name = page.substr(open + 2, close - open - 2);
    const auto value =
        std::find_if(values.begin(), values.end(), [&](const auto& entry) { return entry.first == name; });
    require(value != values.end(), "the page's template asks for \"{}\", which nobody provides", name);
    result.append(page.substr(0, open)).append(value->second);
    page.remove_prefix(close + 2);
  }
  return result.append(page);
}

/// Extents [queries, keys] that maps of this kind have in this sentence.
std::pair<std::vector<Piece>, std::vector<Piece>> pieces_of(const Sentence& sentence, AttentionKind kind) {
  switch (kind) {
    case AttentionKind::encoder:
      return {sentence.source, sentence.source};
    case AttentionKind::decoder:
      return {sentence.target, decoder_inputs(sentence)};
    case AttentionKind::cross:
      return {sentence.target, sentence.source};
  }
  fail("unknown kind of attention");
}

std::size_t page_bytes(const Sentence& sentence) {
  std::size_t bytes = 0;
  for (const EncodedMap& map : sentence.maps) bytes += map.page_bytes();
  return bytes;
}

}  // namespace

void add_map(Sentence& sentence, const AttentionMap& map) {
  const auto [queries, keys] = pieces_of(sentence, map.kind);
  sentence.maps.push_back(encode(map, special(queries), special(keys)));
}

bool add_sentence(Report& report, Sentence sentence) {
  require(!sentence.maps.empty(), "a sentence for the attention page has no attention map: \"{}\"",
          sentence.target_text);
  std::size_t bytes = page_bytes(sentence);
  for (const Sentence& present : report.sentences) bytes += page_bytes(present);
  if (!report.sentences.empty() && bytes > report.max_bytes) {
    ++report.omitted;
    return false;
  }
  report.sentences.push_back(std::move(sentence));
  return true;
}

std::string attention_page(const Report& report) {
  const std::string title = html_text(display_text(report.title));
  const std::string policy = html_text(content_security_policy());
  const std::string data = data_blocks(report);
  return filled(embedded::page_html.text, {{"title", title},
                                           {"policy", policy},
                                           {"style", embedded::page_css.text},
                                           {"data", data},
                                           {"script", embedded::page_js.text}});
}

}  // namespace rapt::view
