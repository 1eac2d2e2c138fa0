#include "embedding/word_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention/trace.h"
#include "core/error.h"
#include "embedding/token_limit.h"
#include "families/checkpoint.h"
#include "kernels/convert.h"

namespace rapt::embedding {
namespace {

constexpr std::size_t kBatchTokensOfWords = 2048;

std::vector<int> check_layers(std::vector<int> layers, int last, const std::string& path) {
  if (layers.empty()) {
    layers.resize(static_cast<std::size_t>(last) + 1);
    std::iota(layers.begin(), layers.end(), 0);
  }
  for (int& layer : layers) {
    require(layer >= -last - 1 && layer <= last, "{}: there is no layer {}; layers are 0 (embeddings) to {}", path,
            layer, last);
    if (layer < 0) layer += last + 1;
  }
  return layers;
}

}  // namespace

/// Averages the vectors of words' tokens while the model computes them.
class WordEncoder::Average final : public Trace {
 public:
  Average(std::span<Reading> readings, const Sequences& sequences) : readings_(readings), sequences_(sequences) {}

  void attention(const Context&, const TracedAttention&) override {}

  void hidden_states(Context& ctx, AttentionKind, int layer, const Tensor& states) override {
    const std::vector<int>& layers = readings_.front().result.layers;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i] == layer) average(ctx, i, states);
    }
  }

 private:
  void average(Context& ctx, std::size_t layer, const Tensor& states) {
    Tensor rows = states;
    if (states.dtype() != DType::f32) {
      rows = ctx.allocate(states.shape(), DType::f32);
      kernels::convert(ctx, states, rows);
    }
    ctx.parallel_for(static_cast<std::int64_t>(readings_.size()), [&](std::int64_t i) {
      Reading& reading = readings_[static_cast<std::size_t>(i)];
      const std::int64_t first = sequences_.begin(static_cast<std::int32_t>(i));
      for (std::size_t word = 0; word < reading.tokens_of_words.size(); ++word) {
        const auto to = vector_of(reading.result, word, layer);
        for (const std::int32_t token : reading.tokens_of_words[word]) {
          const auto from = rows.rows(first + token, first + token + 1).values<float>();
          std::ranges::transform(to, from, to.begin(), std::plus());
        }
        const auto count = static_cast<float>(reading.tokens_of_words[word].size());
        for (float& x : to) x /= count;
      }
    });
  }

  static std::span<float> vector_of(WordVectors& result, std::size_t word, std::size_t layer) {
    const auto width = static_cast<std::size_t>(result.dimensions);
    return std::span(result.values).subspan((word * result.layers.size() + layer) * width, width);
  }

  std::span<Reading> readings_;
  Sequences sequences_;
};

WordEncoder::WordEncoder(const std::filesystem::path& path, const WordEmbedderOptions& options)
    : ctx_({.threads = options.threads, .compute = options.precision == Precision::bf16 ? DType::bf16 : DType::f32}),
      model_(map_model(path, parse_attention_rules(options.attention))),
      path_(path.string()) {
  const ModelConfig& config = model_->config();
  require(!config.encoder_decoder(),
          "{}: a {} model translates; vectors of words come from encoders and language models", path_, config.family);
  tokenizer_ = load_tokenizer(path);
  require(tokenizer_->vocab_size() <= config.vocab,
          "{}: the tokenizer has {} pieces, config.json only {}; the files are not from the same model", path_,
          tokenizer_->vocab_size(), config.vocab);
  closing_tokens_ = count_closing_tokens(*tokenizer_);
  layers_ = check_layers(options.layers, layers(), path_);
}

int WordEncoder::layers() const {
  const ModelConfig& config = model_->config();
  return config.encoder_only() ? config.encoder_layers : config.decoder_layers;
}

WordEncoder::Reading WordEncoder::read(const std::string& text) const {
  Reading reading{.ids = tokenizer_->encode(text), .tokens_of_words = {}, .result = {}};
  const std::vector<TextSpan> spans = token_spans(*tokenizer_, reading.ids, text);
  std::size_t read = spans.size();  // tokens before those that are left out
  if (model_->config().limited_positions()) {
    const std::int64_t limit = model_->config().max_positions;
    if (cut(reading.ids, limit, closing_tokens_) > 0) read = static_cast<std::size_t>(limit - closing_tokens_);
  }
  const std::vector<TextSpan> words = find_words(text);
  std::vector<std::vector<std::int32_t>> of_words = tokens_of_words(words, spans);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const TextSpan place = words[i];
    std::vector<std::int32_t>& tokens = of_words[i];
    if (tokens.empty()) continue;
    if (static_cast<std::size_t>(tokens.back()) >= read) {
      ++reading.result.words_left_out;
      continue;
    }
    reading.result.words.push_back({.text = text.substr(place.begin, place.end - place.begin),
                                    .begin = place.begin,
                                    .end = place.end,
                                    .tokens = static_cast<int>(tokens.size())});
    reading.tokens_of_words.push_back(std::move(tokens));
  }
  reading.result.layers = layers_;
  reading.result.dimensions = dimensions();
  reading.result.values.resize(reading.result.words.size() * layers_.size() * static_cast<std::size_t>(dimensions()));
  return reading;
}

std::vector<WordVectors> WordEncoder::embed(std::span<const std::string> texts) {
  std::vector<Reading> readings(texts.size());
  ctx_.parallel_for(static_cast<std::int64_t>(texts.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    readings[index] = read(texts[index]);
  });
  for (std::size_t begin = 0, end = 0; begin < readings.size(); begin = end) {
    std::size_t tokens = 0;
    do {
      tokens += readings[end++].ids.size();
    } while (end < readings.size() && tokens + readings[end].ids.size() <= kBatchTokensOfWords);
    run(std::span(readings).subspan(begin, end - begin));
  }
  std::vector<WordVectors> results;
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const bool finite = std::ranges::all_of(readings[i].result.values, [](float x) { return std::isfinite(x); });
    require(finite, "the vectors of text {} are not finite; the weights in {} are damaged", i + 1, path_);
    results.push_back(std::move(readings[i].result));
  }
  return results;
}

void WordEncoder::run(std::span<Reading> readings) {
  std::vector<std::vector<std::int32_t>> lists;
  for (const Reading& reading : readings) lists.push_back(reading.ids);
  const RaggedTokens batch = RaggedTokens::of(lists);
  if (batch.ids.empty()) return;
  Average average(readings, batch.sequences);
  const TraceScope scope(ctx_, average);
  if (model_->config().encoder_only()) {
    model_->encode(ctx_, batch);
  } else {
    model_->decode(ctx_, batch, nullptr);
  }
}

}  // namespace rapt::embedding
