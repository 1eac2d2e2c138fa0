#include "text/words.h"

#include <algorithm>
#include <string>

#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr char32_t kWordMark = 0x2581;  // SentencePiece's space

bool is_apostrophe(char32_t c) {
  return c == U'\'' || c == U'\u2019';
}

constexpr char32_t kAnyLetters = 0;  // of a token for what is unknown

/// A letter of the text as it is compared, and where it stands.
struct Letter {
  char32_t key = 0;
  TextSpan place;
  bool starts_word = false;  ///< where tokenizers cut: behind spaces and punctuation, before ideographs
};

/// A letter of the tokens: of one, or of several that each have some of its bytes.
struct TokenLetter {
  char32_t key = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

/// Those that BERT cuts out of words, as far as they are common.
bool is_ideograph(char32_t c) {
  return (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF);
}

/// Of what is not compared: whether it is a part of the letter before it, such as an accent.
bool belongs_before(char32_t c) {
  return !is_whitespace(c) && c != kWordMark && c > 0x7F;
}

/// What a character is compared by: none, one or several code points.
std::u32string key_of(char32_t c, std::string_view bytes) {
  if (c < 0x80) {
    if (c <= U' ' || c == 0x7F) return {};
    return {c >= U'A' && c <= U'Z' ? c - U'A' + U'a' : c};
  }
  std::u32string key;
  for (const char32_t part : to_code_points(to_lower_each(normalize(bytes, NormalizationForm::nfkd)))) {
    const bool passed_over = is_nonspacing_mark(part) || is_whitespace(part) || is_control(part) || part == kWordMark;
    if (!passed_over) key += part;
  }
  return key;
}

std::vector<Letter> letters_of(std::string_view text) {
  std::vector<Letter> letters;
  bool starts_word = true;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    const std::u32string keys = key_of(step.code_point, text.substr(at, step.length));
    for (const char32_t key : keys) {
      letters.push_back({key, {at, at + step.length}, starts_word || is_ideograph(step.code_point)});
      starts_word = false;
    }
    if (keys.empty() && belongs_before(step.code_point) && !letters.empty())
      letters.back().place.end = at + step.length;
    starts_word = starts_word || !is_word_character(step.code_point);
    at += step.length;
  }
  return letters;
}

std::vector<TokenLetter> letters_of(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  std::string bytes;
  std::vector<std::size_t> token_of_byte;
  std::vector<TokenLetter> letters;
  const auto append_bytes = [&] {
    for (std::size_t at = 0; at < bytes.size();) {
      const Utf8Step step = utf8_step(bytes, at);
      const std::size_t last = token_of_byte[at + step.length - 1];
      const std::u32string keys = key_of(step.code_point, std::string_view(bytes).substr(at, step.length));
      for (const char32_t key : keys) letters.push_back({key, token_of_byte[at], last});
      if (keys.empty() && belongs_before(step.code_point) && !letters.empty()) letters.back().last = last;
      at += step.length;
    }
    bytes.clear();
    token_of_byte.clear();
  };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (tokenizer.special().unk == ids[i]) {
      append_bytes();
      letters.push_back({kAnyLetters, i, i});
    } else {
      bytes += tokenizer.bytes(ids[i]);
      token_of_byte.resize(bytes.size(), i);
    }
  }
  append_bytes();
  return letters;
}

/// Which bytes of the text each letter of the tokens stands for.
class Alignment {
 public:
  Alignment(std::span<const TokenLetter> tokens, std::span<const Letter> text)
      : tokens_(tokens), text_(text), places_(tokens.size()) {
    while (token_ < tokens.size() && at_ < text.size()) {
      if (tokens[token_].key == text[at_].key) {
        extend(token_++, at_++);
      } else {
        align_window();
      }
    }
    for (; at_ < text.size() && token_ > 0 && tokens[token_ - 1].key == kAnyLetters; ++at_) extend(token_ - 1, at_);
  }

  const std::vector<TextSpan>& places() const { return places_; }

 private:
  enum class Edit : std::uint8_t { none, both, token, text };
  struct Cell {
    std::uint16_t cost = 0;
    Edit edit = Edit::none;
  };

  void extend(std::size_t token, std::size_t at) {
    TextSpan& place = places_[token];
    place = place.empty() ? text_[at].place : TextSpan{place.begin, text_[at].place.end};
  }

  std::uint16_t cost_of_both(std::size_t token, std::size_t at) const {
    if (tokens_[token].key == kAnyLetters) return text_[at].starts_word ? 0 : 1;
    return tokens_[token].key == text_[at].key ? 0 : 3;
  }
  /// Of a letter of the text for which no token is left: a token for what is unknown before it stands for it.
  std::uint16_t cost_of_text(std::size_t tokens_before) const {
    return tokens_before > 0 && tokens_[tokens_before - 1].key == kAnyLetters ? 1 : 2;
  }

