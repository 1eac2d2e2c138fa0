// Models in several GGUF files.
#include <fmt/format.h>

#include "formats/gguf.h"
#include "formats/gguf_bytes.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t f32 = 0;

std::string u16(std::string_view key, std::uint16_t value) {
  return gguf_key(key, GgufType::u16, raw(value));
}

std::string total_of(std::int32_t tensors) {
  return gguf_key("split.tensors.count", GgufType::i32, raw(tensors));
}

/// Three files as llama.cpp's tool writes them, in which tests change something: two tensors, one and two.
class GgufParts : public testing::Test {
 protected:
  struct Part {
    std::uint16_t number;
    std::vector<std::string> tensors;  // of four elements each
    std::vector<std::string> keys = {};
    std::uint16_t count = 3;
    std::int32_t total = 5;
  };

  fs::path path(int number) const { return scratch_ / fmt::format("model-{:05}-of-00003.gguf", number); }

  static std::string bytes_of(const Part& part) {
    GgufBytes bytes{.keys = {u16("split.no", part.number), u16("split.count", part.count), total_of(part.total)}};
    bytes.keys.insert(bytes.keys.end(), part.keys.begin(), part.keys.end());
    for (const std::string& name : part.tensors) {
      bytes.infos.push_back(gguf_info(name, {8}, f32, bytes.data));
      bytes.data += 32;
    }
    return bytes.text();
  }

  void put_parts() {
    for (std::size_t i = 0; i < parts_.size(); ++i) put(path(static_cast<int>(i) + 1), bytes_of(parts_[i]));
  }

  /// Opens the model, of which the message must name a file and a problem.
  testing::AssertionResult refused(int file, std::string_view problem) {
    put_parts();
    return refuses([&] { read_gguf(path(1)); }, path(file).filename().native() + ": ", problem);
  }

  Scratch scratch_;
  std::vector<Part> parts_{
      {0, {"a", "b"}, {gguf_string("general.architecture", "llama")}}, {1, {"c"}}, {2, {"d", "e"}}};
};

TEST_F(GgufParts, AreReadAsOneFile) {
  put_parts();
  std::string last = bytes_of(parts_[2]);
  const float value = 2.5;
  std::memcpy(last.data() + last.size() - 4, &value, sizeof value);
  put(path(3), last);
  std::optional<Gguf> file = read_gguf(path(1));
  EXPECT_EQ(file->file(), path(1).native());
  EXPECT_EQ(file->text("general.architecture"), "llama");
  EXPECT_EQ(file->tensors().size(), 5U);
  EXPECT_EQ(file->unpack("e").values<float>()[7], value);
  const Tensor lying = file->load("e");
  file->release_pages("e");
  file.reset();
  EXPECT_EQ(lying.values<float>()[7], value) << "a tensor keeps its own file alive";
}

TEST_F(GgufParts, FirstMayHoldNoTensors) {
  parts_ = {{0, {}, {}, 2, 1}, {1, {"a"}, {}, 2, 1}};
  put(scratch_ / "x-00001-of-00002.gguf", bytes_of(parts_[0]));
  put(scratch_ / "x-00002-of-00002.gguf", bytes_of(parts_[1]));
  EXPECT_TRUE(read_gguf(scratch_ / "x-00001-of-00002.gguf").tensors().contains("a"));
}

TEST_F(GgufParts, OneOfOneIsAFileLikeAnyOther) {
  put(scratch_ / "any.gguf", bytes_of({0, {"a"}, {}, 1, 1}));
  EXPECT_EQ(read_gguf(scratch_ / "any.gguf").tensors().size(), 1U);
}

