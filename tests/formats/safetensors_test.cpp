#include "formats/safetensors.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <random>

#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

/// A file with this header, after the length it states or the true one.
std::string file_of(std::string_view header, std::string_view data = "", std::optional<std::uint64_t> length = {}) {
  const std::uint64_t stated = length.value_or(header.size());
  std::string result(sizeof stated, '\0');
  std::memcpy(result.data(), &stated, sizeof stated);
  return result.append(header).append(data);
}

/// A file with one tensor "a" of `bytes` zeros.
std::string one_tensor(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t bytes) {
  return file_of(fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets),
                 std::string(bytes, '\0'));
}

class SafetensorsFile : public testing::Test {
 protected:
  Safetensors open(std::string_view bytes, const SafetensorsOptions& options = {}) const {
    put(scratch_ / "model.safetensors", bytes);
    return read_safetensors(scratch_ / "model.safetensors", options);
  }

  template <typename... Parts>
  testing::AssertionResult refused(std::string_view bytes, Parts... parts) const {
    return refuses([&] { open(bytes); }, "model.safetensors: ", parts...);
  }

  Scratch scratch_;
};

std::vector<float> floats(std::size_t count) {
  std::vector<float> result(count);
  std::iota(result.begin(), result.end(), 0.5F);
  return result;
}

std::vector<NamedTensor> sample() {
  const std::vector<float> values = floats(6);
  const Tensor matrix = Tensor::of<float>({2, 3}, values);
  return {{"weight", matrix},
          {"bias", matrix.to(DType::bf16)},
          {"double", matrix.to(DType::f64)},
          {"scalar", Tensor::of<std::int64_t>({}, std::vector<std::int64_t>{7})},
          {"none", Tensor::empty({0, 4}, DType::f32)},
          {"odd", Tensor::of<std::uint8_t>({3}, std::vector<std::uint8_t>{1, 2, 3})},
          {"größe \"\n", Tensor::of<std::int32_t>({1, 1}, std::vector<std::int32_t>{-1})}};
}

void expect_same(const Tensor& left, const Tensor& right) {
  ASSERT_EQ(left.dtype(), right.dtype());
  ASSERT_EQ(left.shape(), right.shape());
  EXPECT_EQ(std::memcmp(left.raw(), right.raw(), left.bytes()), 0);
}

// Written by version 0.8.0 of the format's own library, from NumPy arrays.
constexpr std::string_view golden(
    "H\x01\0\0\0\0\0\0"
    R"({"__metadata__":{"format":"np"},"step":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
    R"("none":{"dtype":"F64","shape":[0,4],"data_offsets":[8,8]},)"
    R"("weight":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
    R"("half":{"dtype":"F16","shape":[2],"data_offsets":[32,36]},)"
    R"("mask":{"dtype":"U8","shape":[3],"data_offsets":[36,39]}}       )"
    "\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0?\0\0\x80?\0\0\xc0?\0\0\0@\0\0 @\0>\0\xc0\x01\0\xff",
    375);

TEST_F(SafetensorsFile, ReadsAFileOfTheReferenceLibrary) {
  const Safetensors found = open(golden);
  EXPECT_EQ(found.metadata, (std::map<std::string, std::string>{{"format", "np"}}));
  ASSERT_EQ(found.tensors.size(), 5U);
  EXPECT_EQ(found.tensors.at("step").values<std::int64_t>()[0], 7);
  EXPECT_EQ(found.tensors.at("step").shape(), Shape{});
  EXPECT_EQ(found.tensors.at("none").shape(), (Shape{0, 4}));
  const auto weight = found.tensors.at("weight").values<float>();
  EXPECT_EQ(std::vector<float>(weight.begin(), weight.end()), (std::vector<float>{0, 0.5, 1, 1.5, 2, 2.5}));
  const Tensor half = found.tensors.at("half").to(DType::f32);
  EXPECT_EQ(half.values<float>()[0], 1.5F);
  EXPECT_EQ(half.values<float>()[1], -2.0F);
  EXPECT_EQ(found.tensors.at("mask").values<std::uint8_t>()[2], 255);
}

