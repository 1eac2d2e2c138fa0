#include "core/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string_view>

namespace rapt {
namespace {

/// The number behind a key in a file of lines like "MemAvailable:   123 kB".
std::optional<std::uint64_t> number_of(std::string_view wanted, const char* path) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t number = 0;
  std::string unit;
  while (file >> key >> number) {
    std::getline(file, unit);
    if (key == wanted) return number;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;  // not there, or "max"
}

}  // namespace

std::optional<std::uint64_t> available_memory() {
  std::optional<std::uint64_t> available = number_of("MemAvailable:", "/proc/meminfo");
  if (available) *available *= 1024;
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used) {
    // Files that are only kept because there was room make way.
    const std::uint64_t files = number_of("file", "/sys/fs/cgroup/memory.stat").value_or(0);
    const std::uint64_t left = *limit - std::min(*limit, *used - std::min(*used, files));
    available = available ? std::min(*available, left) : left;
  }
  return available;
}

std::string gigabytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} GB", static_cast<double>(bytes) * 1e-9);
}

}  // namespace rapt
