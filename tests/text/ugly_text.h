/// The ugly lines of script/goldens/ugly_text.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/file.h"
#include "text/helpers.h"
#include "text/utf8.h"

namespace rapt::test {

/// Lines to a checksum.
inline constexpr std::size_t kUglyBlock = 100;

/// CRC-32 of texts, each ended by a NUL, block by block.
class BlockChecksums {
 public:
  void add(std::string_view text) {
    digest_.add(std::as_bytes(std::span(text)));
    constexpr std::string_view end("\0", 1);
    digest_.add(std::as_bytes(std::span(end)));
    if (++texts_ % kUglyBlock != 0) return;
    checksums_.push_back(digest_.crc32);
    digest_ = {};
  }
  const std::vector<std::uint32_t>& checksums() const { return checksums_; }

 private:
  Digest digest_;
  std::size_t texts_ = 0;
  std::vector<std::uint32_t> checksums_;
};

inline std::vector<std::uint32_t> checksums_of(const std::vector<std::string>& texts) {
  BlockChecksums blocks;
  for (const std::string& text : texts) blocks.add(text);
  return blocks.checksums();
}

/// The 10,000 lines.
inline const std::vector<std::string>& ugly_lines() {
  static const std::vector<std::string> lines = [] {
    const nlohmann::json recipe = golden("ugly.json");
    const auto atoms = recipe["atoms"].get<std::vector<std::string>>();
    const auto ranges = recipe["ranges"].get<std::vector<std::vector<char32_t>>>();
    const auto holes = recipe["holes"].get<std::vector<char32_t>>();
    std::uint64_t state = 20;
    const auto below = [&](std::uint64_t bound) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return (state >> 33) % bound;
    };
    std::vector<std::string> result(10'000);
    for (std::string& line : result) {
      for (std::uint64_t parts = below(24); parts > 0; --parts) {
        const std::uint64_t kind = below(8);
        if (kind < 5) {
          line += atoms[below(atoms.size())];
        } else if (kind == 5) {
          const std::string& atom = atoms[below(atoms.size())];
          for (std::uint64_t times = 1 + below(4); times > 0; --times) line += atom;
        } else {
          const auto& range = ranges[below(ranges.size())];
          for (std::uint64_t times = 1 + below(5); times > 0; --times) {
            const auto code_point = static_cast<char32_t>(range[0] + below(range[1] - range[0] + 1));
            append_utf8(line, std::ranges::find(holes, code_point) == holes.end() ? code_point : U'?');
          }
        }
      }
    }
    return result;
  }();
  return lines;
}

}  // namespace rapt::test
