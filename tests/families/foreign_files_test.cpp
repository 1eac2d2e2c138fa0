// Model directories as they are often fetched: with something else under the names that rapt reads.
#include "formats/scratch.h"

#include <string>

#include "families/checkpoint.h"
#include "text/tokenizer.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;
const std::string lfs_pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
const std::string web_page = "<!DOCTYPE html>\n<html><body>404</body></html>\n";
const std::string archive("PK\x03\x04\x14\0\0\0\x08\0archive/data.pkl", 26);
const std::string pickle("\x80\x02}q\0(X\x05\0\0\0weight", 17);

class ForeignFile : public testing::Test {
 protected:
  ForeignFile() { std::filesystem::copy_file(data / "llama-tiny" / "config.json", scratch_ / "config.json"); }
  Scratch scratch_;
};

TEST_F(ForeignFile, WeightsOnlyAsPickle) {
  put(scratch_ / "pytorch_model.bin", archive);
  EXPECT_TRUE(refuses([&] { load_model(scratch_.path()); }, "neither model.safetensors", "pytorch_model.bin",
                      "fetch the model's safetensors"));
}

TEST_F(ForeignFile, InPlaceOfSafetensors) {
  const auto refused = [&](const std::string& bytes, const char* advice) {
    put(scratch_ / "model.safetensors", bytes);
    return refuses([&] { load_model(scratch_.path()); }, "model.safetensors: ", advice);
  };
  EXPECT_TRUE(refused(lfs_pointer, "git lfs pull"));
  EXPECT_TRUE(refused(web_page, "web page"));
  EXPECT_TRUE(refused(archive, "PyTorch archive"));
  EXPECT_TRUE(refused(pickle, "Python pickle"));
}

TEST_F(ForeignFile, InPlaceOfConfigJson) {
  put(scratch_ / "config.json", lfs_pointer);
  EXPECT_TRUE(refuses([&] { read_config(scratch_.path()); }, "config.json: ", "git lfs pull"));
  std::filesystem::remove(scratch_ / "config.json");
  EXPECT_TRUE(refuses([&] { read_config(scratch_.path()); }, "config.json"));
}

TEST_F(ForeignFile, InPlaceOfGguf) {
  const auto refused = [&](const std::string& bytes, const char* advice) {
    put(scratch_ / "model.gguf", bytes);
    return refuses([&] { load_model(scratch_ / "model.gguf"); }, "model.gguf: ", advice);
  };
  EXPECT_TRUE(refused(archive, "PyTorch archive"));
  EXPECT_TRUE(refused(lfs_pointer, "git lfs pull"));
  EXPECT_TRUE(refused(web_page, "web page"));
}

TEST_F(ForeignFile, InPlaceOfTokenizers) {
  const auto refused = [&](const char* name, const std::string& bytes, const char* advice) {
    put(scratch_ / name, bytes);
    const auto result = refuses([&] { load_tokenizer(scratch_.path()); }, name, advice);
    std::filesystem::remove(scratch_ / name);
    return result;
  };
  EXPECT_TRUE(refused("tokenizer.json", web_page, "web page"));
  EXPECT_TRUE(refused("tokenizer.json", lfs_pointer, "git lfs pull"));
  EXPECT_TRUE(refused("tokenizer.model", lfs_pointer, "git lfs pull"));
  EXPECT_TRUE(refused("tokenizer.model", web_page, "web page"));
}

}  // namespace
}  // namespace rapt
