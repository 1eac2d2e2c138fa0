/// Ending a text where certain strings come.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rapt::decoding {

/// Cuts a text that comes piece by piece before the first of some strings: the one that is complete first, and of
/// those that are complete at the same place, the longest. The result does not depend on the pieces.
class StopStrings {
 public:
  /// Throws Error for an empty string.
  explicit StopStrings(std::vector<std::string> strings);

  /// Takes the next piece; gives what cannot be the beginning of one of the strings any more.
  std::string add(std::string_view piece);
  /// What is left when nothing follows.
  std::string finish();
  /// Whether one of the strings came. What follows it is ignored.
  bool found() const { return found_; }

 private:
  std::size_t uncertain() const;

  std::vector<std::string> strings_;
  std::string held_;
  bool found_ = false;
};

}  // namespace rapt::decoding
