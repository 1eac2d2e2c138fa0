#include "training/memory.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "formats/safetensors.h"

namespace rapt::training {
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

MemoryNeed memory_need(std::int64_t parameters, Precision precision) {
  constexpr std::uint64_t weight_gradient_and_moments = 4;
  constexpr std::uint64_t packs = 2;
  const auto count = static_cast<std::uint64_t>(parameters);
  return {.state = count * weight_gradient_and_moments * sizeof(float),
          .packed = count * packs * (precision == Precision::bf16 ? 2 : 4)};
}

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

std::int64_t count_parameters(const std::filesystem::path& directory) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : read_safetensors_directory(directory).tensors) count += tensor.count();
  return count;
}

}  // namespace rapt::training
