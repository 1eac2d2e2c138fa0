/// The tokenisations under which BLEU is computed; they decide the score as much as the translations do.
#pragma once

#include <string>
#include <string_view>

namespace rapt {

/// Named as in sacreBLEU (Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018).
enum class BleuTokenization {
  v13a,       ///< that of NIST's mteval-v13a, used by WMT
  none,       ///< the text is tokenised already
  intl,       ///< that of mteval-v14 --international-tokenization: every punctuation mark and symbol apart
  character,  ///< every character is a token
};

/// "13a", "none", "intl" or "char".
std::string_view name_of(BleuTokenization tokenization);
/// The tokenisation of that name; Error if there is none.
BleuTokenization bleu_tokenization(std::string_view name);

/// A segment with its tokens separated by whitespace; `segment` must be valid UTF-8. Takes linear time.
std::string tokenize_for_bleu(std::string_view segment, BleuTokenization tokenization);

}  // namespace rapt
