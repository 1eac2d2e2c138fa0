/// `rapt embed --words`: the vector of each word at each layer.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/input.h"
#include "rapt/word_embedder.h"

namespace rapt::cli {

struct EmbedWordsOptions {
  std::string model;
  std::string layer = "-1";  ///< "all", or a number as WordEmbedderOptions::layers has it
  bool npy = false;
  WordEmbedderOptions embedder;  ///< layers excepted
};

/// A line of JSON for each word and layer, or NumPy's matrix of f32 with a row for each, in the same order.
void embed_words(const EmbedWordsOptions& options, Input& input, const std::function<void(std::string_view)>& write);

}  // namespace rapt::cli