TEST_F(SafetensorsFile, TensorsLieInTheFileAndKeepItAlive) {
  Tensor weight;
  {
    save_safetensors(scratch_ / "model.safetensors", sample());
    const Safetensors found = read_safetensors(scratch_ / "model.safetensors");
    for (const auto& [name, tensor] : found.tensors) EXPECT_TRUE(tensor.read_only()) << name;
    weight = found.tensors.at("weight");
  }
  expect_same(weight, sample()[0].second);
  EXPECT_TRUE(refuses([&] { weight.write<float>(); }, "mapped from a file"));
}

TEST_F(SafetensorsFile, CopiesATensorWhosePlaceDoesNotSuitItsType) {
  const std::vector<float> values = floats(2);
  std::string data(1, 'x');
  data.append(reinterpret_cast<const char*>(values.data()), 8);
  const Safetensors found = open(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                         R"("b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})",
                                         data));
  const Tensor& tensor = found.tensors.at("b");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.raw()) % alignof(float), 0U);
  expect_same(tensor, Tensor::of<float>({2}, values));
}

TEST_F(SafetensorsFile, SavedLoadedAndSavedAgainIsTheSame) {
  save_safetensors(scratch_ / "first", sample());
  const Safetensors loaded = read_safetensors(scratch_ / "first");
  const std::vector<NamedTensor> original = sample();
  ASSERT_EQ(loaded.tensors.size(), original.size());
  for (const auto& [name, tensor] : original) expect_same(loaded.tensors.at(name), tensor);
  EXPECT_EQ(loaded.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));

  const std::vector<NamedTensor> again(loaded.tensors.begin(), loaded.tensors.end());
  save_safetensors(scratch_ / "second", again, {.metadata = loaded.metadata});
  EXPECT_EQ(get(scratch_ / "first"), get(scratch_ / "second"));
}

