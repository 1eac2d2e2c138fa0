// `rapt translate` as a process.
#include <gtest/gtest.h>

#include "cli/command.h"
#include "core/memory.h"
#include "families/tiny_models.h"
#include "formats/directory.h"

namespace rapt {
namespace {

/// A T5 of zeros that keeps half a megabyte for each token of a hypothesis.
void put_wide_model(const std::filesystem::path& directory) {
  ModelConfig config = read_config(std::filesystem::path(test_data) / "t5-tiny");
  config.d_head = 1024;
  config.decoder_layers = 16;
  const Transformer model(config);
  DirectoryWriter writer(directory);
  write_model(model, writer);
  writer.add_file("tokenizer.json", letter_tokenizer(config));
  writer.add_file("tokenizer_config.json", R"({"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})");
  writer.commit();
}

TEST(TranslateCommand, NamesTheLineThatTheMemoryHasNoRoomFor) {
  constexpr double needed = 290e9;
  const auto free = available_memory();
  if (!free || static_cast<double>(*free) > needed) GTEST_SKIP() << "so much memory is free here, or it is not known";
  const Scratch scratch;
  put_wide_model(scratch / "model");
  const std::string lines = "a b\nb a\n" + std::string(1000, 'a') + "\n";
  const CommandResult result = run_command("translate " + (scratch / "model").string() + " --beam 1024", lines);
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.messages.find("rapt: line 3: 501 tokens with a beam of 1024 take 29"), std::string::npos)
      << result.messages;
  EXPECT_NE(result.messages.find("use a smaller beam (--beam)"), std::string::npos) << result.messages;
}

}  // namespace
}  // namespace rapt
