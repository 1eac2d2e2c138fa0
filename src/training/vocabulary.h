/// The vocabulary of a run: learnt from its corpus.
#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"
#include "training/corpus.h"
#include "training/recipe.h"

namespace rapt::training {

/// SentencePiece models of the training pairs, one for both languages or one each. `max_length`: tokens of a sentence
/// that the model can take, for the tokenizer's files.
std::unique_ptr<Tokenizer> learn_vocabulary(const ParallelFiles& files, const CorpusOptions& corpus,
                                            const VocabularyOptions& options, std::int64_t max_length);

}  // namespace rapt::training
