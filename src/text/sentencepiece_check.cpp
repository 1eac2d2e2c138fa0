#include "text/sentencepiece_check.h"

#include <cstdint>
#include <optional>

#include "core/error.h"
#include "text/pipeline/charsmap.h"

namespace rapt {
namespace {

/// One field of a Protocol Buffers message (https://protobuf.dev/programming-guides/encoding).
struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;  // of a field that has a length, else empty
};

/// Takes the fields of a message one by one; every step that would leave the message fails.
class Fields {
 public:
  Fields(std::string_view message, const std::string& file) : rest_(message), file_(file) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const std::uint64_t tag = varint();
    Field field{.number = tag >> 3, .bytes = {}};
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        damaged();
    }
    return field;
  }

 private:
  [[noreturn]] void damaged() const { fail("{} is damaged: it is not a SentencePiece model from end to end", file_); }

  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) damaged();
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }

  std::string_view rest_;
  const std::string& file_;
};

}  // namespace

void require_sound_normalization(std::string_view serialized, const std::string& file) {
  constexpr std::uint64_t normalizer = 3, denormalizer = 5, charsmap = 2;
  Fields model(serialized, file);
  while (const auto part = model.next()) {
    if (part->number != normalizer && part->number != denormalizer) continue;
    Fields rules(part->bytes, file);
    while (const auto rule = rules.next()) {
      if (rule->number != charsmap) continue;
      require(is_sound_charsmap(rule->bytes),
              "{} is damaged: its rules of normalisation point outside of themselves, or write long texts", file);
    }
  }
}

}  // namespace rapt