TEST_F(SafetensorsFile, WritesWideTypesFirstAndAlignsTheData) {
  save_safetensors(scratch_ / "file", sample());
  std::uint64_t length = 0;
  const std::string bytes = get(scratch_ / "file");
  std::memcpy(&length, bytes.data(), sizeof length);
  EXPECT_EQ((length + 8) % 64, 0U);
  const std::string header = bytes.substr(8, length);
  EXPECT_TRUE(header.starts_with(R"({"__metadata__":{"format":"pt"},"double":{"dtype":"F64","shape":[2,3],)"
                                 R"("data_offsets":[0,48]},"scalar":{"dtype":"I64","shape":[],"data_offsets":[48,56]},)"
                                 R"("größe \"\n":{"dtype":"I32","shape":[1,1],"data_offsets":[56,60]},"none")"))
      << header;
}

TEST_F(SafetensorsFile, WritesInTheGivenOrder) {
  const std::vector<NamedTensor> tensors = sample();
  save_safetensors(scratch_ / "file", tensors, {.metadata = {}, .order = TensorOrder::given});
  const std::string bytes = get(scratch_ / "file");
  EXPECT_EQ(bytes.find("{\"weight\":"), 8U);
  const Safetensors loaded = read_safetensors(scratch_ / "file");
  EXPECT_TRUE(loaded.metadata.empty());
  for (const auto& [name, tensor] : tensors) expect_same(loaded.tensors.at(name), tensor);
}

TEST_F(SafetensorsFile, RefusesToWriteWhatCannotBeRead) {
  const Tensor one = Tensor::zeros({1}, DType::f32);
  const auto save = [&](std::vector<NamedTensor> tensors, const SafetensorsWriteOptions& options = {}) {
    save_safetensors(scratch_ / "file", tensors, options);
  };
  EXPECT_TRUE(refuses([&] { save({{"a", one}, {"a", one}}); }, "tensor \"a\" is given twice"));
  EXPECT_TRUE(refuses([&] { save({{"__metadata__", one}}); }, "\"__metadata__\" cannot name a tensor"));
  EXPECT_TRUE(refuses([&] { save({{std::string(1025, 'x'), one}}); }, "cannot name a tensor"));
  EXPECT_TRUE(refuses([&] { save({{"a", Tensor()}}); }, "tensor \"a\" is given without data"));
  EXPECT_TRUE(refuses([&] { save({{"\xff", one}}); }, "not UTF-8"));
  EXPECT_TRUE(refuses([&] { save({}, {.metadata = {{"a", "\xff"}}}); }, "not UTF-8"));
  EXPECT_TRUE(fs::is_empty(scratch_.path()));
}

TEST_F(SafetensorsFile, K7_SavingOverAMappedFileLeavesTheMappingAlone) {
  const fs::path path = scratch_ / "model.safetensors";
  save_safetensors(path, sample());
  const Safetensors old = read_safetensors(path);
  const std::vector<NamedTensor> same(old.tensors.begin(), old.tensors.end());
  save_safetensors(path, same);
  save_safetensors(path, std::vector<NamedTensor>{{"other", Tensor::zeros({2, 3}, DType::f32)}});
  for (const auto& [name, tensor] : sample()) expect_same(old.tensors.at(name), tensor);
}

TEST_F(SafetensorsFile, SaysWhatADirectoryHoldsInPlaceOfWeights) {
  const auto said = [&](const std::string& name, const std::string& what) {
    put(scratch_ / name, "x");
    const bool found = refuses([&] { read_safetensors_directory(scratch_.path()); }, name, what);
    fs::remove(scratch_ / name);
    return found;
  };
  EXPECT_TRUE(refuses([&] { read_safetensors_directory(scratch_.path()); }, "holds neither"));
  EXPECT_TRUE(said("pytorch_model.bin", "never runs"));
  EXPECT_TRUE(said("pytorch_model-00001-of-00002.bin", "never runs"));
  EXPECT_TRUE(said("adapter_model.safetensors", "merge it"));
  EXPECT_TRUE(said("tf_model.h5", "TensorFlow"));
  EXPECT_TRUE(said("model-q8.gguf", "instead of the directory"));
}

TEST_F(SafetensorsFile, ReleasedPagesComeBackWithTheirContents) {
  const Tensor large = Tensor::empty({100, 1000}, DType::f32);
  for (std::int64_t i = 0; i < large.count(); ++i) large.write<float>()[i] = static_cast<float>(i);
  save_safetensors(scratch_ / "large", std::vector<NamedTensor>{{"a", large}});
  const Tensor mapped = read_safetensors(scratch_ / "large").tensors.at("a");
  for (const Tensor& tensor : {mapped, mapped.rows(3, 4), large}) {
    release_pages(tensor);
    expect_same(mapped, large);
  }
}

TEST_F(SafetensorsFile, TellsOtherFormatsApart) {
  EXPECT_TRUE(refused(std::string("PK\x03\x04") + std::string(100, '\x01'), "PyTorch archive", "save_file"));
  EXPECT_TRUE(refused("\x80\x02\x8a\x0a and so on and so on", "Python pickle"));
  EXPECT_TRUE(refused("\x80\x04\x95 and so on and so on", "Python pickle"));
  EXPECT_TRUE(refused("version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer", "git lfs pull"));
  EXPECT_TRUE(refused("\n<!DOCTYPE HTML><title>404</title>", "web page", "fetch the file again"));
  EXPECT_TRUE(refused("<html><body>", "web page"));
  EXPECT_TRUE(refused("GGUF\x03\x01\x01\x01\x01\x01\x01\x01", "GGUF"));
  EXPECT_TRUE(refused("\x1f\x8b\x08\x08\x01\x01\x01\x01\x01\x01", "gzip"));
  EXPECT_TRUE(refused("", "0 bytes are too few"));
  EXPECT_TRUE(refuses([&] { read_safetensors(scratch_.path()); }, "is a directory"));
  EXPECT_TRUE(refuses([] { read_safetensors("/dev/zero"); }, "is a device"));
}

TEST_F(SafetensorsFile, S1_HeaderLength) {
  EXPECT_TRUE(refused(file_of("{}", "", 0), "does not begin with \"{\""));
  EXPECT_TRUE(refused(file_of("{}      ", "", 1), "line 1, column 2: not valid JSON"));
  EXPECT_TRUE(refused(file_of("{}", "", 7), "should have 7 bytes, but only 2 are left"));
  EXPECT_TRUE(refused(file_of("{}", "", std::uint64_t{1} << 63), "9223372036854775808 bytes", "at most 100000000"));
  EXPECT_TRUE(refused(file_of("{}", "", std::numeric_limits<std::uint64_t>::max()), "at most 100000000"));
  EXPECT_TRUE(refused(file_of("{}", "", 100'000'001), "at most 100000000"));
  EXPECT_TRUE(refused(file_of("{}", "", 3), "should have 3 bytes, but only 2 are left"));
  EXPECT_TRUE(open(file_of("{}")).tensors.empty());
}

TEST_F(SafetensorsFile, S2_HeaderIsNotAnObjectOrNotUtf8) {
  EXPECT_TRUE(refused(file_of("[]"), "does not begin with"));
  EXPECT_TRUE(refused(file_of(" {}"), "does not begin with"));
  EXPECT_TRUE(refused(file_of("{} x"), "not valid JSON"));
  EXPECT_TRUE(refused(file_of("{\"\xff\": {}}"), "not valid JSON"));
  EXPECT_TRUE(refused(file_of(std::string_view("{}\0", 3)), "NUL"));
  EXPECT_TRUE(refused(file_of(R"({"a":1})"), "tensor \"a\": expected exactly \"dtype\", \"shape\" and"));
  EXPECT_TRUE(refused(file_of(R"({"a":{"dtype":"F32","shape":[]}})"), "expected exactly"));
  EXPECT_TRUE(refused(file_of(R"({"a":{"dtype":"F32","shape":[],"offsets":[0,4]}})"), "\"data_offsets\" is missing"));
  EXPECT_TRUE(refused(file_of(R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,4]}})"), "\"dtype\" must be a string"));
  EXPECT_TRUE(refused(file_of(R"({"__metadata__":[]})"), "\"__metadata__\" must be an object of strings"));
  EXPECT_TRUE(refused(file_of(R"({"__metadata__":{"a":1}})"), "\"__metadata__.a\" must be a string"));
}

