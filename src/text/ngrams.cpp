#include "text/ngrams.h"

#include <algorithm>
#include <cstddef>

namespace rapt {
namespace {

/// One n-gram where it stands. The key is unique to its symbols: the number of its first n - 1 symbols (which already
/// have one, as an n-gram of the order before) and its last symbol.
struct Occurrence {
  std::uint64_t key;
  std::uint32_t place;  // in the sequences laid end to end
  std::uint32_t sequence;
};

/// The n-grams of one order; `numbers` holds, by place, the numbers of the n-grams of the order before.
void collect(std::span<const Symbols> sequences, std::size_t order, const std::vector<std::uint32_t>& numbers,
             std::vector<Occurrence>& occurrences) {
  occurrences.clear();
  std::size_t begin = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const Symbols& symbols = sequences[s];
    for (std::size_t i = 0; i + order <= symbols.size(); ++i) {
      const std::uint64_t first = order == 1 ? 0 : numbers[begin + i];
      occurrences.push_back({.key = first << 32 | symbols[i + order - 1],
                             .place = static_cast<std::uint32_t>(begin + i),
                             .sequence = static_cast<std::uint32_t>(s)});
    }
    begin += symbols.size();
  }
}

}  // namespace

void for_each_ngram(std::span<const Symbols> sequences, int max_order, const NGramVisitor& visit) {
  std::size_t length = 0;
  for (const Symbols& symbols : sequences) length += symbols.size();
  std::vector<std::uint32_t> numbers(length);
  std::vector<std::int64_t> counts(sequences.size());
  std::vector<Occurrence> occurrences;
  for (int order = 1; order <= max_order; ++order) {
    collect(sequences, static_cast<std::size_t>(order), numbers, occurrences);
    std::ranges::sort(occurrences, {}, &Occurrence::key);
    std::uint32_t number = 0;
    for (std::size_t begin = 0, end = 0; begin < occurrences.size(); begin = end, ++number) {
      std::ranges::fill(counts, 0);
      for (; end < occurrences.size() && occurrences[end].key == occurrences[begin].key; ++end) {
        ++counts[occurrences[end].sequence];
        numbers[occurrences[end].place] = number;
      }
      visit(order, counts);
    }
  }
}

}  // namespace rapt
