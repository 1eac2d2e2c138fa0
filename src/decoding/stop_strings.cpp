#include "decoding/stop_strings.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace rapt::decoding {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) require(!string.empty(), "a stop string is empty; no text could begin");
}

std::string StopStrings::add(std::string_view piece) {
  if (found_) return "";
  held_ += piece;
  std::size_t first_end = std::string::npos, begin = std::string::npos;
  for (const std::string& string : strings_) {
    const std::size_t place = held_.find(string);
    if (place == std::string::npos) continue;
    const std::size_t end = place + string.size();
    if (end < first_end || (end == first_end && place < begin)) {
      first_end = end;
      begin = place;
    }
  }
  found_ = begin != std::string::npos;
  std::string certain = held_.substr(0, found_ ? begin : held_.size() - uncertain());
  held_.erase(0, found_ ? held_.size() : certain.size());
  return certain;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

/// Bytes at the end of what is held that one of the strings may begin with.
std::size_t StopStrings::uncertain() const {
  std::size_t most = 0;
  for (const std::string& string : strings_) {
    for (std::size_t length = std::min(string.size() - 1, held_.size()); length > most; --length) {
      if (held_.ends_with(std::string_view(string).substr(0, length))) most = length;
    }
  }
  return most;
}

}  // namespace rapt::decoding