std::string header_of_many(std::size_t count, std::size_t bytes_each) {
  std::string header = "{";
  for (std::size_t i = 0; i < count; ++i) {
    fmt::format_to(std::back_inserter(header),
                   R"({}"layers.{}.weight":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", i == 0 ? "" : ",",
                   i, bytes_each / 4, i * bytes_each, (i + 1) * bytes_each);
  }
  return header + "}";
}

TEST_F(SafetensorsFile, S2_DeepOrLongHeadersAreRefusedQuickly) {
  std::string deep = "{\"a\":";
  deep.append(100'000, '[');
  expect_quick([&] { EXPECT_TRUE(refused(file_of(deep), "nested deeper than 64 levels")); });
  const std::string many = file_of(header_of_many(1'000'000, 0));
  put(scratch_ / "many", many);
  expect_quick([&] { EXPECT_TRUE(refuses([&] { read_safetensors(scratch_ / "many"); }, "more than 131073 keys")); });
  // Ten million tensors need more than the header may have.
  expect_quick([&] { EXPECT_TRUE(refused(file_of("{", "", 600'000'000), "at most 100000000")); });
}

TEST_F(SafetensorsFile, S2_AHundredThousandTensorsAreReadQuickly) {
  put(scratch_ / "many", file_of(header_of_many(100'000, 4), std::string(400'000, '\0')));
  expect_quick([&] { EXPECT_EQ(read_safetensors(scratch_ / "many").tensors.size(), 100'000U); });
}

TEST_F(SafetensorsFile, S3_OverlapHoleTrailing) {
  const auto two = [](std::string_view first, std::string_view second, std::size_t bytes) {
    return file_of(fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},)"
                               R"("b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
                               first, second),
                   std::string(bytes, '\0'));
  };
  EXPECT_EQ(open(two("[4,8]", "[0,4]", 8)).tensors.size(), 2U);
  EXPECT_TRUE(refused(two("[0,4]", "[0,4]", 4), "tensor \"b\": begins at byte 0", "ends at 4: they overlap"));
  EXPECT_TRUE(refused(two("[0,4]", "[3,7]", 7), "they overlap"));
  EXPECT_TRUE(refused(two("[0,4]", "[5,9]", 9), "tensor \"b\": begins at byte 5", "there is a hole"));
  EXPECT_TRUE(refused(two("[1,5]", "[5,9]", 9), "tensor \"a\": begins at byte 1", "ends at 0: there is a hole"));
  EXPECT_TRUE(refused(two("[0,4]", "[4,8]", 9), "1 bytes after the last tensor belong to none"));
  EXPECT_TRUE(refused(two("[0,4]", "[4,8]", 7), "tensor \"b\": ends at byte 8 of the data, but the file holds only 7"));
  EXPECT_TRUE(refused(file_of("{}", "x"), "1 bytes after the last tensor"));
}

TEST_F(SafetensorsFile, S3_OffsetsThatAreNoSizes) {
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[1,0]", 1), "tensor \"a\": ends at 0, before its begin 1"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[-1,0]", 1), "\"data_offsets\" must hold integers >= 0"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0.0,1.0]", 1), "\"data_offsets\" must hold integers >= 0"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", R"(["0","1"])", 1), "\"data_offsets\" must hold integers >= 0"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0]", 1), "\"data_offsets\" must hold two numbers"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0,1,1]", 1), "\"data_offsets\" must hold two numbers"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "{}", 1), "\"data_offsets\" must be an array"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0,9007199254740993]", 1), "ends at byte 9007199254740993"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0,18446744073709551615]", 1), "ends at byte 18446744073709551615"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0,18446744073709551616]", 1), "integers >= 0"));
  EXPECT_TRUE(refused(one_tensor("U8", "[1]", "[0,1e400]", 1), "number overflow"));
}

