/// What logits.cpp and its inner loops agree on.
#pragma once

namespace rapt::decoding {

/// Tokens whose maximum and sum are kept together.
constexpr int logits_block = 64;

}  // namespace rapt::decoding
