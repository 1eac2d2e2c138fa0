// Models of many languages as they are published without tokenizer.json: trained, asked and scored by the command.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/random.h"
#include "families/checkpoint.h"
#include "families/config.h"
#include "formats/directory.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace rapt {
namespace {

struct Published {
  std::string name;
  std::string model_type;
  std::string tokenizer_class;  // in tokenizer_config.json, which is absent without
  std::string source;
  std::string target;
  std::string other;  // language
};

const std::vector<Published> published{
    {"mbart", "mbart", "", "en_XX", "ro_RO", "de_DE"},
    {"mbart50", "mbart", "MBart50Tokenizer", "en_XX", "sl_SI", "de_DE"},
    {"nllb", "m2m_100", "NllbTokenizer", "eng_Latn", "deu_Latn", "zul_Latn"},
    {"m2m100", "m2m_100", "", "en", "de", "zu"},
};

constexpr const char* sentences =
    "the first word\nmany people\nhow now\nmake more time\nfind the long day\n"
    "two parts\nsee them go\nwater and oil\nwho are they\nour number\n";
constexpr const char* translations =
    "das erste\nviele\nwie nun\nmehr davon\nder lange tag\nteile\nsieh sie\noel und nass\nwer ist das\nnummer\n";

std::string config_text(const std::string& model_type, std::int32_t vocab) {
  return json_text({{"model_type", model_type},
                    {"vocab_size", vocab},
                    {"d_model", 32},
                    {"encoder_layers", 1},
                    {"decoder_layers", 1},
                    {"encoder_attention_heads", 2},
                    {"decoder_attention_heads", 2},
                    {"encoder_ffn_dim", 48},
                    {"decoder_ffn_dim", 48},
                    {"max_position_embeddings", 64},
                    {"dropout", 0.0},
                    {"attention_dropout", 0.0},
                    {"decoder_start_token_id", 2},
                    {"eos_token_id", 2},
                    {"pad_token_id", 1},
                    {"bos_token_id", 0}});
}

/// A directory with random weights, as published: `spare` rows of the embedding belong to no token.
void put_published(const Published& model, const std::filesystem::path& directory, int spare) {
  std::filesystem::create_directories(directory);
  const std::string spm = get(std::string(RAPT_TEST_DATA) + "/text/pipeline/spm-xlm-roberta/sentencepiece.bpe.model");
  put(directory / "sentencepiece.bpe.model", spm);
  if (!model.tokenizer_class.empty())
    put(directory / "tokenizer_config.json", json_text({{"tokenizer_class", model.tokenizer_class}}));
  OrderedJson vocabulary;
  for (const char* special : {"<s>", "<pad>", "</s>", "<unk>"}) vocabulary[special] = vocabulary.size();
  for (const std::string& piece : SentencePieceModel(spm, "the model").pieces()) {
    if (!vocabulary.contains(piece)) vocabulary[piece] = vocabulary.size();
  }
  if (model.name == "m2m100") put(directory / "vocab.json", json_text(vocabulary));
  put(directory / "config.json", json_text({{"model_type", model.model_type}}));
  const std::string config = config_text(model.model_type, load_tokenizer(directory)->vocab_size() + spare);

  Transformer transformer(read_config(JsonObject::parse(config, "config.json")));
  std::uint64_t stream = 0;
  for (const Parameter& parameter : transformer.parameters()) {
    RandomSequence random(5, stream++);
    const Tensor value = parameter.value();
    const bool norm = value.shape().rank() == 1;
    for (std::int64_t i = 0; i < value.count(); ++i)
      value.write<float>()[i] = static_cast<float>(norm ? 1 : 0.1 * random.normal());
    parameter.weight->changed();
  }
  const Scratch scratch;
  DirectoryWriter writer(scratch / "model");
  write_model(transformer, writer);
  writer.commit();
  std::filesystem::copy_file(scratch / "model" / "model.safetensors", directory / "model.safetensors");
  put(directory / "config.json", config);
}

class LanguagesCommand : public testing::TestWithParam<Published> {
 protected:
  LanguagesCommand() {
    // The first mBART is told from mBART-50 by the size of its vocabulary.
    put_published(GetParam(), scratch_ / "given", GetParam().name == "mbart" ? 0 : 2);
    put(scratch_ / "source", sentences);
    put(scratch_ / "target", translations);
  }
  std::string file(const char* name) const { return (scratch_ / name).string(); }
  static std::string languages(const std::string& source, const std::string& target) {
    return fmt::format(" --threads 1 --source-language {} --target-language {}", source, target);
  }
  nlohmann::json scores(const std::string& arguments) const {
    const CommandResult result = run_command(fmt::format("evaluate {} --source {} --reference {} --json{}", file("out"),
                                                         file("source"), file("target"), arguments));
    EXPECT_EQ(result.status, 0) << result.messages;
    return nlohmann::json::parse(result.output, nullptr, false);
  }

  Scratch scratch_;
};

TEST_P(LanguagesCommand, TrainsTranslatesAndEvaluates) {
  const Published& model = GetParam();
  const std::string pair = languages(model.source, model.target);
  const CommandResult trained = run_command(
      fmt::format("train --from {} --output {} --source {} --target {} --dev-source {} --dev-target {} --steps 300 "
                  "--learning-rate 0.01 --validate-every 0 --save-every 0{}",
                  file("given"), file("out"), file("source"), file("target"), file("source"), file("target"), pair));
  ASSERT_EQ(trained.status, 0) << trained.messages;

  const CommandResult translated = run_command("translate " + file("out") + pair, sentences);
  EXPECT_EQ(translated.output, translations) << translated.messages;
  put(scratch_ / "hypothesis", translated.output);

  const auto found = scores(pair);
  const CommandResult of_files =
      run_command(fmt::format("evaluate --hypothesis {} --reference {} --json", file("hypothesis"), file("target")));
  EXPECT_EQ(found["bleu"], nlohmann::json::parse(of_files.output)["bleu"]);
  EXPECT_LT(found["reference"]["perplexity"], 1.2);
  // Each reference is read with its two marks; where the language is behind, the decoder begins with it.
  const auto tokenizer = load_tokenizer(scratch_ / "out");
  std::int64_t tokens = 0;
  std::istringstream lines(translations);
  for (std::string line; std::getline(lines, line);)
    tokens += std::ssize(tokenizer->encode(line, {.special_tokens = false})) + 2;
  EXPECT_EQ(found["reference"]["tokens"], tokens);
  EXPECT_NE(scores(languages(model.source, model.other))["reference"]["loss"], found["reference"]["loss"]);
  EXPECT_NE(scores(languages(model.other, model.target))["reference"]["loss"], found["reference"]["loss"]);
}

TEST_P(LanguagesCommand, NamesLanguagesThatAreNotThere) {
  const std::string arguments = " --threads 1 --target-language xx";
  EXPECT_TRUE(failed_with(run_command("translate " + file("given") + arguments, "a\n"),
                          "--target-language xx: the tokenizer has no such language"));
  EXPECT_TRUE(failed_with(run_command(fmt::format("evaluate {} --source {} --reference {}{}", file("given"),
                                                  file("source"), file("target"), arguments)),
                          "--target-language xx: the tokenizer has no such language"));
}

INSTANTIATE_TEST_SUITE_P(, LanguagesCommand, testing::ValuesIn(published),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace rapt
