#include "text/text_frame.h"

#include <algorithm>

#include "core/error.h"
#include "text/unicode.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;

/// A text that the tokenizer surely knows: that of an ordinary token.
std::string some_text(const Tokenizer& tokenizer) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.pieces()[static_cast<std::size_t>(id)].empty() || tokenizer.display(id).special) continue;
    std::string text = tokenizer.decode(Ids{id});
    if (!strip(text).empty() && !tokenizer.encode(text, {.special_tokens = false}).empty()) return text;
  }
  fail("the tokenizer has no token but special ones");
}

/// Where the language stands among the special tokens around a text; null where texts have none.
std::int32_t* find_language(TextFrame& frame, const Tokenizer& tokenizer, std::span<const std::int32_t> others) {
  for (Ids* ids : {&frame.before, &frame.after}) {
    for (std::int32_t& id : *ids) {
      const bool other = tokenizer.special().contains(id) || std::ranges::find(others, id) != others.end();
      if (!other && tokenizer.display(id).special) return &id;
    }
  }
  return nullptr;
}

std::int32_t language_token(const Tokenizer& tokenizer, std::string_view option, const std::string& language) {
  const auto found = find_piece(tokenizer, {language, "__" + language + "__", "<" + language + ">"});
  require(found.has_value(),
          "--{} {}: the tokenizer has no such language; its names look like en_XX (mBART), en (M2M-100) or eng_Latn "
          "(NLLB)",
          option, language);
  return *found;
}

}  // namespace

std::vector<std::int32_t> TextFrame::around(std::span<const std::int32_t> ids) const {
  Ids result = before;
  result.insert(result.end(), ids.begin(), ids.end());
  result.insert(result.end(), after.begin(), after.end());
  return result;
}

TextFrame frame_of(const Tokenizer& tokenizer) {
  const std::string text = some_text(tokenizer);
  const Ids inside = tokenizer.encode(text, {.special_tokens = false});
  const Ids whole = tokenizer.encode(text);
  const auto found = std::search(whole.begin(), whole.end(), inside.begin(), inside.end());
  require(!inside.empty() && found != whole.end(),
          "the tokenizer's special tokens are not at the ends of a text alone");
  return {.before = {whole.begin(), found}, .after = {found + std::ssize(inside), whole.end()}};
}

std::optional<std::int32_t> find_piece(const Tokenizer& tokenizer, std::initializer_list<std::string_view> names) {
  const std::vector<std::string>& pieces = tokenizer.pieces();
  for (const std::string_view name : names) {
    const auto found = std::ranges::find(pieces, name);
    if (found != pieces.end()) return static_cast<std::int32_t>(found - pieces.begin());
  }
  return std::nullopt;
}

std::vector<std::int32_t> ids_without_piece(const Tokenizer& tokenizer, std::int64_t count,
                                            std::span<const std::int32_t> wanted) {
  const std::vector<std::string>& pieces = tokenizer.pieces();
  Ids ids;
  for (std::int32_t id = 0; id < count; ++id) {
    const bool has_piece = id < std::ssize(pieces) && !pieces[static_cast<std::size_t>(id)].empty();
    if (!has_piece && std::ranges::find(wanted, id) == wanted.end()) ids.push_back(id);
  }
  return ids;
}

PairFrames pair_frames(const Tokenizer& tokenizer, std::span<const std::int32_t> others, const Languages& languages,
                       std::string_view model) {
  PairFrames frames{.source = frame_of(tokenizer), .target = frame_of(tokenizer.target())};
  std::int32_t* const source = find_language(frames.source, tokenizer, others);
  std::int32_t* const target = find_language(frames.target, tokenizer.target(), others);
  if (source == nullptr || target == nullptr) {
    require(languages.source.empty() && languages.target.empty(),
            "{}: its tokenizer marks no text with a language; leave --source-language and --target-language out",
            model);
    return frames;
  }
  frames.marked_with = tokenizer.display(*source).text;
  frames.language_ends = !frames.target.after.empty() && target == &frames.target.after.back();
  if (!languages.source.empty()) *source = language_token(tokenizer, "source-language", languages.source);
  if (!languages.target.empty())
    frames.language = *target = language_token(tokenizer.target(), "target-language", languages.target);
  return frames;
}

}  // namespace rapt
