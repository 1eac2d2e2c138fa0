/// How a tokenizer cuts a text into words before its model cuts those into pieces.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "formats/json.h"

namespace rapt {

struct PreToken {
  std::string text;
  bool starts_text = false;  ///< it begins where the text given by the user begins
};

using PreTokenizer = std::function<void(std::vector<PreToken>&)>;

/// Reads an object of tokenizer.json's "pre_tokenizer". Throws Error for kinds and settings that rapt does not know.
PreTokenizer read_pre_tokenizer(const JsonObject& object);

}  // namespace rapt