TEST_F(SafetensorsFile, S4_DuplicateNames) {
  EXPECT_TRUE(refused(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                              R"("a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})",
                              "1234"),
                      "\"a\": the key is given twice"));
  EXPECT_TRUE(refused(file_of(R"({"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}})", "1234"),
                      "\"a.dtype\": the key is given twice"));
  EXPECT_TRUE(refused(file_of(R"({"__metadata__":{},"__metadata__":{}})"), "given twice"));
}

TEST_F(SafetensorsFile, S5_ShapesAndTypes) {
  EXPECT_EQ(open(one_tensor("F32", "[]", "[0,4]", 4)).tensors.at("a").shape(), Shape{});
  EXPECT_EQ(open(one_tensor("F32", "[2,0,3]", "[0,0]", 0)).tensors.at("a").shape(), (Shape{2, 0, 3}));
  EXPECT_EQ(open(one_tensor("F32", "[0,4611686018427387904]", "[0,0]", 0)).tensors.at("a").count(), 0);
  for (const std::string_view shape :
       {"[4294967296,4294967296]", "[9223372036854775807,2]", "[18446744073709551615]", "[4294967296,4294967296,0]",
        "[2305843009213693952,2]", "[9223372036854775808]"}) {
    EXPECT_TRUE(refused(one_tensor("F32", shape, "[0,0]", 0), "tensor \"a\": has the shape [", "too large")) << shape;
  }
  EXPECT_TRUE(refused(one_tensor("F32", "[3]", "[0,8]", 8), "takes 8 bytes, but shape [3] of F32 needs 12"));
  EXPECT_TRUE(refused(one_tensor("F32", "[]", "[0,8]", 8), "takes 8 bytes, but shape [] of F32 needs 4"));
  EXPECT_TRUE(refused(one_tensor("F32", "[1,1,1,1,1,1,1]", "[0,4]", 4), "has 7 dimensions, at most 6"));
  EXPECT_TRUE(refused(one_tensor("F32", "[-1]", "[0,4]", 4), "\"shape\" must hold integers >= 0"));
  EXPECT_TRUE(refused(one_tensor("F32", "4", "[0,4]", 4), "\"shape\" must be an array"));
  EXPECT_TRUE(refused(one_tensor("F4", "[3]", "[0,2]", 2), "has the type \"F4\"; rapt reads F64"));
  EXPECT_TRUE(refused(one_tensor("BOOL", "[2]", "[0,2]", 2), "has the type \"BOOL\"; rapt reads F64"));
  EXPECT_TRUE(refused(one_tensor("f32", "[]", "[0,4]", 4), "has the unknown type \"f32\"; rapt reads F64"));
  for (const std::string_view type : {"F64", "F32", "F16", "BF16", "I64", "I32", "U8"}) {
    EXPECT_EQ(open(one_tensor(type, "[0]", "[0,0]", 0)).tensors.size(), 1U) << type;
  }
  const std::string name(1025, 'n');
  EXPECT_TRUE(refused(file_of(fmt::format(R"({{"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}})", name)),
                      "the name has 1025 bytes, at most 1024"));
}

