/// Texts that have more tokens than a model reads.
#pragma once

#include <cstdint>
#include <vector>

#include "text/tokenizer.h"

namespace rapt::embedding {

/// How many special tokens the tokenizer puts behind a text.
std::int64_t count_closing_tokens(const Tokenizer& tokenizer);

/// Leaves out the last tokens before the closing ones, so that `limit` are left; gives how many went.
std::int64_t cut(std::vector<std::int32_t>& ids, std::int64_t limit, std::int64_t closing_tokens);

}  // namespace rapt::embedding
