/// Texts to vectors: tokenizer, encoder, pooling and what follows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embedding/modules.h"
#include "model/transformer.h"
#include "rapt/embedder.h"
#include "text/tokenizer.h"

namespace rapt::embedding {

/// What the encoder reads of a text.
struct TokenizedText {
  std::vector<std::int32_t> ids;  ///< special tokens included
  std::int64_t left_out = 0;      ///< tokens behind the last that fits
};

struct Embedding {
  std::vector<float> vector;
  std::int64_t tokens_left_out = 0;
};

class SentenceEncoder {
 public:
  SentenceEncoder(const std::filesystem::path& directory, const EmbedderOptions& options);

  Context& context() { return ctx_; }
  /// Whether modules.json says what becomes of the tokens' vectors.
  bool described() const { return modules_.described; }
  std::int64_t dimensions() const;
  std::int64_t max_tokens() const;

  TokenizedText tokenize(std::string_view text) const;
  /// Of each text, in order. Texts of similar length go through the model together. on_progress is told again and again
  /// which part of the tokens is done, from 0 to 1.
  std::vector<Embedding> embed(std::span<const std::string> texts,
                               const std::function<void(double part)>& on_progress = {});

 private:
  void choose_normalization(bool normalize);
  void check_widths() const;
  /// [sequences, dimensions], f32.
  Tensor encode(const RaggedTokens& batch);

  Context ctx_;
  Modules modules_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::int64_t closing_tokens_ = 0;  ///< special ones behind a text
};

}  // namespace rapt::embedding
