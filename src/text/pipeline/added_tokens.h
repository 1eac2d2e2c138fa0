/// Tokens that are found in a text as they are, before a tokenizer's rules and model see it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"
#include "text/pipeline/normalizer.h"
#include "text/pipeline/trie.h"

namespace rapt {

struct AddedToken {
  std::string content;
  bool single_word = false;  ///< not where it is part of a longer word
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< and after it
  bool normalized = true;    ///< is looked for in the normalised text, itself normalised
  bool special = false;      ///< stands for no text

  bool operator==(const AddedToken&) const = default;
};

/// Reads the keys of AddedToken; `defaults` are for those that are absent.
AddedToken read_added_token(const JsonObject& object, const AddedToken& defaults = {});

/// A part of a text that is a token, or that is not one and is still to be cut.
struct Segment {
  std::string_view text;
  std::int32_t token = -1;  ///< -1: none
};

/// Added tokens by id, and the search for them: from left to right, the longest first. Where the text that a token
/// swallows with lstrip reaches into the one before it, the earlier one keeps it.
class AddedTokens {
 public:
  AddedTokens() = default;
  AddedTokens(std::map<std::int32_t, AddedToken> tokens, const Normalizer& normalizer);

  const std::map<std::int32_t, AddedToken>& tokens() const { return tokens_; }
  bool contains(std::int32_t id) const { return tokens_.contains(id); }
  bool is_special(std::int32_t id) const;
  /// The text that decoding starts from: of a normalised token its normalised form.
  const std::string& text(std::int32_t id) const { return texts_.at(id); }

  /// The segments of a text as it was given: tokens with normalized = false.
  std::vector<Segment> split_given(std::string_view text) const { return split(text, given_); }
  /// The segments of a normalised text: tokens with normalized = true.
  std::vector<Segment> split_normalized(std::string_view text) const { return split(text, normalized_); }

 private:
  std::vector<Segment> split(std::string_view text, const Trie& trie) const;

  std::map<std::int32_t, AddedToken> tokens_;
  std::map<std::int32_t, std::string> texts_;
  Trie given_;
  Trie normalized_;
};

}  // namespace rapt
