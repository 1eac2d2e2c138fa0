#include "formats/gguf.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <random>

#include "formats/gguf_bytes.h"
#include "formats/gguf_model.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

const fs::path data = fs::path(RAPT_TEST_DATA) / "gguf";
constexpr std::uint32_t f32 = 0;
constexpr std::uint32_t q4_k = 12;

Gguf open(std::string_view bytes) {
  const auto keep = std::make_shared<std::string>(bytes);
  return read_gguf(keep, std::as_bytes(std::span(*keep)), "model.gguf");
}

/// The same without a copy; `bytes` must outlive what is read.
Gguf open_in_place(std::string_view bytes) {
  return read_gguf({}, std::as_bytes(std::span(bytes)), "model.gguf");
}

template <typename... Parts>
testing::AssertionResult refused(const GgufBytes& file, Parts... parts) {
  return refuses([&] { open(file.text()); }, "model.gguf: ", parts...);
}

testing::AssertionResult same_floats(std::span<const float> found, std::span<const float> expected) {
  if (found.size() != expected.size()) return testing::AssertionFailure() << found.size() << " elements";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool same = std::isnan(expected[i])
                          ? std::isnan(found[i])
                          : std::bit_cast<std::uint32_t>(found[i]) == std::bit_cast<std::uint32_t>(expected[i]);
    if (!same) return testing::AssertionFailure() << "element " << i << ": " << found[i] << ", not " << expected[i];
  }
  return testing::AssertionSuccess();
}

TEST(GgufFile, UnpacksEveryTypeAsTheReferenceDoes) {
  const Gguf file = read_gguf(data / "blocks.gguf");
  const Safetensors expected = read_safetensors(data / "blocks.safetensors");
  ASSERT_EQ(file.tensors().size(), expected.tensors.size());
  ASSERT_EQ(file.tensors().size(), 11U);
  for (const auto& [name, tensor] : expected.tensors) {
    ASSERT_EQ(file.tensor(name).type->name, name);
    const Tensor found = file.unpack(name);
    EXPECT_EQ(found.shape(), tensor.shape()) << name;
    EXPECT_TRUE(same_floats(found.values<float>(), tensor.values<float>())) << name;
  }
}

TEST(GgufFile, UnpacksSomeRowsAsItUnpacksAll) {
  const Gguf blocks = read_gguf(data / "blocks.gguf");
  for (const auto& [name, stored] : blocks.tensors()) {
    // The same numbers as rows of one block each.
    const auto width = static_cast<std::int64_t>(stored.type->elements);
    const std::int64_t count = stored.shape.count() / width;
    ASSERT_GE(count, 2) << name;
    std::string text = GgufBytes{.infos = {gguf_info("a", {width, count}, stored.type->id, 0)}}.text();
    text.append(reinterpret_cast<const char*>(stored.bytes.data()), stored.bytes.size());
    text.resize((text.size() + 31) / 32 * 32, '\0');
    const Gguf file = open(text);
    const Tensor whole = file.unpack("a");
    const std::vector<std::int32_t> rows{static_cast<std::int32_t>(count - 1), 0, 1};
    const Tensor some = file.unpack_rows("a", rows);
    ASSERT_EQ(some.shape(), (Shape{3, width})) << name;
    for (std::int64_t i = 0; i < 3; ++i) {
      const std::int64_t row = rows[static_cast<std::size_t>(i)];
      EXPECT_TRUE(same_floats(some.rows(i, i + 1).values<float>(), whole.rows(row, row + 1).values<float>())) << name;
    }
    for (const auto outside : {std::int32_t{-1}, static_cast<std::int32_t>(count)}) {
      EXPECT_TRUE(refuses([&] { file.unpack_rows("a", std::vector{outside}); }, "has no row"));
    }
  }
}

