#include "rapt/word_embedder.h"

#include "embedding/word_encoder.h"

namespace rapt {

class WordEmbedder::Impl : public embedding::WordEncoder {
  using WordEncoder::WordEncoder;
};

WordEmbedder::WordEmbedder(const std::filesystem::path& model, const WordEmbedderOptions& options)
    : impl_(std::make_unique<Impl>(model, options)) {}
WordEmbedder::~WordEmbedder() = default;
WordEmbedder::WordEmbedder(WordEmbedder&&) noexcept = default;
WordEmbedder& WordEmbedder::operator=(WordEmbedder&&) noexcept = default;

std::vector<WordVectors> WordEmbedder::embed(std::span<const std::string> texts) {
  return impl_->embed(texts);
}

WordVectors WordEmbedder::embed(const std::string& text) {
  return std::move(embed(std::span(&text, 1))[0]);
}

int WordEmbedder::layers() const {
  return impl_->layers();
}

std::int64_t WordEmbedder::dimensions() const {
  return impl_->dimensions();
}

}  // namespace rapt
