/// The tiny GGUF files of tests/data as files of real models are: with a tokenizer, and with matrices in fewer bits.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "formats/gguf_bytes.h"
#include "formats/scratch.h"

namespace rapt {

/// One of each table of names, each of which writes its weights in its own way.
inline const std::vector<const char*> trainable_gguf_models{
    "llama-tiny", "llama3-tiny", "llama-yarn-tiny", "mistral-tiny",  "qwen2-tiny",
    "qwen3-tiny", "gemma2-tiny", "gpt2-tiny",       "gpt_neox-tiny", "t5-tiny"};
/// Encoders, whose files lack the head that learns from text.
inline const std::vector<const char*> encoding_gguf_models{"bert-tiny", "roberta-tiny", "distilbert-tiny",
                                                           "t5encoder-tiny"};

/// Pieces in the order of their ids, the special ones first.
struct GgufPieces {
  std::string model;
  std::string pre;
  std::vector<std::string> special;
  std::string mark;  ///< of what begins a word
  std::vector<std::string> longer;

  std::vector<std::string> keys() const {
    constexpr std::int32_t normal = 1;
    constexpr std::int32_t control = 3;
    std::vector<std::string> tokens = special;
    if (model != "bert") tokens.push_back(mark);
    for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(1, letter);
    tokens.insert(tokens.end(), longer.begin(), longer.end());
    std::string types;
    std::string scores;
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      types += raw(id < special.size() ? control : normal);
      scores += raw(-static_cast<float>(id));
    }
    std::vector<std::string> merges;
    for (const std::string& piece : longer) merges.push_back(piece.substr(0, piece.size() - 1) + " " + piece.back());
    std::vector<std::string> result{gguf_string("tokenizer.ggml.model", model), gguf_string("tokenizer.ggml.pre", pre),
                                    gguf_strings("tokenizer.ggml.tokens", tokens),
                                    gguf_array("tokenizer.ggml.token_type", GgufType::i32, tokens.size(), types)};
    if (model == "gpt2") result.push_back(gguf_strings("tokenizer.ggml.merges", merges));
    if (model == "llama") result.push_back(gguf_array("tokenizer.ggml.scores", GgufType::f32, tokens.size(), scores));
    return result;
  }
};

/// What a file lacks to say how texts become tokens.
inline std::vector<std::string> gguf_letters(const Gguf& file) {
  if (file.contains("tokenizer.ggml.model")) return {};
  const std::string_view architecture = file.text("general.architecture");
  if (architecture == "bert") {
    GgufPieces pieces{"bert", "default", {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}, "▁", {}};
    for (const char* begin : {"▁a", "▁b", "▁c", "▁d", "▁i", "▁s", "▁t", "▁w", "▁h"}) pieces.longer.emplace_back(begin);
    return pieces.keys();
  }
  const bool scored = architecture == "llama" || architecture == "gemma2";
  const std::string mark = scored ? "▁" : "Ġ";
  GgufPieces pieces{scored ? "llama" : "gpt2", "gpt-2", {"</s>", "<unk>"}, mark, {}};
  if (architecture == "qwen2" || architecture == "qwen3") pieces.pre = "qwen2";
  if (architecture == "gptneox") pieces.pre = "olmo";
  for (const std::string end : {"a", "b", "c", "d", "s", "t"}) pieces.longer.push_back(mark + end);
  for (const char* piece : {"th", "he", "in", "is", "an"}) pieces.longer.emplace_back(piece);
  std::vector<std::string> keys = pieces.keys();
  if (scored) keys.push_back(gguf_u32("tokenizer.ggml.unknown_token_id", 1));
  return keys;
}

/// Writes a file of tests/data/gguf with more keys, and its matrices in `dtype`.
inline void put_gguf_model(const std::string& name, const std::filesystem::path& path, DType dtype = DType::f32,
                           const std::vector<std::string>& more = {}) {
  const Gguf file = read_gguf(std::string(RAPT_TEST_DATA) + "/gguf/" + name + ".gguf");
  GgufBytes header{.keys = gguf_letters(file), .infos = {}};
  header.keys.insert(header.keys.end(), more.begin(), more.end());
  for (const auto& [key, value] : file.metadata()) {
    std::string bytes(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
    if (value.type == GgufType::string && !value.length) bytes = gguf_text(bytes);
    header.keys.push_back(value.length ? gguf_array(key, value.type, *value.length, bytes)
                                       : gguf_key(key, value.type, bytes));
  }
  constexpr std::uint32_t f32 = 0;
  const std::map<DType, std::uint32_t> numbers{{DType::f32, f32}, {DType::f16, 1}, {DType::bf16, 30}};
  std::string data;
  for (const auto& [tensor_name, stored] : file.tensors()) {
    const bool matrix = stored.shape.rank() == 2;
    const Tensor tensor = file.load(tensor_name).to(matrix ? dtype : DType::f32);
    auto extents = std::vector<std::int64_t>{tensor.dim(0)};
    if (matrix) extents = {tensor.dim(1), tensor.dim(0)};
    header.infos.push_back(gguf_info(tensor_name, extents, matrix ? numbers.at(dtype) : f32, data.size()));
    data.append(static_cast<const char*>(tensor.raw()), tensor.bytes());
    data.resize((data.size() + header.alignment - 1) / header.alignment * header.alignment, '\0');
  }
  put(path, header.text() + data);
}

}  // namespace rapt
