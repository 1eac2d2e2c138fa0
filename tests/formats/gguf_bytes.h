/// GGUF files made byte by byte, so that they can lie.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace rapt {

template <typename T>
std::string raw(T value) {
  std::string result(sizeof value, '\0');
  std::memcpy(result.data(), &value, sizeof value);
  return result;
}

/// A text after its length, or after another one.
inline std::string gguf_text(std::string_view text, std::optional<std::uint64_t> length = {}) {
  return raw(length.value_or(text.size())).append(text);
}

inline std::string gguf_key(std::string_view name, std::uint32_t type, std::string_view value) {
  return gguf_text(name).append(raw(type)).append(value);
}

inline std::string gguf_key(std::string_view name, GgufType type, std::string_view value) {
  return gguf_key(name, static_cast<std::uint32_t>(type), value);
}

inline std::string gguf_string(std::string_view name, std::string_view value) {
  return gguf_key(name, GgufType::string, gguf_text(value));
}

inline std::string gguf_u32(std::string_view name, std::uint32_t value) {
  return gguf_key(name, GgufType::u32, raw(value));
}

inline std::string gguf_f32(std::string_view name, float value) {
  return gguf_key(name, GgufType::f32, raw(value));
}

/// An array of elements that stand in `elements` as in a file.
inline std::string gguf_array(std::string_view name, GgufType type, std::uint64_t length, std::string_view elements) {
  return gguf_key(name, GgufType::array, raw(static_cast<std::uint32_t>(type)) + raw(length)).append(elements);
}

inline std::string gguf_strings(std::string_view name, const std::vector<std::string>& values) {
  std::string elements;
  for (const std::string& value : values) elements += gguf_text(value);
  return gguf_array(name, GgufType::string, values.size(), elements);
}

/// Extents innermost first, as in a file.
inline std::string gguf_info(std::string_view name, const std::vector<std::int64_t>& extents, std::uint32_t type,
                             std::uint64_t offset) {
  std::string result = gguf_text(name) + raw(static_cast<std::uint32_t>(extents.size()));
  for (const std::int64_t extent : extents) result += raw(extent);
  return result + raw(type) + raw(offset);
}

struct GgufBytes {
  std::vector<std::string> keys;
  std::vector<std::string> infos;
  std::size_t data = 0;  ///< bytes of zeros behind the header
  std::uint32_t version = 3;
  std::optional<std::uint64_t> key_count;
  std::optional<std::uint64_t> tensor_count;
  std::size_t alignment = 32;

  std::string text() const {
    std::string result =
        "GGUF" + raw(version) + raw(tensor_count.value_or(infos.size())) + raw(key_count.value_or(keys.size()));
    for (const std::string& key : keys) result += key;
    for (const std::string& info : infos) result += info;
    if (!infos.empty()) result.resize((result.size() + alignment - 1) / alignment * alignment, '\0');
    return result + std::string(data, '\0');
  }
};

}  // namespace rapt
