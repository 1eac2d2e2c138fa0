/// What happens when a mapped file shrinks, or its disk fails, while it is in use: the kernel sends SIGBUS to whoever
/// touches the lost page. The library checks sizes when it opens a file and leaves signals alone; a program that wants
/// one clean line instead of a crash calls install_sigbus_message.
#pragma once

#include <cstddef>
#include <string_view>

namespace rapt {

/// Makes SIGBUS inside a mapped file print one line that names the file, and end the process with status 1. Any other
/// SIGBUS keeps its default action. For a program's main(); replaces a SIGBUS handler that was there before.
void install_sigbus_message();

/// Tells the message which file lies at [begin, begin + size), as long as this object lives. At most 256 at a time;
/// those beyond keep the default action.
class NamedMapping {
 public:
  NamedMapping(const void* begin, std::size_t size, std::string_view file);
  NamedMapping(const NamedMapping&) = delete;
  NamedMapping& operator=(const NamedMapping&) = delete;
  ~NamedMapping();

 private:
  struct MappingSlot* slot_ = nullptr;
};

}  // namespace rapt
