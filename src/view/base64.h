/// Base64 (RFC 4648, section 4), as browsers' atob() reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace rapt::view {

/// Bytes as text, padded with '='.
std::string base64(std::span<const std::uint8_t> bytes);

}  // namespace rapt::view
