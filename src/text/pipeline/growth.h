/// How much text a tokenizer's rules may make of a text: rules that write much more would fill the memory.
#pragma once

#include <cstddef>

#include "core/error.h"

namespace rapt {

/// Throws Error if `after` bytes are far more than `before`. Of the rules of published models NFKC writes most, 33
/// bytes for 3.
inline void require_modest_growth(std::size_t before, std::size_t after) {
  constexpr std::size_t times = 64, short_text = 65536;
  require(after <= times * before + short_text,
          "the tokenizer's rules make more than {} bytes of a text of {}; no published model's do",
          times * before + short_text, before);
}

}  // namespace rapt
