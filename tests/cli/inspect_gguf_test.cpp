// What `rapt inspect --verify` says of GGUF files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"
#include "formats/gguf_bytes.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

using testing::HasSubstr;

TEST(InspectGguf, SaysWhetherRaptReadsTheFile) {
  const auto known = run_command("inspect --verify " RAPT_TEST_DATA "/gguf/t5-tiny.gguf");
  EXPECT_EQ(known.status, 0) << known.messages;
  EXPECT_THAT(known.output, HasSubstr("\nfamily      t5"));
  EXPECT_THAT(known.output, HasSubstr("\ntokenizer   50 tokens (t5); every key of it is understood\n"));

  const Scratch scratch;
  const auto file = scratch / "model.gguf";
  put(file,
      GgufBytes{.keys = {gguf_string("general.architecture", "mamba"), gguf_string("tokenizer.ggml.model", "rwkv"),
                         gguf_strings("tokenizer.ggml.tokens", {"a"})},
                .infos = {gguf_info("a", {1}, 0, 0)},
                .data = 4}
          .text());
  const auto unknown = run_command("inspect --verify " + file.string());
  EXPECT_EQ(unknown.status, 0) << unknown.messages;
  EXPECT_THAT(unknown.output, HasSubstr("family      none that rapt runs: "));
  EXPECT_THAT(unknown.output, HasSubstr("\"general.architecture\": expected one of llama, "));
  EXPECT_THAT(unknown.output, HasSubstr("tokenizer   none that rapt reads: "));
}

}  // namespace
}  // namespace rapt