class SafetensorsShards : public SafetensorsFile {
 protected:
  SafetensorsShards() {
    fs::create_directory(home_);
    save("one.safetensors", {{"a", Tensor::zeros({2}, DType::f32)}, {"b", Tensor::zeros({3}, DType::f32)}});
    save("two.safetensors", {{"c", Tensor::zeros({4}, DType::bf16)}});
  }

  void save(std::string_view name, const std::vector<NamedTensor>& tensors) const {
    save_safetensors(home_ / name, tensors);
  }

  /// Opens the directory with an index that puts "a" and "b" into the first shard and "c" into the second.
  Safetensors open(std::string_view first = "one.safetensors", std::string_view second = "two.safetensors") const {
    return open_index(fmt::format(
        R"({{"metadata":{{"total_size":28}},"weight_map":{{"a":"{0}","b":"{0}","c":"{1}"}}}})", first, second));
  }

  Safetensors open_index(std::string_view text) const {
    put(home_ / "model.safetensors.index.json", text);
    return read_safetensors_directory(home_);
  }

  fs::path home_ = scratch_ / "model";
};

TEST_F(SafetensorsShards, ReadsEveryShard) {
  const Safetensors found = open();
  EXPECT_EQ(found.tensors.size(), 3U);
  EXPECT_EQ(found.tensors.at("c").shape(), Shape{4});
  EXPECT_EQ(found.metadata.at("format"), "pt");
}

TEST_F(SafetensorsShards, PrefersTheSingleFile) {
  save("model.safetensors", {{"all", Tensor::zeros({2}, DType::f32)}});
  EXPECT_TRUE(open().tensors.contains("all"));
  EXPECT_TRUE(refuses([&] { read_safetensors_directory(scratch_.path()); }, "holds neither model.safetensors nor"));
}

TEST_F(SafetensorsShards, S6_PathsOutOfTheDirectory) {
  save_safetensors(scratch_ / "outside.safetensors", sample());
  const std::string absolute = scratch_ / "outside.safetensors";
  for (const std::string& shard :
       {std::string("../../etc/passwd"), std::string("/etc/passwd"), absolute, std::string("../outside.safetensors"),
        std::string("./two.safetensors"), std::string(".."), std::string(), std::string("two.safetensors/"),
        std::string("two.safetensors\\u0000"), std::string("sub/two.safetensors")}) {
    EXPECT_TRUE(refuses([&] { open("one.safetensors", shard); },
                        "index.json: \"weight_map.c\": expected the name of a .safetensors file in the same directory"))
        << shard;
  }
}

