/// From a model's work to what the page shows.
#pragma once

#include <span>

#include "attention/capture.h"
#include "text/tokenizer.h"
#include "view/report.h"

namespace rapt::view {

/// The pieces of some ids, as the page wants them.
std::vector<Piece> pieces_of(const Tokenizer& tokenizer, std::span<const std::int32_t> ids);

/// Adds captured maps to a sentence whose pieces are set.
void add_maps(Sentence& sentence, std::span<const CapturedAttention> captured);

}  // namespace rapt::view
