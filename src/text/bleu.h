/// BLEU (Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/bleu_tokenization.h"

namespace rapt {

inline constexpr int kBleuOrder = 4;

struct BleuOptions {
  BleuTokenization tokenization = BleuTokenization::v13a;
  bool lowercase = false;
};

struct BleuScore {
  double score = 0;                             ///< 0 to 100
  std::array<double, kBleuOrder> precisions{};  ///< of 1-grams to 4-grams, 0 to 100, smoothed
  double brevity_penalty = 1;
  std::int64_t hypothesis_length = 0;  ///< tokens
  std::int64_t reference_length = 0;   ///< tokens; of several references, of the one closest in length
  std::string signature;               ///< how it was computed, as sacreBLEU writes it

  /// hypothesis_length / reference_length; 0 if there is no reference token.
  double ratio() const;
  /// "BLEU = 41.02 71.0/47.5/34.3/24.5 (BP = 0.999 ratio = 0.999 hyp_len = 12094 ref_len = 12103)"
  std::string to_string() const;
};

/// BLEU of a corpus, equal to sacreBLEU's corpus_bleu with its default, exponential, smoothing.
/// hypotheses: [segments]; references: one or more lists of [segments]. Throws Error if there is no segment, a list is
/// shorter or longer than `hypotheses`, or a segment is not valid UTF-8.
BleuScore corpus_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      BleuOptions options = {});

}  // namespace rapt
