// Damaged models, and prompts of any bytes, as the command meets them.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "decoding/tiny_language_model.h"
#include "formats/gguf_bytes.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "rapt/generator.h"
#include "text/utf8.h"
#include "view/browser.h"

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
  EXPECT_TRUE(failed_with(with("{}"), "config.json: \"model_type\" is missing"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "1e400"), "config.json: line 1, column"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "\"16\""), "config.json: \"hidden_size\": expected an integer"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "1, \"hidden_size\": 16"), "\"hidden_size\": the key is given twice"));
  EXPECT_TRUE(failed_with(changed("hidden_size", "9223372036854775807"), "hidden_size"));
  EXPECT_TRUE(failed_with(changed("num_hidden_layers", "1000000000"), "num_hidden_layers"));
  EXPECT_TRUE(failed_with(changed("rope_parameters", std::string(100'000, '[')), "nested deeper than 64 levels"));
  EXPECT_TRUE(failed_with(with(std::string(100'000'000, ' ')), "config.json: is longer than the 16777216 bytes"));
  std::filesystem::remove(model_ / "config.json");
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt the"), "holds no model: config.json is missing"));
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

TEST_F(HostileFiles, T4_PromptsFarBeyondTheModelAreRefusedAtOnce) {
  put(scratch_ / "prompt", std::string(1'000'000, '^'));
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt-file " + (scratch_ / "prompt").string()),
                          "the prompt has 1000000 tokens, more than 16 times the 400 that the model was made for"));
  EXPECT_TRUE(failed_with(rapt("generate", "--input " + (scratch_ / "prompt").string()), "1000000 tokens"));
  EXPECT_TRUE(failed_with(rapt("chat", "", std::string(1'000'000, '^') + "\n"), "the context has room for 400"));
}

// The likeliest text of this model goes round in a circle, a character over four tokens in it.
TEST_F(HostileFiles, T5_TextsThatEndWithinACharacterAreWrittenAsText) {
  const std::string cycle = "a\U0001F9A9b";
  std::filesystem::remove_all(model_);
  write_tiny_language_model(model_, {.chat_template = tiny_chat_template, .every_byte = true, .cycle = cycle});
  for (int tokens = 1; tokens <= 7; ++tokens) {
    const std::string expected = replace_invalid_utf8((cycle + cycle).substr(0, static_cast<std::size_t>(tokens)));
    const std::string options = "--temperature 0 --threads 1 --max-tokens " + std::to_string(tokens);
    EXPECT_EQ(rapt("generate", "--prompt b " + options).output, "b" + expected + "\n");
    EXPECT_EQ(rapt("chat", options, "hello\n").output, expected + "\n");
    const auto json = nlohmann::json::parse(rapt("generate", "--prompt b --json " + options).output);
    std::string joined;
    for (const auto& token : json["tokens"]) joined += token["text"].get<std::string>();
    EXPECT_EQ(json["text"], expected);
    EXPECT_EQ(joined, expected);
    EXPECT_EQ(Generator(model_).generate("b", {.max_tokens = tokens, .sampling = {.temperature = 0}}), expected);
  }
  const std::string stop = "--prompt b --temperature 0 --stop '\U0001F9A9b' ";
  EXPECT_EQ(rapt("generate", stop).output, "ba\n");
  EXPECT_EQ(nlohmann::json::parse(rapt("generate", stop + "--json").output)["text"], "a");
}

/// A GGUF file of a small llama of zeros, whatever its vocabulary is.
struct HostileVocabulary {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab"};
  std::vector<std::int32_t> types = {};   // of all tokens but the first three: normal where nothing is said
  std::vector<float> scores = {};         // none: 0
  std::vector<std::string> keys = {};     // besides
  std::optional<std::int64_t> rows = {};  // of the embedding

  std::string bytes() const {
    constexpr std::int64_t width = 8;
    std::string all_types = raw(2) + raw(3) + raw(3), all_scores;
    for (std::size_t id = 3; id < tokens.size(); ++id) all_types += raw(id - 3 < types.size() ? types[id - 3] : 1);
    for (std::size_t id = 0; id < tokens.size(); ++id) all_scores += raw(id < scores.size() ? scores[id] : 0.0F);
    all_types.resize(4 * tokens.size());
    GgufBytes file{.keys = {gguf_string("general.architecture", "llama"), gguf_u32("llama.block_count", 1),
                            gguf_u32("llama.context_length", 64), gguf_u32("llama.embedding_length", width),
                            gguf_u32("llama.feed_forward_length", width), gguf_u32("llama.attention.head_count", 2),
                            gguf_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F),
                            gguf_string("tokenizer.ggml.model", "llama"), gguf_strings("tokenizer.ggml.tokens", tokens),
                            gguf_array("tokenizer.ggml.token_type", GgufType::i32, tokens.size(), all_types),
                            gguf_array("tokenizer.ggml.scores", GgufType::f32, tokens.size(), all_scores)}};
    file.keys.insert(file.keys.end(), keys.begin(), keys.end());
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& extents) {
      file.infos.push_back(gguf_info(name, extents, 0, file.data));
      std::size_t floats = 1;
      for (const std::int64_t extent : extents) floats *= static_cast<std::size_t>(extent);
      file.data += 4 * floats;
    };
    add("token_embd.weight", {width, rows.value_or(static_cast<std::int64_t>(tokens.size()))});
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
      add(std::string("blk.0.") + name + ".weight", {width, width});
    for (const char* name : {"blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"})
      add(std::string(name) + ".weight", {width});
    return file.text();
  }
};

class HostileGguf : public testing::Test {
 protected:
  CommandResult generate(const HostileVocabulary& vocabulary, const std::string& arguments = "") const {
    put(file_, vocabulary.bytes());
    return run_command("generate " + file_.string() + " --max-tokens 2 --threads 1 " + arguments);
  }
  testing::AssertionResult refused(const HostileVocabulary& vocabulary, const std::string& part) const {
    const CommandResult result = generate(vocabulary, "--prompt ab");
    if (result.messages.find("model.gguf") == std::string::npos)
      return testing::AssertionFailure() << "the file is not named: " << result.messages;
    return failed_with(result, part);
  }
  /// Tokens that the tests put behind those that every vocabulary here has.
  static HostileVocabulary with(const std::vector<std::string>& tokens, std::int32_t type) {
    HostileVocabulary vocabulary;
    vocabulary.types.assign(vocabulary.tokens.size() - 3, 1);
    vocabulary.tokens.insert(vocabulary.tokens.end(), tokens.begin(), tokens.end());
    vocabulary.types.insert(vocabulary.types.end(), tokens.size(), type);
    return vocabulary;
  }

  Scratch scratch_;
  std::filesystem::path file_ = scratch_ / "model.gguf";
};

constexpr std::int32_t normal = 1, control = 3, user_defined = 4, byte = 6;

TEST_F(HostileGguf, G11_ASoundVocabularyWrites) {
  const CommandResult result = generate({}, "--prompt ab");
  EXPECT_EQ(result.status, 0) << result.messages;
  EXPECT_TRUE(result.output.starts_with("ab")) << result.output;
}

TEST_F(HostileGguf, G11_VocabulariesThatCannotBeAreRefused) {
  EXPECT_TRUE(refused({.tokens = {}, .rows = 7}, "\"tokenizer.ggml.tokens\": expected at least one token"));
  EXPECT_TRUE(refused({.rows = 6}, "\"tokenizer.ggml.tokens\": expected 6, as \"token_embd.weight\" has rows"));
  EXPECT_TRUE(refused({.rows = 8}, "\"tokenizer.ggml.tokens\": expected 8"));
  EXPECT_TRUE(refused({.scores = {nan}}, "\"tokenizer.ggml.scores\": expected finite scores"));
  EXPECT_TRUE(refused({.scores = {0, std::numeric_limits<float>::infinity()}}, "finite scores"));
  for (const char* key : {"bos", "eos", "unknown", "padding"}) {
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    EXPECT_TRUE(refused({.keys = {gguf_u32(name, 7)}}, "\"" + name + "\": expected an integer from 0 to 6, found 7"));
    EXPECT_TRUE(refused({.keys = {gguf_u32(name, 0xFFFFFFFF)}}, name));
  }
  EXPECT_TRUE(refused(with({"a"}, normal), "the token \"a\" is given twice, as 4 and 7"));
  EXPECT_TRUE(refused(with({std::string(300'000, 'x')}, normal),
                      "expected tokens of at most 65536 bytes, found one of 300000"));
  EXPECT_TRUE(refused(with({std::string(2000, 'x')}, user_defined),
                      "model.gguf: its vocabulary, read as tokenizer.json: \"added_tokens[3].content\": expected a "
                      "text of 1 to 1024 bytes"));
  EXPECT_TRUE(refused(with({""}, control), "1 to 1024 bytes"));
  EXPECT_TRUE(
      refused(with({"c", "\xff\xc3("}, normal), "\"tokenizer.ggml.tokens\": element 8, \"\\xff\\xc3(\", is not UTF-8"));
  EXPECT_TRUE(
      refused({.keys = {gguf_strings("tokenizer.ggml.merges", {"a \xff"})}}, "\"tokenizer.ggml.merges\": element 0"));
  EXPECT_TRUE(
      refused({.keys = {gguf_string("tokenizer.chat_template", "\xff")}}, "\"tokenizer.chat_template\": element 0"));
}

TEST_F(HostileGguf, G11_VocabulariesThatAreOddWrite) {
  const std::vector<HostileVocabulary> odd{with({"", ""}, normal),

                                           with({std::string(60'000, 'x')}, normal),
                                           with({"<0x41>", "<0xFF>"}, byte),
                                           with({std::string("\0", 1)}, normal),
                                           {.scores = {-3e38F, 3e38F}}};
  for (const HostileVocabulary& vocabulary : odd) {
    for (const char* options : {"--prompt ab", "--prompt ab --json --samples 20"}) {
      const CommandResult result = generate(vocabulary, options);
      EXPECT_EQ(result.status, 0) << result.messages;
      EXPECT_EQ(first_invalid_utf8(result.output), std::string::npos);
    }
  }
}

TEST_F(HostileGguf, G11_TheAttentionPageShowsTokensLiterally) {
  const std::vector<std::string> tokens{"</script><script>broken = 1</script>",
                                        "<!--",
                                        "<script>",
                                        "<img src=x onerror=broken=1>",
                                        "\"'><b>",
                                        "{{script}}",
                                        "\x07\x1b[31m",
                                        "\u202eabc",
                                        "]]>",
                                        "&lt;"};
  const std::vector<std::string> shown{"</script><script>broken = 1</script>",
                                       "<!--",
                                       "<script>",
                                       "<img src=x onerror=broken=1>",
                                       "\"'><b>",
                                       "{{script}}",
                                       "\u2407\u241b[31m",
                                       "[U+202E]abc",
                                       "]]>",
                                       "&lt;"};
  std::string prompt;
  for (const std::string& token : tokens) prompt += token;
  put(scratch_ / "prompt", prompt);
  put(scratch_ / "shown.json", json_text(shown));
  const CommandResult result =
      generate(with(tokens, user_defined),
               "--prompt-file " + (scratch_ / "prompt").string() + " --attention " + (scratch_ / "page.html").string());
  ASSERT_EQ(result.status, 0) << result.messages;
  const std::string page = get(scratch_ / "page.html");
  EXPECT_EQ(page.find("broken = 1</script>"), std::string::npos);
  EXPECT_EQ(page.find("<img src=x"), std::string::npos);
  check_in_browser("hostile_page_check.mjs", scratch_ / "page.html", scratch_ / "shown.json");
}

}  // namespace
}  // namespace rapt