TEST_F(GgufParts, G13_AnotherThanTheFirstIsNamed) {
  put_parts();
  EXPECT_TRUE(refuses([&] { read_gguf(path(2)); },
                      "model-00002-of-00003.gguf: is part 2 of 3; give the first one, model-00001-of-00003.gguf"));
  fs::rename(path(3), scratch_ / "third.gguf");
  EXPECT_TRUE(refuses([&] { read_gguf(scratch_ / "third.gguf"); },
                      "third.gguf: is part 3 of 3; give the first one, NAME-00001-of-00003.gguf"));
  fs::rename(path(1), scratch_ / "first.gguf");
  EXPECT_TRUE(refuses([&] { read_gguf(scratch_ / "first.gguf"); }, "first.gguf: is the first of 3 parts",
                      "expected it to be named NAME-00001-of-00003.gguf"));
}

TEST_F(GgufParts, G13_MissingParts) {
  put_parts();
  fs::remove(path(2));
  EXPECT_TRUE(refuses([&] { read_gguf(path(1)); }, "model-00002-of-00003.gguf: is missing",
                      "model-00001-of-00003.gguf is the first of 3 parts"));
}

TEST_F(GgufParts, G13_NumbersThatAreNotThoseOfTheNames) {
  const auto numbered = [&](std::size_t part, std::uint16_t number) {
    const auto before = parts_;
    parts_[part].number = number;
    const auto result = refused(static_cast<int>(part) + 1, "key \"split.no\": expected ");
    parts_ = before;
    return result;
  };
  EXPECT_TRUE(numbered(0, 1));
  EXPECT_TRUE(numbered(0, 3)) << "beyond the count";
  EXPECT_TRUE(numbered(1, 0));
  EXPECT_TRUE(numbered(1, 2));
  EXPECT_TRUE(numbered(2, 65535));
}

TEST_F(GgufParts, G13_CountsThatDiffer) {
  parts_[0].count = 4;
  EXPECT_TRUE(refused(1, "key \"split.count\": expected 3, as the file's name says, found 4"));
  parts_[0].count = 0;
  EXPECT_TRUE(refused(1, "key \"split.count\": expected an integer from 1 to 65535, found 0"));
  parts_[0].count = 3;
  parts_[2].count = 2;
  EXPECT_TRUE(refused(3, "key \"split.count\": expected 3, as in "));
  parts_[2].count = 3;
  parts_[1].total = 4;
  EXPECT_TRUE(refused(2, "key \"split.tensors.count\": expected 5, as in "));
}

TEST_F(GgufParts, G13_TensorsTwiceOrTooFew) {
  parts_[2].tensors = {"d", "b"};
  EXPECT_TRUE(refused(3, "tensor \"b\" is in "));
  parts_[2].tensors = {"d"};
  EXPECT_TRUE(refused(1, "key \"split.tensors.count\": expected 4, the number of tensors in its parts, found 5"));
  parts_[2].tensors = {"d", "e", "f"};
  EXPECT_TRUE(refused(1, "key \"split.tensors.count\": expected 6, the number of tensors in its parts, found 5"));
}

TEST_F(GgufParts, G13_KeysThatContradictTheFirst) {
  parts_[1].keys = {gguf_string("general.architecture", "llama"), gguf_u32("general.alignment", 32)};
  put_parts();
  EXPECT_EQ(read_gguf(path(1)).tensors().size(), 5U) << "what the first says too";
  parts_[1].keys = {gguf_string("general.architecture", "qwen2")};
  EXPECT_TRUE(refused(2, "key \"general.architecture\" (\"qwen2\") is not what "));
  parts_[1].keys = {gguf_u32("llama.block_count", 2)};
  EXPECT_TRUE(refused(2, "key \"llama.block_count\" (2) is not what "));
}

TEST_F(GgufParts, G13_MissingKeysAndDamage) {
  put_parts();
  put(path(2), GgufBytes{.keys = {}, .infos = {gguf_info("c", {8}, f32, 0)}, .data = 32}.text());
  EXPECT_TRUE(refuses([&] { read_gguf(path(1)); }, "00002-of-00003.gguf: key \"split.no\" is missing"));
  const std::string whole = bytes_of(parts_[1]);
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    put(path(2), whole.substr(0, size));
    ASSERT_TRUE(refuses([&] { read_gguf(path(1)); }, "00002-of-00003.gguf")) << size;
  }
}

}  // namespace
}  // namespace rapt
