/// NumPy's file format, to be written (numpy.lib.format, version 1.0).
#pragma once

#include <cstdint>
#include <string>

namespace rapt {

/// What comes before the numbers of a matrix of little-endian f32 in row-major order. Its length is a multiple of 64.
std::string npy_header(std::int64_t rows, std::int64_t columns);

}  // namespace rapt
