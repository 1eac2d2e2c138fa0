#include "text/pipeline/added_tokens.h"

#include <algorithm>

#include "core/error.h"
#include "formats/printable.h"
#include "text/pipeline/model.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

bool is_within_word(std::string_view text, std::size_t begin, std::size_t end) {
  const bool before = begin > 0 && is_word_character(utf8_step(text, character_begin(text, begin - 1)).code_point);
  return before || (end < text.size() && is_word_character(utf8_step(text, end).code_point));
}

/// Moves `begin` over white space, but not before `limit`.
std::size_t skip_space_before(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit) {
    const std::size_t previous = character_begin(text, begin - 1);
    if (!is_white_space(utf8_step(text, previous).code_point)) break;
    begin = previous;
  }
  return begin;
}

std::size_t skip_space_after(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    const Utf8Step step = utf8_step(text, end);
    if (!is_white_space(step.code_point)) break;
    end += step.length;
  }
  return end;
}

struct Match {
  std::int32_t token = -1;
  std::size_t length = 0;
};

Match longest_match(std::string_view text, std::size_t position, const Trie& trie) {
  Match match;
  Trie::Node node = Trie::root;
  for (std::size_t end = position; end < text.size();) {
    node = trie.next(node, text[end++]);
    if (node == Trie::none) break;
    if (trie.value(node) >= 0) match = {trie.value(node), end - position};
  }
  return match;
}

}  // namespace

AddedToken read_added_token(const JsonObject& object, const AddedToken& defaults) {
  const auto flag = [&](const char* key, bool otherwise) { return object.find_boolean(key).value_or(otherwise); };
  AddedToken token{.content = object.text("content"),
                   .single_word = flag("single_word", defaults.single_word),
                   .lstrip = flag("lstrip", defaults.lstrip),
                   .rstrip = flag("rstrip", defaults.rstrip),
                   .normalized = flag("normalized", defaults.normalized),
                   .special = flag("special", defaults.special)};
  if (token.content.empty() || token.content.size() > kMaxPieceBytes)
    object.refuse("content", "a text of 1 to 1024 bytes");
  return token;
}

AddedTokens::AddedTokens(std::map<std::int32_t, AddedToken> tokens, const Normalizer& normalizer)
    : tokens_(std::move(tokens)) {
  std::vector<Trie::Entry> given;
  std::vector<Trie::Entry> normalized;
  for (const auto& [id, token] : tokens_) {
    NormalizedText text{.text = token.content};
    if (token.normalized && normalizer) normalizer(text);
    require(!text.text.empty(), "the added token \"{}\" is empty once it is normalised", printable(token.content));
    require(text.text.size() <= kMaxPieceBytes,
            "the added token \"{}\" has {} bytes once it is normalised, more than {}", printable(token.content),
            text.text.size(), kMaxPieceBytes);
    const std::string& kept = texts_.emplace(id, std::move(text.text)).first->second;
    (token.normalized ? normalized : given).push_back({kept, id});
  }
  given_ = Trie(std::move(given));
  normalized_ = Trie(std::move(normalized));
}

bool AddedTokens::is_special(std::int32_t id) const {
  const auto found = tokens_.find(id);
  return found != tokens_.end() && found->second.special;
}

std::vector<Segment> AddedTokens::split(std::string_view text, const Trie& trie) const {
  std::vector<Segment> segments;
  std::size_t done = 0;
  std::size_t space_end = 0;  // of the white space that a token took last, and that the next may begin within
  const auto add_rest = [&](std::size_t end) {
    if (done < end) segments.push_back({text.substr(done, end - done)});
  };
  for (std::size_t position = 0; position < text.size();) {
    const Match match = longest_match(text, position, trie);
    if (match.token < 0) {
      ++position;
      continue;
    }
    std::size_t begin = position;
    std::size_t end = position + match.length;
    position = end;  // the search goes on after the token itself, whatever white space it takes
    const AddedToken& token = tokens_.at(match.token);
    if (token.single_word && is_within_word(text, begin, end)) continue;
    if (token.lstrip) begin = skip_space_before(text, begin, std::min(begin, done));
    if (token.rstrip) end = space_end = end < space_end ? space_end : skip_space_after(text, end);
    add_rest(begin);
    segments.push_back({text.substr(begin, end - begin), match.token});
    done = std::max(done, end);
  }
  add_rest(text.size());
  return segments;
}

}  // namespace rapt