TEST(GgufFile, PlainTypesLieInTheFileAndKeepItAlive) {
  for (const auto& [name, dtype] : {std::pair{"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}}) {
    const Tensor tensor = read_gguf(data / "blocks.gguf").load(name);
    EXPECT_TRUE(tensor.read_only()) << name;
    EXPECT_EQ(tensor.dtype(), dtype);
    const Tensor unpacked = read_gguf(data / "blocks.gguf").unpack(name);
    EXPECT_TRUE(same_floats(tensor.to(DType::f32).values<float>(), unpacked.values<float>())) << name;
  }
  EXPECT_FALSE(read_gguf(data / "blocks.gguf").load("Q4_K").read_only());
}

TEST(GgufFile, ReadsMetadataOfEveryType) {
  const Gguf file = read_gguf(data / "blocks.gguf");
  EXPECT_EQ(file.text("general.architecture"), "test");
  EXPECT_EQ(file.integer("test.u8"), 255);
  EXPECT_EQ(file.integer("test.i8"), -128);
  EXPECT_EQ(file.integer("test.u16"), 65535);
  EXPECT_EQ(file.integer("test.i16"), -32768);
  EXPECT_EQ(file.integer("test.u32"), 4294967295);
  EXPECT_EQ(file.integer("test.i32"), -2147483648);
  EXPECT_EQ(file.integer("test.i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file.number("test.f32", 0, 1), static_cast<double>(0.1F));
  EXPECT_EQ(file.number("test.f64", 0, 1), 0.1);
  EXPECT_EQ(file.text("test.string"), "größe");
  EXPECT_EQ(file.integers("test.integers").size(), 100U);
  EXPECT_EQ(file.integers("test.integers")[99], 49);
  EXPECT_EQ(file.numbers("test.numbers"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(file.texts("test.strings"), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(file.metadata().at("test.bool").shown(), "true");
  EXPECT_EQ(file.metadata().at("test.bools").shown(), "[2] true, false");
  EXPECT_EQ(file.metadata().at("test.u64").shown(), "18446744073709551615");
  EXPECT_EQ(file.metadata().at("test.integers").shown(20), "[100] -50, -49, -48, -47, ...");
  EXPECT_EQ(file.metadata().at("test.strings").shown(), R"([3] "one", "", "three")");
}

TEST(GgufFile, LookupsNameKeyExpectedAndFound) {
  const Gguf file = read_gguf(data / "blocks.gguf");
  EXPECT_TRUE(refuses([&] { file.integer("test.u64"); }, "blocks.gguf: key \"test.u64\": expected an integer from",
                      "found 18446744073709551615 (u64)"));
  EXPECT_TRUE(refuses([&] { file.integer("test.u8", 0, 254); }, "from 0 to 254, found 255 (u8)"));
  EXPECT_TRUE(refuses([&] { file.integer("test.f32"); }, "an integer", "(f32)"));
  EXPECT_TRUE(refuses([&] { file.integer("test.bool"); }, "an integer", "found true (bool)"));
  EXPECT_TRUE(refuses([&] { file.integer("test.integers"); }, "an integer", "(array of i32)"));
  EXPECT_TRUE(refuses([&] { file.number("test.u8", 0, 1); }, "an f32 or f64", "found 255 (u8)"));
  EXPECT_TRUE(refuses([&] { file.text("test.strings"); }, "a string", "(array of string)"));
  EXPECT_TRUE(refuses([&] { file.texts("test.string"); }, "an array of strings", "(string)"));
  EXPECT_TRUE(refuses([&] { file.integers("test.numbers"); }, "an array of integers", "(array of f32)"));
  EXPECT_TRUE(refuses([&] { file.text("none"); }, "key \"none\" is missing"));
  EXPECT_TRUE(refuses([&] { file.unpack("none"); }, "tensor \"none\" is missing"));
}

TEST(GgufFile, ShapesAreOutermostFirst) {
  const Gguf file = open(GgufBytes{
      .infos = {gguf_info("a", {4, 2}, f32, 0), gguf_info("scalar", {}, f32, 32), gguf_info("none", {0, 3}, f32, 64)},
      .data = 64}
                             .text());
  EXPECT_EQ(file.tensor("a").shape, (Shape{2, 4}));
  EXPECT_EQ(file.tensor("scalar").shape, Shape{});
  EXPECT_EQ(file.unpack("none").count(), 0);
}

TEST(GgufFile, TypesThatAreNotUnpackedAreNamed) {
  const Gguf file = open(GgufBytes{.infos = {gguf_info("a", {256}, 10, 0)}, .data = 84}.text());
  EXPECT_TRUE(
      refuses([&] { file.unpack("a"); }, "tensor \"a\" is of type Q2_K; rapt reads F32, F16, Q4_0", "Q6_K, BF16"));
  EXPECT_TRUE(
      refused({.infos = {gguf_info("a", {256}, 31, 0)}, .data = 144}, "tensor \"a\"", "type 31", "no longer in use"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {256}, 99, 0)}, .data = 144}, "tensor \"a\"", "type 99"));
}

TEST(GgufFile, OtherFilesAreToldApart) {
  const auto whole = [](std::string_view bytes, auto... parts) {
    return refuses([&] { open(bytes); }, "not a GGUF file", parts...);
  };
  EXPECT_TRUE(whole(""));
  EXPECT_TRUE(whole("GGU"));
  EXPECT_TRUE(whole("tjgg\1\0\0\0", "older format of llama.cpp"));
  EXPECT_TRUE(whole(std::string_view("\x10\0\0\0\0\0\0\0{\"a\":", 13), "safetensors file"));
  EXPECT_TRUE(whole("version https://git-lfs.github.com/spec/v1", "git lfs pull"));
  EXPECT_TRUE(whole("<!DOCTYPE html><html>", "web page"));
  EXPECT_TRUE(refuses([] { read_gguf("/dev/zero"); }, "a device"));
  EXPECT_TRUE(refuses([] { read_gguf(data / "nothing.gguf"); }, "nothing.gguf: cannot be opened"));
}

/// What a command prints, both streams.
std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::string result;
  for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) result += static_cast<char>(c);
  pclose(pipe);
  return result;
}

TEST(GgufFile, InspectShowsWhatItHolds) {
  const std::string output =
      output_of(fmt::format("'{}' inspect '{}' --tensors", RAPT_COMMAND, (data / "blocks.gguf").string()));
  for (const std::string_view part :
       {"test.string ", "string  \"größe\"\n", "[]i32     [100] -50, -49", ", ...\n",
        "parameters  7,936 in 11 tensors, ", "  Q4_K      1 tensors, ", "Q4_K     [1, 1280]\n"}) {
    EXPECT_NE(output.find(part), std::string::npos) << part << " is not in\n" << output;
  }
  const std::string refusal =
      output_of(fmt::format("'{}' inspect '{}'", RAPT_COMMAND, (data / "blocks.safetensors").string()));
  EXPECT_NE(refusal.find("it is a safetensors file: give rapt the directory"), std::string::npos) << refusal;
}

TEST(GgufFile, G1_MagicAndVersion) {
  EXPECT_TRUE(refuses([] { open("FUGG" + raw(3)); }, "expected it to begin with \"GGUF\", found \"FUGG\""));
  EXPECT_TRUE(refused({.version = 0}, "GGUF version 0, expected 3", "damaged"));
  EXPECT_TRUE(refused({.version = 1}, "GGUF version 1, expected 3", "convert the model again"));
  EXPECT_TRUE(refused({.version = 2}, "GGUF version 2, expected 3", "convert the model again"));
  EXPECT_TRUE(refused({.version = 99}, "GGUF version 99, expected 3", "newer than this rapt"));
  EXPECT_TRUE(refused({.version = 0x03000000}, "big-endian"));
  const std::string large = GgufBytes{.data = std::size_t{64} << 20, .version = 99}.text();
  const double seconds = processor_seconds([&] { EXPECT_TRUE(refuses([&] { open_in_place(large); }, "version 99")); });
  EXPECT_LT(seconds, time_limit / 100);
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(GgufFile, G2_CountsBeyondTheFile) {
  const std::string filler = gguf_string("a", std::string(130, 'x'));
  const long before = peak_kilobytes();
  for (const std::uint64_t count : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1'000'000'000}}) {
    EXPECT_TRUE(refused({.keys = {filler}, .key_count = count}, "at byte 24", "the number of keys",
                        fmt::format("expected {} of at least", count), "fetch it again"));
    EXPECT_TRUE(refused({.keys = {filler}, .tensor_count = count}, "at byte 16", "the number of tensors",
                        fmt::format("expected {} of at least", count)));
  }
  EXPECT_TRUE(refused({.keys = {filler}, .key_count = 2}, "in the metadata: a key: expected 8 bytes, but only 0"));
  EXPECT_LT(peak_kilobytes() - before, 1024);
}

TEST(GgufFile, G2_MoreKeysOrTensorsThanAllowed) {
  const GgufBytes many{.data = 32U << 20, .key_count = 131'073};
  EXPECT_TRUE(refused(many, "the number of keys: expected at most 131072, found 131073"));
}

TEST(GgufFile, G3_StringLengths) {
  for (const std::uint64_t length :
       {~std::uint64_t{0}, std::uint64_t{1} << 31, std::uint64_t{1} << 63, std::uint64_t{6}}) {
    EXPECT_TRUE(refused({.keys = {gguf_key("k", GgufType::string, gguf_text("12345", length))}},
                        "in key \"k\": a string", fmt::format("expected {} bytes, but only 5 are left", length)));
    EXPECT_TRUE(refused({.keys = {gguf_text("12345678901234567890", length > 6 ? length : 21)}},
                        "in the metadata: a key: expected", "but only 20 are left"));
    EXPECT_TRUE(refused({.infos = {gguf_text(std::string(32, 'n'), length > 6 ? length : 33)}},
                        "in the tensors: a name: expected", "but only 32 are left"));
    EXPECT_TRUE(refused({.keys = {gguf_array("k", GgufType::string, 2, gguf_text("1") + gguf_text("12345", length))}},
                        "in key \"k\": a string"));
  }
  EXPECT_TRUE(refused({.keys = {gguf_string("", "value")}}, "expected a key of 1 to 65535 bytes, found 0"));
  EXPECT_TRUE(refused({.keys = {gguf_string(std::string(65536, 'k'), "")}}, "a key of 1 to 65535 bytes, found 65536"));
  EXPECT_TRUE(refused({.infos = {gguf_info(std::string(64, 'n'), {8}, f32, 0)}, .data = 32},
                      "a name of 1 to 63 bytes, found 64"));
  EXPECT_TRUE(refused({.infos = {gguf_info("", {8}, f32, 0)}, .data = 32}, "a name of 1 to 63 bytes, found 0"));
}

TEST(GgufFile, G4_Arrays) {
  const std::string some(40, '\0');
  for (const std::uint64_t length :
       {std::uint64_t{1} << 30, std::uint64_t{1} << 61, ~std::uint64_t{0}, std::uint64_t{6}}) {
    EXPECT_TRUE(refused({.keys = {gguf_array("k", GgufType::string, length, some)}}, "in key \"k\": its elements",
                        fmt::format("expected {} of at least 8 bytes each, but only 40", length)));
    EXPECT_TRUE(refused({.keys = {gguf_array("k", GgufType::u64, length, some)}}, "in key \"k\": its elements"));
  }
  EXPECT_TRUE(refused({.keys = {gguf_array("k", GgufType::array, 1, some)}}, "key \"k\": is an array of arrays"));
  EXPECT_TRUE(refused({.keys = {gguf_array("k", static_cast<GgufType>(99), 1, some)}},
                      "key \"k\": the type of its elements: expected 0 to 12, found 99"));
  for (const std::uint32_t type : {13U, 99U, ~0U}) {
    EXPECT_TRUE(refused({.keys = {gguf_key("k", type, some)}},
                        fmt::format("key \"k\": its type: expected 0 to 12, found {}", type)));
  }
  EXPECT_TRUE(
      refused({.keys = {gguf_key("k", GgufType::boolean, "\2")}}, "key \"k\": expected a bool of 0 or 1, found 2"));
  EXPECT_TRUE(refused({.keys = {gguf_array("k", GgufType::boolean, 3, "\1\1\7")}}, "a bool of 0 or 1, found 7"));
}

TEST(GgufFile, G5_Duplicates) {
  EXPECT_TRUE(refused({.keys = {gguf_string("k", "1"), gguf_string("k", "2")}}, "in key \"k\": is given twice"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {8}, f32, 0), gguf_info("a", {8}, f32, 32)}, .data = 64},
                      "in tensor \"a\": is given twice"));
}

TEST(GgufFile, G5_AHundredThousandTensorsAreReadQuickly) {
  GgufBytes file;
  for (int i = 0; i < 100'000; ++i) file.infos.push_back(gguf_info(fmt::format("t.{}", i), {0}, f32, 0));
  const std::string bytes = file.text();
  expect_quick([&] { EXPECT_EQ(open(bytes).tensors().size(), 100'000U); });
}

TEST(GgufFile, G5_AHundredThousandKeysAreReadQuickly) {
  GgufBytes file;
  for (int i = 0; i < 100'000; ++i) file.keys.push_back(gguf_u32(fmt::format("key.{}", i), 7));
  const std::string bytes = file.text();
  expect_quick([&] { EXPECT_EQ(open(bytes).metadata().size(), 100'000U); });
}

TEST(GgufFile, G6_Alignment) {
  const auto aligned = [](std::string key, std::size_t alignment) {
    return GgufBytes{.keys = {std::move(key)},
                     .infos = {gguf_info("a", {1}, f32, 0), gguf_info("b", {1}, f32, alignment)},
                     .data = alignment + 4,
                     .alignment = alignment};
  };
  for (const std::uint32_t value : {8U, 64U, 4096U, 65536U}) {
    EXPECT_EQ(open(aligned(gguf_u32("general.alignment", value), value).text()).tensors().size(), 2U) << value;
  }
  for (const std::uint32_t value : {0U, 4U, 13U, 48U, 1U << 17, 1U << 31, 0xffffffffU}) {
    EXPECT_TRUE(refused(aligned(gguf_u32("general.alignment", value), 32),
                        "key \"general.alignment\": expected a power of two from 8 to 65536, of type u32",
                        fmt::format("found {} of", value)));
  }
  EXPECT_TRUE(refused(aligned(gguf_key("general.alignment", GgufType::i32, raw(32)), 32), "found 32 of type i32"));
  EXPECT_TRUE(refused(aligned(gguf_key("general.alignment", GgufType::u64, raw(std::uint64_t{32})), 32), "type u64"));
  EXPECT_TRUE(refused(aligned(gguf_array("general.alignment", GgufType::u32, 1, raw(32U)), 32), "found [1] 32"));
  EXPECT_TRUE(refused(aligned(gguf_array("general.alignment", GgufType::u32, 0, ""), 32), "found [0]"));
}

TEST(GgufFile, G7_Shapes) {
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {1, 1, 1, 1, 1}, f32, 0)}, .data = 32},
                      "in tensor \"a\": expected at most 4 dimensions, found 5"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {-1}, f32, 0)}, .data = 32}, "tensor \"a\": has the shape [-1]"));
  constexpr std::int64_t large = std::int64_t{1} << 32;
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const std::vector<std::int64_t>& extents :
       std::vector<std::vector<std::int64_t>>{{large, large},
                                              {large, large, 4},
                                              {most},
                                              {most / 2, 2},
                                              {large, large / 2},
                                              {2, 1, most},
                                              {8, (most >> 2) + 2}}) {  // the last: 2^64 + 8, eight when it wraps
    EXPECT_TRUE(refused({.infos = {gguf_info("a", extents, f32, 0)}, .data = 32}, "tensor \"a\": has the shape [",
                        "too large for any file"));
  }
  // Each fits a file of 2^63 bytes, both together do not.
  constexpr std::int64_t half = (most - 63) / 4;
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {half}, f32, 0), gguf_info("b", {half}, f32, 0)}, .data = 32},
                      "tensor \"a\": takes 92233720368547757", "which are only 32 bytes"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {255}, q4_k, 0)}, .data = 144},
                      "tensor \"a\": has the shape [255]; expected rows of Q4_K to be a multiple of 256"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {128, 2}, q4_k, 0)}, .data = 144}, "to be a multiple of 256"));
  EXPECT_TRUE(refused({.infos = {gguf_info("a", {}, q4_k, 0)}, .data = 144}, "to be a multiple of 256"));
}

