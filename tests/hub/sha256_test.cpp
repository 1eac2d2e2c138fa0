#include "hub/sha256.h"

#include <gtest/gtest.h>

namespace rapt::hub {
namespace {

std::string sha256_of(const std::string& text, std::size_t part) {
  Sha256 sha256;
  const auto bytes = std::as_bytes(std::span(text));
  for (std::size_t begin = 0; begin < bytes.size(); begin += part)
    sha256.add(bytes.subspan(begin, std::min(part, bytes.size() - begin)));
  return sha256.finish();
}

/// Examples of NIST's "Cryptographic Standards and Guidelines: Example Values" (FIPS 180-4).
TEST(Sha256, GivesTheStandardsValues) {
  for (const std::size_t part : {std::size_t{1}, std::size_t{7}, std::size_t{64}, std::size_t{100'000}}) {
    EXPECT_EQ(sha256_of("", part), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(sha256_of("abc", part), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", part),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(sha256_of(std::string(1'000'000, 'a'), part),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

}  // namespace
}  // namespace rapt::hub
