#include "text/chrf.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "core/error.h"
#include "text/metric.h"
#include "text/ngrams.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// Counts of the n-grams of one order.
struct Counts {
  std::int64_t hypothesis = 0;  // none if the reference has no n-gram of this order
  std::int64_t reference = 0;
  std::int64_t matched = 0;
};

/// Counts by order: those of characters, then those of words.
using ChrfStatistics = std::vector<Counts>;

/// F-score in percent of the precision and the recall, each averaged over the orders that both sides have.
double f_score(const ChrfStatistics& statistics, int beta) {
  double precision = 0, recall = 0;
  int orders = 0;
  for (const Counts& counts : statistics) {
    if (counts.hypothesis == 0 || counts.reference == 0) continue;
    precision += static_cast<double>(counts.matched) / static_cast<double>(counts.hypothesis);
    recall += static_cast<double>(counts.matched) / static_cast<double>(counts.reference);
    ++orders;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  const double factor = static_cast<double>(beta) * beta;
  return 100 * ((1 + factor) * precision * recall / (factor * precision + recall));
}

Symbols characters_of(std::string_view text) {
  Symbols symbols;
  for (const char32_t code_point : to_code_points(text)) {
    if (!is_whitespace(code_point)) symbols.push_back(code_point);
  }
  return symbols;
}

bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// The words of a text, with one punctuation mark split off each: the last character or, failing that, the first. A
/// word of a single character stays whole.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (const std::string_view word : split_words(text)) {
    const std::size_t last = word.size() - 1;
    const bool single = utf8_step(word, 0).length == word.size();
    if (!single && is_ascii_punctuation(word[last])) {
      words.insert(words.end(), {word.substr(0, last), word.substr(last)});
    } else if (!single && is_ascii_punctuation(word[0])) {
      words.insert(words.end(), {word.substr(0, 1), word.substr(1)});
    } else {
      words.push_back(word);
    }
  }
  return words;
}

/// Numbered words of some texts: equal words, equal numbers.
std::vector<Symbols> word_symbols(std::span<const std::string> texts) {
  std::unordered_map<std::string_view, std::uint32_t> numbers;
  std::vector<Symbols> result;
  for (const std::string& text : texts) {
    Symbols& symbols = result.emplace_back();
    for (const std::string_view word : words_of(text)) {
      symbols.push_back(numbers.try_emplace(word, static_cast<std::uint32_t>(numbers.size())).first->second);
    }
  }
  return result;
}

std::vector<Symbols> character_symbols(std::span<const std::string> texts) {
  std::vector<Symbols> result;
  for (const std::string& text : texts) result.push_back(characters_of(text));
  return result;
}

/// Counts the n-grams of sequences = the hypothesis, then its references, into statistics[reference][first + order -
/// 1].
void count(std::span<const Symbols> sequences, int max_order, std::size_t first, std::span<ChrfStatistics> statistics) {
  for_each_ngram(sequences, max_order, [&](int order, std::span<const std::int64_t> counts) {
    for (std::size_t r = 0; r < statistics.size(); ++r) {
      Counts& sum = statistics[r][first + static_cast<std::size_t>(order) - 1];
      sum.hypothesis += counts[0];
      sum.reference += counts[r + 1];
      sum.matched += std::min(counts[0], counts[r + 1]);
    }
  });
}

/// Statistics of a segment against the reference that gives it the best score; texts: the hypothesis, then its
/// references.
ChrfStatistics segment_statistics(std::span<const std::string> texts, const ChrfOptions& options) {
  const auto characters = static_cast<std::size_t>(options.character_order);
  const std::size_t orders = characters + static_cast<std::size_t>(options.word_order);
  std::vector<ChrfStatistics> statistics(texts.size() - 1, ChrfStatistics(orders));
  count(character_symbols(texts), options.character_order, 0, statistics);
  if (options.word_order > 0) count(word_symbols(texts), options.word_order, characters, statistics);
  for (ChrfStatistics& against_reference : statistics) {
    for (Counts& counts : against_reference) {
      if (counts.reference == 0) counts.hypothesis = 0;
    }
  }
  return *std::ranges::max_element(statistics, {}, [&](const ChrfStatistics& s) { return f_score(s, options.beta); });
}

}  // namespace

std::string ChrfScore::to_string() const {
  return fmt::format("{} = {:.2f}", name, score);
}

ChrfScore corpus_chrf(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      ChrfOptions options) {
  require(options.character_order >= 1 && options.word_order >= 0 && options.beta >= 1,
          "chrF cannot have character order {}, word order {} and beta {}; they are at least 1, 0 and 1",
          options.character_order, options.word_order, options.beta);
  require_scorable(hypotheses, references);
  ChrfStatistics total(static_cast<std::size_t>(options.character_order + options.word_order));
  for (std::size_t segment = 0; segment < hypotheses.size(); ++segment) {
    std::vector<std::string> texts{hypotheses[segment]};
    for (const std::vector<std::string>& reference : references) texts.push_back(reference[segment]);
    if (options.lowercase)
      std::ranges::transform(texts, texts.begin(), [](const auto& text) { return to_lower(text); });
    const ChrfStatistics statistics = segment_statistics(texts, options);
    for (std::size_t n = 0; n < total.size(); ++n) {
      total[n].hypothesis += statistics[n].hypothesis;
      total[n].reference += statistics[n].reference;
      total[n].matched += statistics[n].matched;
    }
  }
  const std::string middle = fmt::format("eff:yes|nc:{}|nw:{}|space:no", options.character_order, options.word_order);
  return {.score = f_score(total, options.beta),
          .name = fmt::format("chrF{}{}", options.beta, std::string(static_cast<std::size_t>(options.word_order), '+')),
          .signature = metric_signature(references.size(), options.lowercase, middle)};
}

}  // namespace rapt