TEST(GgufFile, G8_Places) {
  const auto two = [](std::uint64_t first, std::uint64_t second, std::size_t bytes) {
    return GgufBytes{.infos = {gguf_info("a", {9}, f32, first), gguf_info("b", {8}, f32, second)}, .data = bytes};
  };
  EXPECT_EQ(open(two(0, 64, 96).text()).tensors().size(), 2U);
  EXPECT_TRUE(
      refused(two(0, 32, 96), "tensor \"b\": expected its data at offset 64 (alignment 32), found 32: it overlaps"));
  EXPECT_TRUE(refused(two(0, 0, 96), "tensor \"b\": expected its data at offset 64", "it overlaps"));
  EXPECT_TRUE(refused(two(0, 96, 128), "tensor \"b\": expected its data at offset 64", "there is a hole"));
  EXPECT_TRUE(refused(two(0, 36, 96), "tensor \"b\"", "found 36: it is not aligned"));
  EXPECT_TRUE(refused(two(32, 64, 96), "tensor \"a\": expected its data at offset 0", "there is a hole"));
  EXPECT_TRUE(refused(two(64, 0, 128), "tensor \"a\"", "there is a hole"));
  EXPECT_TRUE(refused(two(0, ~std::uint64_t{31}, 96), "tensor \"b\"", "there is a hole"));
  EXPECT_TRUE(
      refused(two(0, 64, 95), "tensor \"b\": takes 32 bytes at offset 64 of the data, which are only 95 bytes"));
  EXPECT_TRUE(refused(two(0, 64, 10), "tensor \"a\": takes 36 bytes at offset 0", "fetch it again"));
  EXPECT_TRUE(refused(two(0, 64, 97), "1 bytes after the last tensor belong to none"));
  EXPECT_TRUE(refused({.data = 40}, "bytes after the last tensor belong to none"));
}

