#include "formats/npy.h"

#include <fmt/core.h>

#include <bit>

namespace rapt {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

std::string npy_header(std::int64_t rows, std::int64_t columns) {
  constexpr std::size_t alignment = 64;
  constexpr std::size_t before = 10;  // magic string, version, length of the description
  std::string description =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  const std::size_t used = before + description.size() + 1;
  description.append((alignment - used % alignment) % alignment, ' ').push_back('\n');
  std::string header("\x93NUMPY\x01\x00", 8);
  header.push_back(static_cast<char>(description.size() & 0xff));
  header.push_back(static_cast<char>(description.size() >> 8));
  return header + description;
}

}  // namespace rapt