TEST_F(SafetensorsShards, S6_LinksOutOfTheDirectory) {
  save_safetensors(scratch_ / "outside.safetensors", std::vector<NamedTensor>{{"c", Tensor::zeros({4}, DType::f32)}});
  fs::create_symlink("../outside.safetensors", home_ / "link.safetensors");
  fs::create_symlink("link.safetensors", home_ / "twice.safetensors");
  fs::create_symlink("loop.safetensors", home_ / "loop.safetensors");
  fs::create_symlink("two.safetensors", home_ / "inside.safetensors");
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "link.safetensors"); }, "is a link out of the directory"));
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "twice.safetensors"); }, "is a link out of the directory"));
  EXPECT_TRUE(
      refuses([&] { open("one.safetensors", "loop.safetensors"); }, "\"loop.safetensors\", which cannot be opened"));
  EXPECT_EQ(open("one.safetensors", "inside.safetensors").tensors.size(), 3U);
}

TEST_F(SafetensorsShards, S6_TheHubCacheIsAllowed) {
  const fs::path cache = scratch_ / "models--someone--something";
  const fs::path snapshot = cache / "snapshots" / "0123abcd";
  fs::create_directories(snapshot);
  fs::create_directories(cache / "blobs");
  fs::rename(home_ / "one.safetensors", cache / "blobs" / "11");
  put(cache / "blobs" / "22", R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})");
  fs::create_symlink("../../blobs/11", snapshot / "one.safetensors");
  fs::create_symlink("../../blobs/22", snapshot / "model.safetensors.index.json");
  EXPECT_EQ(read_safetensors_directory(snapshot).tensors.size(), 2U);
}

TEST_F(SafetensorsShards, S6_MissingShardsAndCycles) {
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "three.safetensors"); },
                      "index.json: names the shard \"three.safetensors\", which cannot be opened: No such file"));
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "model.safetensors.index.json"); },
                      "\"weight_map.c\": expected the name of a .safetensors file"));
  fs::create_symlink("model.safetensors.index.json", home_ / "cycle.safetensors");
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "cycle.safetensors"); }, "cycle.safetensors: not a safetensors"));
  ASSERT_EQ(mkfifo((home_ / "pipe.safetensors").c_str(), 0600), 0);
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "pipe.safetensors"); }, "is a pipe"));
  fs::create_directory(home_ / "directory.safetensors");
  EXPECT_TRUE(refuses([&] { open("one.safetensors", "directory.safetensors"); }, "is a directory"));
}

TEST_F(SafetensorsShards, S6_IndexAndShardsThatDisagree) {
  EXPECT_TRUE(refuses([&] { open("two.safetensors", "one.safetensors"); }, "where the index does not put it"));
  EXPECT_TRUE(refuses([&] { open_index(R"({"weight_map":{"a":"one.safetensors"}})"); },
                      "tensor \"b\" lies in \"one.safetensors\", where the index does not put it"));
  EXPECT_TRUE(refuses([&] { open_index(R"({"weight_map":{"c":"two.safetensors","d":"two.safetensors"}})"); },
                      "tensor \"d\" should be in \"two.safetensors\" but is not"));
  EXPECT_TRUE(refuses([&] { open_index("{}"); }, "\"weight_map\": expected an object, found nothing"));
  EXPECT_TRUE(
      refuses([&] { open_index(R"({"weight_map":{"a":1}})"); }, "\"weight_map.a\": expected a string, found 1"));
  EXPECT_TRUE(refuses([&] { open_index(R"({"weight_map":{},"extra":1})"); }, "\"extra\""));
}