TEST(GgufFile, PaddingAfterTheLastTensorMayBeMissing) {
  for (const std::size_t bytes : {4U, 10U, 32U}) {
    EXPECT_EQ(open(GgufBytes{.infos = {gguf_info("a", {1}, f32, 0)}, .data = bytes}.text()).tensors().size(), 1U);
  }
}

/// A small language model of random structure: keys of all kinds, a vocabulary, tensors of several types.
GgufBytes small_model() {
  return {
      .keys = {gguf_string("general.architecture", "llama"), gguf_u32("general.alignment", 32),
               gguf_u32("llama.block_count", 1), gguf_u32("llama.context_length", 64),
               gguf_u32("llama.embedding_length", 32), gguf_u32("llama.attention.head_count", 4),
               gguf_u32("llama.attention.head_count_kv", 2), gguf_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F),
               gguf_f32("llama.rope.freq_base", 10000), gguf_u32("llama.rope.dimension_count", 8),
               gguf_string("tokenizer.ggml.model", "llama"), gguf_strings("tokenizer.ggml.tokens", {"<s>", "a", "b"}),
               gguf_array("tokenizer.ggml.scores", GgufType::f32, 3, raw(0.F) + raw(-1.F) + raw(-2.F)),
               gguf_array("tokenizer.ggml.token_type", GgufType::i32, 3, raw(3) + raw(1) + raw(1)),
               gguf_u32("tokenizer.ggml.bos_token_id", 0), gguf_key("flag", GgufType::boolean, "\1")},
      .infos = {gguf_info("token_embd.weight", {32, 3}, f32, 0), gguf_info("blk.0.attn_q.weight", {32, 2}, 8, 384),
                gguf_info("output_norm.weight", {32}, f32, 480)},
      .data = 608};
}

