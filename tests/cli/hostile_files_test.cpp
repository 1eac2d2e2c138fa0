// Damaged models, and prompts of any bytes, as the command meets them.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "decoding/tiny_language_model.h"
#include "formats/gguf_bytes.h"
#include "formats/safetensors.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

class HostileFiles : public testing::Test {
 protected:
  HostileFiles() { write_tiny_language_model(model_, {.chat_template = tiny_chat_template}); }

  CommandResult rapt(const std::string& command, const std::string& arguments, const std::string& input = "") const {
    return run_command(command + " " + model_.string() + " " + arguments, input);
  }

  /// Puts `value` into one element of a tensor of the model.
  void damage(const std::string& name, float value) const {
    std::vector<NamedTensor> tensors;
    for (const auto& [each, tensor] : read_safetensors_directory(model_).tensors) {
      tensors.emplace_back(each, tensor.clone());
      if (each == name) tensors.back().second.write<float>()[5] = value;
    }
    save_safetensors(model_ / "model.safetensors", tensors);
  }

  Scratch scratch_;
  std::filesystem::path model_ = scratch_ / "model";
};

// No warning when a model is loaded: weights are mapped, and reading all of them would take longer than most calls.
TEST_F(HostileFiles, S7_WeightsThatAreNoNumbersEndTheTextWithAnError) {
  for (const float value : {nan, std::numeric_limits<float>::infinity()}) {
    damage("model.layers.1.mlp.up_proj.weight", value);
    for (const std::string precision : {"f32", "bf16"}) {
      const auto drawn = rapt("generate", "--prompt the --threads 1 --precision " + precision);
      EXPECT_TRUE(failed_with(drawn, "step 1: the model's logits hold NaN; its weights", "the"));
      EXPECT_NE(drawn.messages.find("rapt inspect --verify"), std::string::npos);
      EXPECT_TRUE(failed_with(rapt("generate", "--prompt the --beam 2 --precision " + precision), "logits hold NaN"));
      EXPECT_TRUE(failed_with(rapt("chat", "--precision " + precision, "hello\n"), "logits hold NaN"));
    }
    const auto verified = rapt("inspect", "--verify");
    EXPECT_EQ(verified.status, 1);
    EXPECT_NE(verified.output.find("model.layers.1.mlp.up_proj.weight: 1 elements are not finite"), std::string::npos);
    EXPECT_EQ(verified.output.find("verified"), std::string::npos) << verified.output;
    EXPECT_NE(verified.messages.find("1 tensors hold NaN or infinity"), std::string::npos) << verified.messages;
    EXPECT_EQ(rapt("inspect", "").status, 0);
  }
}

TEST_F(HostileFiles, S7_VerifyRefusesAGgufFileWithNan) {
  const auto file = scratch_ / "model.gguf";
  std::string bytes =
      GgufBytes{.keys = {gguf_string("general.architecture", "test")}, .infos = {gguf_info("a", {1}, 0, 0)}, .data = 4}
          .text();
  put(file, bytes);
  EXPECT_EQ(run_command("inspect --verify " + file.string()).status, 0);
  bytes.replace(bytes.size() - 4, 4, raw(nan));
  put(file, bytes);
  const auto verified = run_command("inspect --verify " + file.string());
  EXPECT_EQ(verified.status, 1);
  EXPECT_NE(verified.messages.find("model.gguf: 1 tensors hold NaN or infinity"), std::string::npos);
}

TEST_F(HostileFiles, S8_AModelTruncatedWhileItIsUsedEndsTheCommandWithOneLine) {
  const auto pipe = scratch_ / "prompts";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  CommandResult result;
  std::jthread command([&] { result = rapt("generate", "--max-tokens 2 --input " + pipe.string()); });
  {
    std::ofstream prompts(pipe);  // returns when the model is loaded: the command opens its input after that
    std::filesystem::resize_file(model_ / "model.safetensors", 100);
    prompts << "the\n";
  }
  command.join();
  EXPECT_TRUE(failed_with(result, "model.safetensors: was truncated, or its disk failed, while in use"));
}

