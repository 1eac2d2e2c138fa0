/// Word alignments from cross-attention.
#pragma once

#include <span>
#include <vector>

#include "attention/capture.h"
#include "rapt/translator.h"
#include "text/tokenizer.h"

namespace rapt::decoding {

/// The word that each piece belongs to, counted from 0; -1 for special tokens.
std::vector<int> words_of_pieces(const Tokenizer& tokenizer, std::span<const std::int32_t> ids);

/// For each target word the source word that got most attention while the target word was written: the weights are
/// averaged over the heads of `map` and summed over the pieces of both words. `map`: cross-attention whose queries are
/// the steps that wrote target_words' pieces and whose keys are source_words' pieces. In the order of the target.
std::vector<AlignedWords> align_words(const CapturedAttention& map, std::span<const int> source_words,
                                      std::span<const int> target_words);

}  // namespace rapt::decoding
