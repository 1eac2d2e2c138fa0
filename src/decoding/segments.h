/// Cutting texts that are too long for a model.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::decoding {

/// The text in parts of at most `limit` tokens each, as `count_tokens` counts them, in order and without the white
/// space between them. Parts end at the end of a sentence if one ends in their second half, else between words; a word
/// that is too long by itself is cut between characters. A text that fits is one part. `text` must be valid UTF-8.
std::vector<std::string> split_text(std::string_view text, int limit,
                                    const std::function<int(std::string_view)>& count_tokens);

}  // namespace rapt::decoding
