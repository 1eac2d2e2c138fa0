#include "rapt/embedder.h"

#include "embedding/sentence_encoder.h"

namespace rapt {

class Embedder::Impl : public embedding::SentenceEncoder {
  using SentenceEncoder::SentenceEncoder;
};

Embedder::Embedder(const std::filesystem::path& directory, const EmbedderOptions& options)
    : impl_(std::make_unique<Impl>(directory, options)) {}
Embedder::~Embedder() = default;
Embedder::Embedder(Embedder&&) noexcept = default;
Embedder& Embedder::operator=(Embedder&&) noexcept = default;

std::vector<float> Embedder::embed(const std::string& text) {
  return std::move(embed(std::span(&text, 1))[0]);
}

std::vector<std::vector<float>> Embedder::embed(std::span<const std::string> texts) {
  std::vector<std::vector<float>> vectors;
  for (embedding::Embedding& embedding : impl_->embed(texts)) vectors.push_back(std::move(embedding.vector));
  return vectors;
}

std::int64_t Embedder::dimensions() const {
  return impl_->dimensions();
}

std::int64_t Embedder::max_tokens() const {
  return impl_->max_tokens();
}

std::int64_t Embedder::tokens_left_out(const std::string& text) const {
  return impl_->tokenize(text).left_out;
}

}  // namespace rapt