/// Reads all that a file claims to hold.
void read_everything(const Gguf& file) {
  for (const auto& [key, value] : file.metadata()) value.shown();
  for (const auto& [name, tensor] : file.tensors()) {
    if (tensor.type->unpack != nullptr) file.unpack(name);
  }
  read_architecture(file);
  read_vocabulary(file);
}

TEST(GgufFile, G9_TruncatedAtEveryByteIsRefused) {
  const std::string good = small_model().text();
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(refuses([&] { open(std::string_view(good).substr(0, size)); }, "model.gguf: ")) << size;
  }
  read_everything(open(good));
}

TEST(GgufFile, G9_APublishedModelTruncatedAtEveryByteIsRefused) {
  const std::string good = get(data / "llama-tiny.gguf");
  const Gguf whole = open_in_place(good);
  std::size_t needed = 0;  // the padding after the last tensor may be missing
  for (const auto& [name, tensor] : whole.tensors()) {
    const std::size_t begin =
        static_cast<std::size_t>(reinterpret_cast<const char*>(tensor.bytes.data()) - good.data());
    needed = std::max(needed, begin + tensor.bytes.size());
  }
  ASSERT_GT(needed, 8192U);
  for (std::size_t size = 0; size < needed; size += size < 4096 ? 1 : 97) {
    ASSERT_TRUE(refuses([&] { open_in_place(std::string_view(good).substr(0, size)); }, "model.gguf: ")) << size;
  }
  EXPECT_TRUE(refuses([&] { open_in_place(std::string_view(good).substr(0, needed - 1)); }, "fetch it again"));
  EXPECT_EQ(open_in_place(std::string_view(good).substr(0, needed)).tensors().size(), whole.tensors().size());
}

