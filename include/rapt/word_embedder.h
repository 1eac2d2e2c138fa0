/// Vectors of the words of a text, at each layer of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rapt/error.h"
#include "rapt/precision.h"

namespace rapt {

/// A word of a text: letters, marks, digits and connectors between spaces and punctuation, and apostrophes inside.
struct Word {
  std::string text;       ///< as it stands in the text
  std::size_t begin = 0;  ///< byte of the text at which it begins
  std::size_t end = 0;    ///< byte behind it
  int tokens = 0;         ///< that stand for it or a part of it
};

struct WordVectors {
  std::vector<Word> words;
  std::vector<int> layers;      ///< of each word's vectors, in this order
  std::int64_t dimensions = 0;  ///< of a vector: d_model
  std::vector<float> values;    ///< [words, layers, dimensions]
  /// Words at the end of a text that is longer than the model's positions: they have no vectors.
  std::int64_t words_left_out = 0;

  /// Of words[word] at layers[layer].
  std::span<const float> vector(std::size_t word, std::size_t layer) const {
    const auto width = static_cast<std::size_t>(dimensions);
    return std::span(values).subspan((word * layers.size() + layer) * width, width);
  }
};

struct WordEmbedderOptions {
  int threads = 0;  ///< 0: as many as the process may use
  Precision precision = Precision::f32;
  /// 0: embeddings as they enter the first block, with what the model adds to them (positions, segments, norm); N: what
  /// block N gives; the last after the model's last norm, as transformers' hidden_states. Negative: counted from the
  /// last, which is -1. Empty: all.
  std::vector<int> layers = {};
  /// Changes how layers attend, in place of what the model says. See docs/design.md, section 9.
  std::string attention = {};
};

/// What an encoder or a decoder-only language model makes of each word of a text, layer by layer: the mean of the
/// vectors of the word's tokens. A word's vector depends on the words around it (Ethayarajh, "How Contextual are
/// Contextualized Word Representations?", 2019); in a decoder-only model, on those before it alone. Special tokens are
/// put around a text as the model's tokenizer does. One embedder is used by one thread at a time.
class WordEmbedder {
 public:
  /// Reads a Hugging Face directory or a GGUF file. Throws Error naming file and place when something is amiss, when
  /// the model translates, or when it has no such layer.
  explicit WordEmbedder(const std::filesystem::path& model, const WordEmbedderOptions& options = {});
  ~WordEmbedder();
  WordEmbedder(WordEmbedder&&) noexcept;
  WordEmbedder& operator=(WordEmbedder&&) noexcept;

  /// Of each text, in order; the same bits alone and among others. Words of which the tokenizer makes nothing are
  /// passed over; a token that stands for parts of two words counts for both. Throws Error for invalid UTF-8.
  std::vector<WordVectors> embed(std::span<const std::string> texts);
  WordVectors embed(const std::string& text);

  /// Number of blocks: layers are 0 to layers().
  int layers() const;
  std::int64_t dimensions() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rapt
