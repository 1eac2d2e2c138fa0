/// The special tokens that a tokenizer puts around a text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"

namespace rapt {

struct Surroundings {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
};

/// Reads an object of tokenizer.json's "post_processor", for single texts. Throws Error for kinds and settings that
/// rapt does not know, and for ids of 2^31 and above.
Surroundings read_post_processor(const JsonObject& object);

}  // namespace rapt
