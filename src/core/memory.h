/// Memory of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace rapt {

/// Bytes that this process can still get without pushing others out of memory (MemAvailable of /proc/meminfo, and the
/// limit of its control group); nothing where the system does not say.
std::optional<std::uint64_t> available_memory();

/// "1.5 GB"
std::string gigabytes(std::uint64_t bytes);

}  // namespace rapt
