#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rapt {

/// The bytes of a base64 text (RFC 4648, section 4); nothing if it is not one.
std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace rapt
