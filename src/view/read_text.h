/// The attention page of a text that a decoder-only model reads.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "core/context.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace rapt::view {

/// Has the model read the tokens once and gives a page with what every layer and head looked at. `source`: the file or
/// directory of the model, for the title. Memory grows with layers * heads * tokens^2. Throws Error for a model that is
/// not decoder-only, more tokens than it has positions, or no layer whose attention can be told as weights.
std::string page_of_reading(Context& ctx, const Transformer& model, const Tokenizer& tokenizer,
                            std::span<const std::int32_t> tokens, const std::filesystem::path& source);

}  // namespace rapt::view