TEST(GgufFile, DamagedAtRandomIsRefusedOrReadable) {
  const std::string good = small_model().text();
  const std::size_t header = good.size() - 608;
  constexpr char tokens[] = {0, 1, 2, 8, 9, 12, 32, 64, 127, -128, -1};
  std::mt19937 random(2017);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = good;
    for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
      char& byte = damaged[random() % (random() % 4 == 0 ? damaged.size() : header)];
      const unsigned kind = random() % 3;
      if (kind == 0) byte = static_cast<char>(byte ^ (1 << random() % 8));
      if (kind == 1) byte = tokens[random() % std::size(tokens)];
      if (kind == 2) byte = static_cast<char>(random());
    }
    try {
      read_everything(open(damaged));
      ++accepted;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_LT(accepted, 15000);
}

/// The small model with a key replaced, or without it.
GgufBytes with(std::string_view key, std::optional<std::string> value) {
  GgufBytes result = small_model();
  const auto found =
      std::ranges::find_if(result.keys, [&](const std::string& k) { return k.starts_with(gguf_text(key)); });
  if (found == result.keys.end()) throw Error("the model has no such key");
  if (value) {
    *found = *value;
  } else {
    result.keys.erase(found);
  }
  return result;
}

TEST(GgufModel, G10_ArchitectureOfAGoodFile) {
  const GgufArchitecture found = read_architecture(open(small_model().text()));
  EXPECT_EQ(found.name, "llama");
  EXPECT_EQ(found.layers, 1);
  EXPECT_EQ(found.context, 64);
  EXPECT_EQ(found.d_model, 32);
  EXPECT_EQ(found.heads, 4);
  EXPECT_EQ(found.kv_heads, 2);
  EXPECT_EQ(found.d_head, 8);
  EXPECT_FLOAT_EQ(static_cast<float>(found.norm_epsilon.value()), 1e-5F);
  EXPECT_EQ(found.rotary_base.value(), 10000);
}

