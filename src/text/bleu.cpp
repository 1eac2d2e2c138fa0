#include "text/bleu.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "text/metric.h"
#include "text/ngrams.h"
#include "text/unicode.h"

namespace rapt {
namespace {

/// What BLEU needs to know of a corpus; statistics of segments add up.
struct BleuStatistics {
  std::array<std::int64_t, kBleuOrder> matched{};
  std::array<std::int64_t, kBleuOrder> total{};
  std::int64_t hypothesis_length = 0;
  std::int64_t reference_length = 0;
};

/// Numbers the words of one segment and its references: equal words, equal numbers.
class WordNumbers {
 public:
  explicit WordNumbers(const BleuOptions& options) : options_(options) {}

  Symbols number(const std::string& segment) {
    const std::string text = options_.lowercase ? to_lower(segment) : segment;
    const std::string tokenized = tokenize_for_bleu(strip_right(text), options_.tokenization);
    Symbols symbols;
    for (const std::string_view word : split_words(tokenized)) {
      symbols.push_back(
          numbers_.try_emplace(std::string(word), static_cast<std::uint32_t>(numbers_.size())).first->second);
    }
    return symbols;
  }

 private:
  BleuOptions options_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
};

/// The length closest to the hypothesis's; of two as close, the shorter.
std::int64_t closest_length(std::int64_t hypothesis, std::span<const Symbols> references) {
  const auto distance = [&](const Symbols& reference) {
    const auto length = static_cast<std::int64_t>(reference.size());
    return std::pair(std::abs(length - hypothesis), length);
  };
  return distance(*std::ranges::min_element(references, {}, distance)).second;
}

/// Adds a segment; sequences: the hypothesis, then its references.
void add_segment(std::span<const Symbols> sequences, BleuStatistics& statistics) {
  const auto length = static_cast<std::int64_t>(sequences.front().size());
  statistics.hypothesis_length += length;
  statistics.reference_length += closest_length(length, sequences.subspan(1));
  for_each_ngram(sequences, kBleuOrder, [&](int order, std::span<const std::int64_t> counts) {
    const auto n = static_cast<std::size_t>(order - 1);
    statistics.total[n] += counts.front();
    statistics.matched[n] += std::min(counts.front(), std::ranges::max(counts.subspan(1)));
  });
}

double brevity_penalty(const BleuStatistics& statistics) {
  if (statistics.hypothesis_length >= statistics.reference_length) return 1;
  if (statistics.hypothesis_length == 0) return 0;
  return std::exp(1 -
                  static_cast<double>(statistics.reference_length) / static_cast<double>(statistics.hypothesis_length));
}

/// Precisions in percent. An order without a match counts as half a match, the next such order as a quarter, and so on:
/// method 3 of Chen and Cherry, "A Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU", WMT 2014.
/// Without any match, and for orders longer than every hypothesis, the precision is 0.
std::array<double, kBleuOrder> smoothed_precisions(const BleuStatistics& statistics) {
  std::array<double, kBleuOrder> precisions{};
  if (statistics.matched.front() == 0) return precisions;
  double smoothing = 1;
  for (std::size_t n = 0; n < precisions.size() && statistics.total[n] > 0; ++n) {
    const auto total = static_cast<double>(statistics.total[n]);
    if (statistics.matched[n] == 0) smoothing *= 2;
    precisions[n] = statistics.matched[n] == 0 ? 100.0 / (smoothing * total)
                                               : 100.0 * static_cast<double>(statistics.matched[n]) / total;
  }
  return precisions;
}

double geometric_mean(const std::array<double, kBleuOrder>& precisions) {
  double sum = 0;
  for (const double precision : precisions) {
    if (precision == 0) return 0;
    sum += std::log(precision);
  }
  return std::exp(sum / kBleuOrder);
}

}  // namespace

double BleuScore::ratio() const {
  if (reference_length == 0) return 0;
  return static_cast<double>(hypothesis_length) / static_cast<double>(reference_length);
}

std::string BleuScore::to_string() const {
  return fmt::format("BLEU = {:.2f} {:.1f}/{:.1f}/{:.1f}/{:.1f} (BP = {:.3f} ratio = {:.3f} hyp_len = {} ref_len = {})",
                     score, precisions[0], precisions[1], precisions[2], precisions[3], brevity_penalty, ratio(),
                     hypothesis_length, reference_length);
}

BleuScore corpus_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      BleuOptions options) {
  require_scorable(hypotheses, references);
  BleuStatistics statistics;
  for (std::size_t segment = 0; segment < hypotheses.size(); ++segment) {
    WordNumbers words(options);
    std::vector<Symbols> sequences{words.number(hypotheses[segment])};
    for (const std::vector<std::string>& reference : references) sequences.push_back(words.number(reference[segment]));
    add_segment(sequences, statistics);
  }
  const std::string middle = fmt::format("eff:no|tok:{}|smooth:exp", name_of(options.tokenization));
  BleuScore result{.precisions = smoothed_precisions(statistics),
                   .brevity_penalty = brevity_penalty(statistics),
                   .hypothesis_length = statistics.hypothesis_length,
                   .reference_length = statistics.reference_length,
                   .signature = metric_signature(references.size(), options.lowercase, middle)};
  result.score = result.brevity_penalty * geometric_mean(result.precisions);
  return result;
}

}  // namespace rapt
