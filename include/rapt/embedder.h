/// Sentence embeddings with an encoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rapt/error.h"
#include "rapt/precision.h"

namespace rapt {

struct EmbedderOptions {
  int threads = 0;  ///< 0: as many as the process may use
  Precision precision = Precision::f32;
  /// Whether vectors end up with length 1, in place of what modules.json says.
  std::optional<bool> normalize = std::nullopt;
  /// What is put before every text, in place of the directory's default prompt.
  std::optional<std::string> prompt = std::nullopt;
  /// Changes how layers attend, in place of what the directory says. The language is described in docs/design.md,
  /// section 9.
  std::string attention = {};
};

/// An encoder in a Hugging Face directory (BERT, RoBERTa, DistilBERT), with the modules that sentence-transformers puts
/// behind it: texts become vectors, and similar texts have similar directions (Reimers, Gurevych, "Sentence-BERT",
/// 2019). modules.json and the files it points to say how tokens are pooled and what follows; without it, the vector
/// is the mean of the tokens'. A GGUF file of such an encoder says how tokens are pooled, and its vectors have
/// length 1. One embedder is used by one thread at a time; several in one process do not disturb each other.
class Embedder {
 public:
  /// Reads config.json, model.safetensors, the tokenizer's files and those of the modules. Throws Error naming file and
  /// place when something is amiss, or when the model is no encoder.
  explicit Embedder(const std::filesystem::path& directory, const EmbedderOptions& options = {});
  ~Embedder();
  Embedder(Embedder&&) noexcept;
  Embedder& operator=(Embedder&&) noexcept;

  /// The vector of each text, in order: dimensions() numbers, the same bits alone and among others. An empty text is
  /// its special tokens. Of a text of more than max_tokens() tokens, the end is left out. Throws Error for invalid
  /// UTF-8.
  std::vector<std::vector<float>> embed(std::span<const std::string> texts);
  std::vector<float> embed(const std::string& text);

  std::int64_t dimensions() const;
  /// Tokens that a text may have, special ones included.
  std::int64_t max_tokens() const;
  /// How many tokens of a text embed() would leave out.
  std::int64_t tokens_left_out(const std::string& text) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rapt
