#include "decoding/segments.h"

#include <algorithm>
#include <cstdint>

namespace rapt::decoding {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t';
}
bool begins_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
}

bool ends_sentence(std::string_view word) {
  constexpr std::string_view full_stop = "\u3002";
  return word.ends_with('.') || word.ends_with('!') || word.ends_with('?') || word.ends_with(full_stop);
}

/// A word and the tokens it has by itself.
struct Word {
  std::string_view text;
  int tokens;
};

/// Pieces of a word of at most `limit` tokens, by halving it between characters.
void append_halves(std::string_view word, int limit, const std::function<int(std::string_view)>& count_tokens,
                   std::vector<Word>& words) {
  const int tokens = count_tokens(word);
  std::size_t middle = word.size() / 2;
  while (middle > 0 && !begins_character(word[middle])) --middle;
  if (tokens <= limit || middle == 0) {
    words.push_back({word, tokens});
    return;
  }
  append_halves(word.substr(0, middle), limit, count_tokens, words);
  append_halves(word.substr(middle), limit, count_tokens, words);
}

std::vector<Word> words_of(std::string_view text, int limit, const std::function<int(std::string_view)>& count_tokens) {
  std::vector<Word> words;
  for (std::size_t begin = 0; begin < text.size();) {
    if (is_space(text[begin])) {
      ++begin;
      continue;
    }
    std::size_t end = begin;
    while (end < text.size() && !is_space(text[end])) ++end;
    append_halves(text.substr(begin, end - begin), limit, count_tokens, words);
    begin = end;
  }
  return words;
}

}  // namespace

std::vector<std::string> split_text(std::string_view text, int limit,
                                    const std::function<int(std::string_view)>& count_tokens) {
  // A text of fewer bytes than tokens are allowed fits: no token is shorter than a byte.
  if (static_cast<std::int64_t>(text.size()) < limit || count_tokens(text) <= limit) return {std::string(text)};

  const std::vector<Word> words = words_of(text, limit, count_tokens);
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < words.size();) {
    int tokens = 0;
    std::size_t end = begin;
    std::size_t sentence_end = begin;
    while (end < words.size() && (end == begin || tokens + words[end].tokens <= limit)) {
      tokens += words[end].tokens;
      if (ends_sentence(words[end].text) && 2 * tokens >= limit) sentence_end = end + 1;
      ++end;
    }
    if (end < words.size() && sentence_end > begin) end = sentence_end;
    const char* from = words[begin].text.data();
    const char* to = words[end - 1].text.data() + words[end - 1].text.size();
    parts.emplace_back(from, to);
    begin = end;
  }
  return parts;
}

}  // namespace rapt::decoding