testing::AssertionResult refuses_architecture(const GgufBytes& file, std::string_view key) {
  return refuses([&] { read_architecture(open(file.text())); }, fmt::format("model.gguf: key \"{}\"", key));
}

TEST(GgufModel, G10_ArchitecturesThatCannotBe) {
  const auto wrong = [](std::string_view key, std::string value) {
    return refuses_architecture(with(key, std::move(value)), key);
  };
  const auto wrong_u32 = [&](std::string_view key, std::uint32_t value) { return wrong(key, gguf_u32(key, value)); };
  const auto wrong_f32 = [&](std::string_view key, float value) { return wrong(key, gguf_f32(key, value)); };
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(refuses_architecture(with("general.architecture", {}), "general.architecture"));
  EXPECT_TRUE(wrong("general.architecture", gguf_u32("general.architecture", 1)));
  for (const std::uint32_t heads : {0U, 64U, 1U << 31}) EXPECT_TRUE(wrong_u32("llama.attention.head_count", heads));
  for (const std::uint32_t heads : {0U, 3U, 8U, 1U << 31})
    EXPECT_TRUE(wrong_u32("llama.attention.head_count_kv", heads));
  for (const std::uint32_t layers : {0U, 4U, 1'000'000'000U}) EXPECT_TRUE(wrong_u32("llama.block_count", layers));
  for (const std::uint32_t positions : {0U, 1U << 31}) EXPECT_TRUE(wrong_u32("llama.context_length", positions));
  EXPECT_TRUE(wrong("llama.context_length", gguf_string("llama.context_length", "64")));
  EXPECT_TRUE(wrong("llama.context_length", gguf_key("llama.context_length", GgufType::i32, raw(-64))));
  for (const std::uint32_t width : {0U, 64U, 1U << 31}) EXPECT_TRUE(wrong_u32("llama.embedding_length", width));
  for (const float epsilon : {nan, infinity, -1e-5F, 2.F})
    EXPECT_TRUE(wrong_f32("llama.attention.layer_norm_rms_epsilon", epsilon));
  for (const float base : {nan, infinity, 0.F, -10000.F}) EXPECT_TRUE(wrong_f32("llama.rope.freq_base", base));
  for (const std::uint32_t turned : {0U, 7U, 10U}) EXPECT_TRUE(wrong_u32("llama.rope.dimension_count", turned));

  GgufBytes odd = with("llama.rope.dimension_count", {});
  odd.keys.push_back(gguf_u32("llama.attention.key_length", 7));
  EXPECT_TRUE(refuses_architecture(odd, "llama.attention.head_count"));
  EXPECT_TRUE(wrong("llama.attention.head_count_kv",
                    gguf_array("llama.attention.head_count_kv", GgufType::i32, 2, raw(2) + raw(3))));
}

testing::AssertionResult refuses_vocabulary(const GgufBytes& file, std::string_view part) {
  return refuses([&] { read_vocabulary(open(file.text())); }, "model.gguf: key \"tokenizer.ggml.", part);
}

TEST(GgufModel, G11_Vocabularies) {
  constexpr std::string_view tokens = "tokenizer.ggml.tokens";
  constexpr std::string_view scores = "tokenizer.ggml.scores";
  const auto with_tokens = [&](const std::vector<std::string>& values) {
    return with(tokens, gguf_strings(tokens, values));
  };
  const Gguf file = open(small_model().text());
  const auto found = read_vocabulary(file);
  EXPECT_EQ(found.value().tokens, (std::vector<std::string_view>{"<s>", "a", "b"}));
  EXPECT_EQ(found.value().scores, (std::vector<double>{0, -1, -2}));
  EXPECT_FALSE(read_vocabulary(open(with(tokens, {}).text())).has_value());

  EXPECT_TRUE(refuses_vocabulary(with_tokens({}), "expected at least one token, found [0]"));
  EXPECT_TRUE(refuses_vocabulary(with_tokens({"a", "b"}), "expected 3, as \"token_embd.weight\" has rows, found [2]"));
  EXPECT_TRUE(refuses_vocabulary(with_tokens({"a", "b", "c", "d"}), "expected 3, as"));
  EXPECT_EQ(read_vocabulary(open(with_tokens({"a", "", ""}).text())).value().tokens.size(), 3U);
  EXPECT_TRUE(refuses_vocabulary(with_tokens({"a", "b", std::string(300'000, 'x')}), "found one of 300000 (id 2)"));
  EXPECT_TRUE(refuses_vocabulary(with_tokens({"a", "b", "a"}), "the token \"a\" is given twice, as 0 and 2"));
  EXPECT_TRUE(refuses_vocabulary(with("tokenizer.ggml.bos_token_id", gguf_u32("tokenizer.ggml.bos_token_id", 3)),
                                 "bos_token_id\": expected an integer from 0 to 2, found 3"));
  EXPECT_TRUE(refuses_vocabulary(with(scores, gguf_array(scores, GgufType::f32, 2, raw(0.F) + raw(1.F))),
                                 "scores\": expected one a token, 3"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(refuses_vocabulary(with(scores, gguf_array(scores, GgufType::f32, 3, raw(0.F) + raw(nan) + raw(1.F))),
                                 "scores\": expected finite scores"));
  EXPECT_TRUE(refuses_vocabulary(with(scores, gguf_array(scores, GgufType::i32, 3, raw(0) + raw(1) + raw(1))),
                                 "scores\": expected an array of f32 or f64"));
  EXPECT_TRUE(refuses_vocabulary(with(tokens, gguf_string(tokens, "a")), "tokens\": expected an array of strings"));
}

TEST(GgufModel, G11_AnyBytesAreShownLiterally) {
  const std::vector<std::string> nasty{"\xff\xfe", "</script>", "\x1b[31m\n"};
  const Gguf file = open(with("tokenizer.ggml.tokens", gguf_strings("tokenizer.ggml.tokens", nasty)).text());
  EXPECT_EQ(read_vocabulary(file).value().tokens[2], nasty[2]);
  EXPECT_EQ(file.metadata().at("tokenizer.ggml.tokens").shown(), R"([3] "\xff\xfe", "</script>", "\x1b[31m\x0a")");
}

TEST(GgufModel, G12_ChatTemplatesAreOnlyText) {
  constexpr std::string_view key = "tokenizer.chat_template";
  for (const std::string& chat : {std::string("{% for i in range(1000000000) %}{% endfor %}"),
                                  std::string("{{ ''.__class__.__mro__ }}"), std::string(std::size_t{50} << 20, '{')}) {
    GgufBytes model = small_model();
    model.keys.push_back(gguf_string(key, chat));
    const std::string bytes = model.text();
    expect_quick([&] {
      const Gguf file = open(bytes);
      read_everything(file);
      EXPECT_EQ(file.text(key), chat);
      EXPECT_LT(file.metadata().at(key).shown().size(), 100U);
    });
  }
}

}  // namespace
}  // namespace rapt
