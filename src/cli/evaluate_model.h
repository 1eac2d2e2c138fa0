/// Scoring what a model makes of text: rapt evaluate MODEL.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/output.h"
#include "training/records.h"

namespace rapt::cli {

struct ModelOptions {
  std::string directory;
  std::string use_attention;
  Languages languages;
  ComputeOptions compute;
  TranslateOptions search;
  std::int64_t context = 0;  ///< tokens that a language model sees at once; 0: all its positions
  bool skip_invalid = false;
  std::int64_t stride = 0;  ///< 0: half the context
};

/// What a translation model made of some sources.
struct TranslatedSegments {
  std::vector<std::string> translations;
  training::Score reference;  ///< of the references, word for word, given the sources
  std::string attention;      ///< that it was computed with
};
/// Translates, and scores the references too. Pairs with an empty side have no part in that score.
TranslatedSegments translate_segments(const ModelOptions& options, const std::vector<std::string>& sources,
                                      const std::vector<std::string>& references);

/// How well a language model predicts a text.
struct TextScore {
  training::Score score;
  double bits_per_byte = 0;
  std::int64_t context = 0;
  std::int64_t stride = 0;
  std::string attention;
};
TextScore score_text(const ModelOptions& options, const std::string& file);

}  // namespace rapt::cli
