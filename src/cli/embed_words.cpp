#include "cli/embed_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "cli/command_line.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/error.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "formats/printable.h"

namespace rapt::cli {
namespace {

std::vector<int> chosen_layers(const std::string& text) {
  if (text == "all") return {};
  int layer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
  require_usage(error == std::errc() && end == text.data() + text.size(), "--layer: expected a number or all, found {}",
                printable(text));
  return {layer};
}

/// Hands over the vectors of each line, counted from 1.
template <typename Use>
void for_each_line(WordEmbedder& embedder, Input& input, Use&& use) {
  constexpr std::size_t at_once = 32;
  std::int64_t line = 0;
  ProgressLine progress("lines");
  for (std::vector<std::string> lines = input.next_lines(); !lines.empty(); lines = input.next_lines()) {
    for (std::size_t begin = 0; begin < lines.size(); begin += at_once) {
      const auto part = std::span<const std::string>(lines).subspan(begin, std::min(at_once, lines.size() - begin));
      for (const WordVectors& vectors : embedder.embed(part)) {
        ++line;
        if (vectors.words_left_out > 0)
          warn("line {} is too long: its last {} words are left out", line, vectors.words_left_out);
        use(line, vectors);
      }
      progress.show(static_cast<double>(line), input.expected_lines());
    }
    flush();
  }
}

std::string json_lines(std::int64_t line, const WordVectors& vectors) {
  std::string text;
  for (std::size_t i = 0; i < vectors.words.size(); ++i) {
    const Word& word = vectors.words[i];
    for (std::size_t layer = 0; layer < vectors.layers.size(); ++layer)
      text += fmt::format(
          "{{\"line\": {}, \"word\": {}, \"begin\": {}, \"end\": {}, \"tokens\": {}, \"layer\": {}, \"vector\": "
          "[{}]}}\n",
          line, json_line(OrderedJson(word.text)), word.begin, word.end, word.tokens, vectors.layers[layer],
          fmt::join(vectors.vector(i, layer), ", "));
  }
  return text;
}

}  // namespace

void embed_words(const EmbedWordsOptions& options, Input& input, const std::function<void(std::string_view)>& write) {
  WordEmbedderOptions embedding = options.embedder;
  embedding.layers = chosen_layers(options.layer);
  WordEmbedder embedder(options.model, embedding);
  if (!options.npy) {
    return for_each_line(embedder, input,
                         [&](std::int64_t line, const WordVectors& vectors) { write(json_lines(line, vectors)); });
  }
  std::vector<float> values;
  for_each_line(embedder, input, [&](std::int64_t, const WordVectors& vectors) {
    values.insert(values.end(), vectors.values.begin(), vectors.values.end());
  });
  write(npy_header(static_cast<std::int64_t>(values.size()) / embedder.dimensions(), embedder.dimensions()));
  write({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

}  // namespace rapt::cli