TEST_F(HostileFiles, S8_AModelReplacedWhileItIsUsedStaysAsItWas) {
  const std::string expected = rapt("generate", "--max-tokens 9 --prompt the").output;
  const auto pipe = scratch_ / "prompts";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  CommandResult result;
  std::jthread command([&] { result = rapt("generate", "--max-tokens 9 --input " + pipe.string()); });
  {
    std::ofstream prompts(pipe);
    damage("model.embed_tokens.weight", nan);
    prompts << "the\n";
  }
  command.join();
  EXPECT_EQ(result.output, expected) << result.messages;
}

TEST_F(HostileFiles, C1_ConfigurationsThatAreMissingOrAbsurd) {
  const auto with = [&](const std::string& text) {
    put(model_ / "config.json", text);
    return rapt("generate", "--prompt the");
  };
  const std::string good = get(model_ / "config.json");
  const auto changed = [&](const std::string& key, const std::string& value) {
    auto json = nlohmann::ordered_json::parse(good);
    json[key] = "@";
    std::string text = json.dump();
    text.replace(text.find("\"@\""), 3, value);
    return with(text);
  };
  EXPECT_TRUE(failed_with(with(""), "config.json: line 1, column 1: not valid JSON"));
  EXPECT_TRUE(failed_with(with("[]"), "config.json: expected a JSON object"));
  EXPECT_TRUE(failed_with(with("{}"), "config.json: \"model_type\": expected"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "1e400"), "config.json: line 1, column"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "\"16\""), "config.json: \"hidden_size\": expected an integer"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "1, \"hidden_size\": 16"), "\"hidden_size\": the key is given twice"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "9223372036854775807"), "hidden_size"));
  EXPECT_TRUE(failed_with(changed("num_hidden_layers", "1000000000"), "num_hidden_layers"));
  EXPECT_TRUE(failed_with(changed("rope_parameters", std::string(100'000, '[')), "nested deeper than 64 levels"));
  EXPECT_TRUE(failed_with(with(std::string(100'000'000, ' ')), "config.json: is longer than the 16777216 bytes"));
  std::filesystem::remove(model_ / "config.json");
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt the"), "config.json: cannot be opened: No such file"));
}

TEST_F(HostileFiles, G12_TemplatesRunInChatAloneAndAreStopped) {
  const auto loop = "{% for a in range(4000) %}{% for b in range(4000) %}{% endfor %}{% endfor %}";
  for (const auto& [text, said] : {std::pair<std::string, std::string>{loop, "more than 4194304 steps"},
                                   {"{{ ''.__class__.__mro__[1].__subclasses__() }}", "chat_template.jinja"},
                                   {"{% for m in messages %}", "chat_template.jinja"},
                                   {std::string(50'000'000, '{'), "chat_template.jinja"}}) {
    put(model_ / "chat_template.jinja", text);
    EXPECT_TRUE(failed_with(rapt("chat", "", "hello\n"), said)) << text.substr(0, 50);
    EXPECT_EQ(rapt("generate", "--prompt the --max-tokens 2").status, 0) << text.substr(0, 50);
  }
}

TEST_F(HostileFiles, T3_PromptsOfAnyBytes) {
  const std::string wrong[] = {"the\x80", "the\xc0\xaf", "the\xed\xa0\x80", "the\xf0\x9f\x98", "a\xff"};
  for (const std::string& bytes : wrong) {
    // A prompt is refused, a line of a file is read with U+FFFD for what is not UTF-8, and a warning says so.
    EXPECT_TRUE(failed_with(rapt("generate", "--prompt-file -", bytes), "standard input is not valid UTF-8 at byte"));
    const auto lines = rapt("generate", "--max-tokens 1 --input -", bytes + "\n");
    EXPECT_EQ(lines.status, 0) << lines.messages;
    EXPECT_NE(lines.messages.find("is not UTF-8; it is read as U+FFFD"), std::string::npos) << lines.messages;
    EXPECT_EQ(first_invalid_utf8(lines.output), std::string::npos) << lines.output;
  }
  EXPECT_TRUE(
      failed_with(rapt("generate", "--prompt \"$(printf 'a\\377')\""), "the prompt is not valid UTF-8 at byte 1"));
  const std::string megabyte(1 << 20, '\xff');
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt-file -", megabyte), "not valid UTF-8 at byte 0"));
  const auto odd = rapt("generate", "--max-tokens 1 --prompt-file -", std::string("\0\uFFFE\uFFFF", 7));
  EXPECT_EQ(odd.messages.find("UTF-8"), std::string::npos) << odd.messages;
}

}  // namespace
}  // namespace rapt