  /// The fewest edits (Wagner, Fischer, "The String-to-String Correction Problem", 1974) of some hundred letters from
  /// here on, used as far as they are certain: up to where many letters agree, or half way.
  void align_window() {
    constexpr std::size_t window = 500;
    const std::size_t rows = std::min(window, tokens_.size() - token_);
    const std::size_t columns = std::min(window, text_.size() - at_);
    std::vector<Cell> cells((rows + 1) * (columns + 1));
    const auto cell = [&](std::size_t i, std::size_t j) -> Cell& { return cells[i * (columns + 1) + j]; };
    for (std::size_t i = 0; i <= rows; ++i) {
      for (std::size_t j = 0; j <= columns; ++j) {
        if (i + j == 0) continue;
        Cell best{.cost = 0xFFFF};
        const auto offer = [&](const Cell& from, unsigned cost, Edit edit) {
          if (from.cost + cost < best.cost) best = {static_cast<std::uint16_t>(from.cost + cost), edit};
        };
        if (i > 0 && j > 0) offer(cell(i - 1, j - 1), cost_of_both(token_ + i - 1, at_ + j - 1), Edit::both);
        if (j > 0) offer(cell(i, j - 1), cost_of_text(token_ + i), Edit::text);
        if (i > 0) offer(cell(i - 1, j), 2, Edit::token);
        cell(i, j) = best;
      }
    }
    std::vector<Edit> edits;
    for (std::size_t i = rows, j = columns; i + j > 0;) {
      const Edit edit = cell(i, j).edit;
      edits.push_back(edit);
      i -= edit == Edit::text ? 0 : 1;
      j -= edit == Edit::token ? 0 : 1;
    }
    std::ranges::reverse(edits);
    const bool whole = token_ + rows == tokens_.size() && at_ + columns == text_.size();
    apply(std::span(edits).first(whole ? edits.size() : edits.size() / 2));
  }

  void apply(std::span<const Edit> edits) {
    constexpr int certain = 8;
    int in_a_row = 0;
    for (const Edit edit : edits) {
      if (edit == Edit::both) {
        in_a_row = tokens_[token_].key == text_[at_].key ? in_a_row + 1 : 0;
        extend(token_++, at_++);
        if (in_a_row == certain) return;
        continue;
      }
      in_a_row = 0;
      if (edit == Edit::token) {
        ++token_;
      } else {
        if (token_ > 0 && tokens_[token_ - 1].key == kAnyLetters) extend(token_ - 1, at_);
        ++at_;
      }
    }
  }

  std::span<const TokenLetter> tokens_;
  std::span<const Letter> text_;
  std::vector<TextSpan> places_;
  std::size_t token_ = 0;  // of the next letter
  std::size_t at_ = 0;     // of the next letter
};

}  // namespace

std::vector<TextSpan> find_words(std::string_view text) {
  std::vector<TextSpan> words;
  std::size_t behind_apostrophe = std::string_view::npos;  // which is right behind the last word
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    const bool follows = !words.empty() && (words.back().end == at || behind_apostrophe == at);
    const bool joins = is_mark(step.code_point) || is_control(step.code_point);
    if (is_word_character(step.code_point) && (follows || !joins)) {
      if (follows) {
        words.back().end = at + step.length;
      } else {
        words.push_back({at, at + step.length});
      }
    } else if (is_apostrophe(step.code_point) && !words.empty() && words.back().end == at) {
      behind_apostrophe = at + step.length;
    }
    at += step.length;
  }
  return words;
}

std::vector<TextSpan> token_spans(const Tokenizer& tokenizer, std::span<const std::int32_t> ids,
                                  std::string_view text) {
  const std::vector<TokenLetter> of_tokens = letters_of(tokenizer, ids);
  const std::vector<Letter> of_text = letters_of(text);
  const Alignment alignment(of_tokens, of_text);
  std::vector<TextSpan> spans(ids.size());
  for (std::size_t i = 0; i < of_tokens.size(); ++i) {
    const TextSpan& place = alignment.places()[i];
    if (place.empty()) continue;
    for (std::size_t token = of_tokens[i].first; token <= of_tokens[i].last; ++token) {
      TextSpan& span = spans[token];
      span = span.empty() ? place : TextSpan{std::min(span.begin, place.begin), std::max(span.end, place.end)};
    }
  }
  return spans;
}

std::vector<std::vector<std::int32_t>> tokens_of_words(std::span<const TextSpan> words,
                                                       std::span<const TextSpan> spans) {
  std::vector<std::int32_t> placed;  // tokens that stand for some of the text
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (!spans[i].empty()) placed.push_back(static_cast<std::int32_t>(i));
  }
  const auto span_of = [&](auto token) { return spans[static_cast<std::size_t>(*token)]; };
  std::vector<std::vector<std::int32_t>> result(words.size());
  auto first = placed.begin();
  for (std::size_t i = 0; i < words.size(); ++i) {
    while (first != placed.end() && span_of(first).end <= words[i].begin) ++first;
    for (auto token = first; token != placed.end() && span_of(token).begin < words[i].end; ++token)
      result[i].push_back(*token);
  }
  return result;
}

}  // namespace rapt
