/// Texts to vectors of their words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "model/transformer.h"
#include "rapt/word_embedder.h"
#include "text/tokenizer.h"
#include "text/words.h"

namespace rapt::embedding {

/// See rapt::WordEmbedder.
class WordEncoder {
 public:
  WordEncoder(const std::filesystem::path& path, const WordEmbedderOptions& options);

  std::vector<WordVectors> embed(std::span<const std::string> texts);
  int layers() const;
  std::int64_t dimensions() const { return model_->config().d_model; }

 private:
  /// A text as the model reads it.
  struct Reading {
    std::vector<std::int32_t> ids;
    std::vector<std::vector<std::int32_t>> tokens_of_words;  ///< indices into ids
    WordVectors result;
  };
  class Average;

  Reading read(const std::string& text) const;
  void run(std::span<Reading> readings);

  Context ctx_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<int> layers_;
  std::int64_t closing_tokens_ = 0;
  std::string path_;
};

}  // namespace rapt::embedding