TEST_F(SafetensorsFile, S7_NotANumberAndInfinity) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const Tensor bad = Tensor::of<float>({5}, std::vector<float>{1, nan, -infinity, infinity, 3e38F});
  const std::vector<NamedTensor> tensors{{"f32", bad},
                                         {"f64", bad.to(DType::f64)},
                                         {"bf16", bad.to(DType::bf16)},
                                         {"good", Tensor::of<float>({2}, std::vector<float>{3e38F, -0.0F})},
                                         {"int", Tensor::of<std::int32_t>({1}, std::vector<std::int32_t>{-1})}};
  save_safetensors(scratch_ / "model.safetensors", tensors);
  const Safetensors found = read_safetensors(scratch_ / "model.safetensors");
  std::string listed;
  for (const NonFinite& entry : find_non_finite(found.tensors))
    listed += fmt::format("{} {};", entry.name, entry.count);
  EXPECT_EQ(listed, "bf16 3;f32 3;f64 3;");
  EXPECT_TRUE(refuses([&] { read_safetensors(scratch_ / "model.safetensors", {.check_finite = true}); },
                      "3 tensors hold NaN or infinity, the first is \"bf16\" (3 elements)"));
  const std::string half = file_of(R"({"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}})",
                                   std::string_view("\x00\x7c\x01\x7e\xff\x7b\x00\xfc", 8));
  EXPECT_EQ(find_non_finite(open(half).tensors).at(0).count, 3);
  EXPECT_EQ(open(golden, {.check_finite = true}).tensors.size(), 5U);
}

int read_truncated_tensor(const fs::path& path) {
  install_sigbus_message();
  const Tensor tensor = read_safetensors(path).tensors.at("a");
  fs::resize_file(path, 100);
  const volatile float* last = tensor.data<float>() + tensor.count() - 1;
  return static_cast<int>(*last);
}

TEST_F(SafetensorsFile, S8_TruncatedWhileMapped) {
  const fs::path path = scratch_ / "model.safetensors";
  save_safetensors(path, std::vector<NamedTensor>{{"a", Tensor::zeros({10000}, DType::f32)}});
  EXPECT_EXIT(_exit(read_truncated_tensor(path)), testing::ExitedWithCode(1),
              "^rapt: .*model.safetensors: was truncated, or its disk failed, while in use; .*\n$");
}

// S1 and S3: every truncation leaves a header that is too short, or tensors that end behind the data.
TEST_F(SafetensorsFile, S1_S3_TruncatedAtEveryByteIsRefused) {
  save_safetensors(scratch_ / "good", sample());
  const std::string good = get(scratch_ / "good");
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(refused(std::string_view(good).substr(0, size))) << size;
  }
  EXPECT_EQ(open(good).tensors.size(), sample().size());
}

/// Opens a damaged file and, when it is accepted, reads all it claims to hold.
bool survives(const fs::path& path) {
  try {
    const Safetensors found = read_safetensors(path);
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : found.tensors) {
      bytes += tensor.bytes();
      const auto* data = static_cast<const volatile unsigned char*>(tensor.raw());
      for (std::size_t i = 0; i < tensor.bytes(); ++i) static_cast<void>(data[i]);
    }
    EXPECT_LT(bytes, fs::file_size(path));
    find_non_finite(found.tensors);
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST_F(SafetensorsFile, DamagedAtRandomIsRefusedOrReadable) {
  save_safetensors(scratch_ / "good", sample());
  const std::string good = get(scratch_ / "good");
  const std::size_t header_end = good.rfind('}') + 1;
  constexpr std::string_view tokens = "0123456789{}[]\",:-.eF \\";
  std::mt19937 random(2017);
  int accepted = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string damaged = good;
    for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
      const bool in_syntax = random() % 2 == 0;
      damaged[random() % (random() % 4 == 0 ? damaged.size() : header_end)] =
          in_syntax ? tokens[random() % tokens.size()] : static_cast<char>(random());
    }
    put(scratch_ / "damaged", damaged);
    accepted += survives(scratch_ / "damaged") ? 1 : 0;
  }
  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 5000);
}

}  // namespace
}  // namespace rapt
