#include "embedding/sentence_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "embedding/token_limit.h"
#include "families/checkpoint.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::embedding {
namespace {

constexpr std::size_t kBatchTokens = 4096;

/// Whether a tokenizer takes capital letters for small ones anyway.
bool ignores_case(const Tokenizer& tokenizer) {
  const EncodeOptions plain{.special_tokens = false};
  const auto same = [&](const char* upper, const char* lower) {
    return tokenizer.encode(upper, plain) == tokenizer.encode(lower, plain);
  };
  return same("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz") && same("Ж", "ж") && same("Ω", "ω");
}

/// Indices of the texts, those with the most tokens first.
std::vector<std::size_t> by_length(const std::vector<TokenizedText>& texts) {
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return texts[i].ids.size(); });
  return order;
}

}  // namespace

SentenceEncoder::SentenceEncoder(const std::filesystem::path& directory, const EmbedderOptions& options)
    : ctx_({.threads = options.threads, .compute = options.precision == Precision::bf16 ? DType::bf16 : DType::f32}),
      modules_(read_modules(directory)),
      model_(map_model(modules_.encoder, parse_attention_rules(options.attention))) {
  const ModelConfig& config = model_->config();
  require(config.encoder_only(), "{}: a {} model {}; rapt embed needs an encoder, such as BERT or RoBERTa{}",
          modules_.encoder.string(), config.family, config.decoder_only() ? "continues texts" : "translates",
          config.decoder_only() ? "; for a vector of each word, give --words" : "");
  tokenizer_ = load_tokenizer(modules_.encoder);
  require(tokenizer_->vocab_size() <= config.vocab,
          "{}: the tokenizer has {} pieces, config.json only {}; the files are not from the same model",
          modules_.encoder.string(), tokenizer_->vocab_size(), config.vocab);
  closing_tokens_ = count_closing_tokens(*tokenizer_);
  require(max_tokens() > closing_tokens_, "{}: texts of at most {} tokens leave no room beside the special tokens",
          modules_.encoder.string(), max_tokens());
  require(!modules_.lower_case || ignores_case(*tokenizer_),
          "{}: \"do_lower_case\" is true in sentence_bert_config.json, but the tokenizer keeps capital letters; rapt "
          "does not support this",
          modules_.encoder.string());
  if (options.normalize) choose_normalization(*options.normalize);
  if (options.prompt) modules_.prompt = *options.prompt;
  require_utf8(modules_.prompt, "the prompt");
  require(modules_.pools_prompt || modules_.prompt.empty(),
          "{}: the pooling leaves out the tokens of prompts (\"include_prompt\": false), which rapt does not support",
          directory.string());
  check_widths();
}

void SentenceEncoder::choose_normalization(bool normalize) {
  auto& after = modules_.after;
  while (!after.empty() && std::holds_alternative<Normalize>(after.back())) after.pop_back();
  if (normalize) after.emplace_back(Normalize{});
}

void SentenceEncoder::check_widths() const {
  const std::int64_t d_model = model_->config().d_model;
  require(modules_.pooled_width == 0 || modules_.pooled_width == d_model,
          "{}: the pooling is of vectors of width {}, the encoder's are {} wide", modules_.encoder.string(),
          modules_.pooled_width, d_model);
  std::int64_t width = static_cast<std::int64_t>(modules_.poolings.size()) * d_model;
  for (const Module& module : modules_.after) {
    const Dense* const dense = std::get_if<Dense>(&module);
    if (dense == nullptr) continue;
    const Shape& shape = dense->linear.weight->shape();
    require(shape[1] == width, "{}: a dense layer takes {} numbers, what comes before it gives {}",
            modules_.encoder.string(), shape[1], width);
    width = shape[0];
  }
}

std::int64_t SentenceEncoder::dimensions() const {
  std::int64_t width = static_cast<std::int64_t>(modules_.poolings.size()) * model_->config().d_model;
  for (const Module& module : modules_.after) {
    if (const Dense* const dense = std::get_if<Dense>(&module)) width = dense->linear.weight->shape()[0];
  }
  return width;
}

std::int64_t SentenceEncoder::max_tokens() const {
  const std::int64_t positions = model_->config().max_positions;
  return modules_.max_tokens > 0 ? std::min(modules_.max_tokens, positions) : positions;
}

TokenizedText SentenceEncoder::tokenize(std::string_view text) const {
  TokenizedText result{.ids = tokenizer_->encode(modules_.prompt + std::string(text))};
  result.left_out = cut(result.ids, max_tokens(), closing_tokens_);
  return result;
}

std::vector<Embedding> SentenceEncoder::embed(std::span<const std::string> texts,
                                              const std::function<void(double part)>& on_progress) {
  std::vector<TokenizedText> tokenized(texts.size());
  ctx_.parallel_for(static_cast<std::int64_t>(texts.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    tokenized[index] = tokenize(texts[index]);
  });
  std::vector<Embedding> embeddings(texts.size());
  const std::vector<std::size_t> order = by_length(tokenized);
  std::size_t all = 0;
  for (const TokenizedText& text : tokenized) all += text.ids.size();
  std::size_t done = 0;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    std::vector<std::vector<std::int32_t>> batch;
    for (std::size_t tokens = 0; end < order.size(); ++end) {
      std::vector<std::int32_t>& ids = tokenized[order[end]].ids;
      tokens += ids.size();
      if (tokens > kBatchTokens && !batch.empty()) break;
      batch.push_back(std::move(ids));
    }
    const Tensor vectors = encode(RaggedTokens::of(batch));
    for (const auto& ids : batch) done += ids.size();
    if (on_progress) on_progress(static_cast<double>(done) / static_cast<double>(std::max<std::size_t>(all, 1)));
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = static_cast<std::int64_t>(i - begin);
      const auto values = vectors.rows(row, row + 1).values<float>();
      const bool finite = std::ranges::all_of(values, [](float x) { return std::isfinite(x); });
      require(finite, "the vector of text {} is not finite; the weights in {} are damaged", order[i] + 1,
              modules_.encoder.string());
      embeddings[order[i]] = {{values.begin(), values.end()}, tokenized[order[i]].left_out};
    }
  }
  return embeddings;
}

Tensor SentenceEncoder::encode(const RaggedTokens& batch) {
  const Ragged hidden = model_->encode(ctx_, batch);
  Tensor vectors = pool(ctx_, hidden.values.value(), hidden.sequences, modules_.poolings);
  for (const Module& module : modules_.after) {
    if (const Dense* const dense = std::get_if<Dense>(&module)) {
      Var y = dense->linear(ctx_, Var(vectors));
      if (dense->activation) y = ops::activation(ctx_, *dense->activation, y, 0);
      vectors = y.value();
    } else {
      normalize_rows(vectors);
    }
  }
  return vectors;
}

}  // namespace rapt::embedding
