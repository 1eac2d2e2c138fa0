/// chrF (Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015) and chrF++ (Popović, "chrF++:
/// words helping character n-grams", WMT 2017).
#pragma once

#include <span>
#include <string>
#include <vector>

namespace rapt {

struct ChrfOptions {
  int character_order = 6;  ///< longest character n-gram, at least 1
  int word_order = 0;       ///< longest word n-gram; 0 is chrF, 2 is chrF++
  int beta = 2;             ///< recall counts beta times as much as precision
  bool lowercase = false;
};

struct ChrfScore {
  double score = 0;       ///< 0 to 100
  std::string name;       ///< "chrF2", "chrF2++"
  std::string signature;  ///< how it was computed, as sacreBLEU writes it

  /// "chrF2 = 65.43"
  std::string to_string() const;
};

/// chrF of a corpus, equal to sacreBLEU's corpus_chrf: whitespace left out, orders averaged that both sides have, the
/// best reference of each segment. Arguments and errors as for corpus_bleu.
ChrfScore corpus_chrf(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      ChrfOptions options = {});

}  // namespace rapt
