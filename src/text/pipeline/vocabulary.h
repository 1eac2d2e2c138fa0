/// Pieces and their ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/json.h"

namespace rapt {

/// The pieces of a model by id, and back. Can be moved, not copied.
class Vocabulary {
 public:
  /// The pieces by id; empty where no piece has the id. Of equal pieces the last one is found.
  explicit Vocabulary(std::vector<std::string> pieces);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// Reads "vocab" of an object: piece -> id. Throws Error for ids that are out of range or belong to two pieces.
  static Vocabulary read(const JsonObject& object);

  const std::vector<std::string>& pieces() const { return pieces_; }
  /// How many pieces there are, not counting ids without a piece.
  std::size_t count() const { return ids_.size(); }
  /// The id of a piece; -1 if there is no such piece.
  std::int32_t find(std::string_view piece) const;

 private:
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  // views of pieces_
};

}  // namespace rapt
