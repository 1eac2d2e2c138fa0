#include "decoding/translation_model.h"

#include <algorithm>
#include <array>
#include <utility>

#include "decoding/alignment.h"
#include "decoding/cache_memory.h"
#include "decoding/segments.h"
#include "families/checkpoint.h"
#include "text/utf8.h"

namespace rapt::decoding {
namespace {

/// The n-th best of a part, or its last if it has fewer.
const Hypothesis& nth(const TranslatedPart& part, std::size_t n) {
  return part.hypotheses[std::min(n, part.hypotheses.size() - 1)];
}

}  // namespace

std::vector<std::int32_t> written_tokens(const Hypothesis& hypothesis) {
  std::vector<std::int32_t> tokens = hypothesis.tokens;
  if (hypothesis.end) tokens.push_back(*hypothesis.end);
  return tokens;
}

TranslationModel::TranslationModel(const std::filesystem::path& directory, const TranslatorOptions& options)
    : ctx_({.threads = options.threads, .compute = options.precision == Precision::bf16 ? DType::bf16 : DType::f32}),
      model_(map_model(directory, parse_attention_rules(options.attention))),
      config_(read_generation_config(directory)) {
  require(model_->config().encoder_decoder(), "{}: a {} model does not translate; use rapt {}", directory.string(),
          model_->config().family, model_->config().encoder_only() ? "embed" : "generate");
  tokenizer_ = load_tokenizer(directory);
  const auto fits = [&](const char* side, const Tokenizer& tokenizer, std::int64_t vocab) {
    require(tokenizer.vocab_size() <= vocab,
            "{}: the {} tokenizer has {} pieces, config.json only {}; the files are not from the same model",
            directory.string(), side, tokenizer.vocab_size(), vocab);
  };
  fits("source", *tokenizer_, model_->config().source_vocabulary());
  fits("target", tokenizer_->target(), model_->config().vocab);
  const ModelConfig& config = model_->config();
  without_piece_ = ids_without_piece(tokenizer_->target(), config.vocab, std::array{config.eos});
  if (!options.source_language.empty() || !options.target_language.empty())
    frames_ = pair_frames(*tokenizer_, std::array{config.eos, config.bos, config.pad},
                          {.source = options.source_language, .target = options.target_language}, directory.string());
}

std::int32_t TranslationModel::decoder_start() const {
  return frames_ && frames_->language && frames_->language_ends ? *frames_->language : model_->config().decoder_start;
}

std::vector<std::int32_t> TranslationModel::encode_source(std::string_view text) const {
  if (!frames_) return tokenizer_->encode(text);
  return frames_->source.around(tokenizer_->encode(text, {.special_tokens = false}));
}

std::vector<std::int32_t> TranslationModel::encode_target(std::string_view text) const {
  if (!frames_) return tokenizer_->target().encode(text);
  return frames_->target.around(tokenizer_->target().encode(text, {.special_tokens = false}));
}

TranslationOptions TranslationModel::search_options(const TranslateOptions& options) const {
  TranslationOptions search{
      .beam = options.beam,
      .nbest = options.nbest,
      .length_penalty = options.length_penalty,
      .alpha = options.alpha,
      .repetition_penalty = options.repetition_penalty.value_or(config_.sampling.repetition_penalty.value_or(1)),
      .batch_tokens = options.batch_tokens,
      .decoder_start = decoder_start(),
      .forced_bos = config_.forced_bos,
      .forbidden = without_piece_};
  if (frames_ && frames_->language && !frames_->language_ends) search.forced_bos = frames_->language;
  return search;
}

std::vector<std::vector<TranslatedPart>> TranslationModel::translate(std::span<const std::string> lines,
                                                                     const TranslateOptions& options,
                                                                     const TranslationObserver& observer) {
  const int limit = static_cast<int>(std::min<std::int64_t>(model_->config().max_positions, 512));
  const auto count = [&](std::string_view text) { return static_cast<int>(encode_source(text).size()); };
  std::vector<std::vector<std::int32_t>> sources;
  std::vector<std::size_t> line_of;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find_first_not_of(" \t") == std::string::npos) continue;
    const std::vector<std::string> parts = split_text(lines[i], limit, count);
    if (parts.size() > 1 && observer.on_parts) observer.on_parts(i, parts.size());
    for (const std::string& part : parts) {
      sources.push_back(encode_source(part));
      line_of.push_back(i);
    }
  }
  TranslationOptions search = search_options(options);
  search.on_progress = observer.on_progress;
  search.free_memory = [&, computed = computed_]() mutable {
    return free_beside_weights(*model_, ctx_.compute, std::exchange(computed, true));
  };
  for (const std::size_t line : line_of) search.lines.push_back(observer.first_line + static_cast<std::int64_t>(line));
  if (!options.prefix.empty()) {
    require_utf8(options.prefix, "the prefix");
    const auto prefix = tokenizer_->target().encode(options.prefix, {.special_tokens = false});
    search.prefixes.resize(sources.size());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (i == 0 || line_of[i] != line_of[i - 1]) search.prefixes[i] = prefix;
    }
  }
  auto hypotheses = decoding::translate(ctx_, *model_, sources, search);
  computed_ = computed_ || !sources.empty();
  std::vector<std::vector<TranslatedPart>> translated(lines.size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    translated[line_of[i]].push_back({std::move(sources[i]), std::move(hypotheses[i])});
  }
  return translated;
}

std::vector<Translation> TranslationModel::join(const std::vector<TranslatedPart>& parts,
                                                const TranslateOptions& options) {
  std::vector<Translation> translations;
  for (int n = 0; n < options.nbest; ++n) {
    Translation translation;
    int source_words = 0;
    int target_words = 0;
    for (const TranslatedPart& part : parts) {
      const Hypothesis& hypothesis = nth(part, static_cast<std::size_t>(n));
      const std::string text = tokenizer_->target().decode(hypothesis.tokens);
      if (!translation.text.empty() && !text.empty()) translation.text += ' ';
      translation.text += text;
      translation.score += hypothesis.score;
      translation.log_probability += hypothesis.log_probability;
      if (!options.align) continue;
      for (const AlignedWords& pair : align(part, hypothesis, options.align_layer)) {
        translation.alignment.push_back({source_words + pair.source, target_words + pair.target});
      }
      const auto words = [](const std::vector<int>& of_pieces) { return 1 + *std::ranges::max_element(of_pieces); };
      source_words += words(words_of_pieces(*tokenizer_, part.source));
      if (!hypothesis.tokens.empty()) target_words += words(words_of_pieces(tokenizer_->target(), hypothesis.tokens));
    }
    translations.push_back(std::move(translation));
  }
  return translations;
}

std::vector<CapturedAttention> TranslationModel::attention(const TranslatedPart& part, const Hypothesis& hypothesis,
                                                           std::set<AttentionKind> kinds) {
  std::vector<std::int32_t> input = written_tokens(hypothesis);
  if (input.empty()) return {};
  input.insert(input.begin(), decoder_start());
  input.pop_back();
  AttentionCapture capture(std::move(kinds));
  const TraceScope scope(ctx_, capture);
  const auto one = [](const std::vector<std::int32_t>& ids) {
    return RaggedTokens{ids, Sequences({0, static_cast<std::int32_t>(ids.size())})};
  };
  const Ragged memory = model_->encode(ctx_, one(part.source));
  model_->decode(ctx_, one(input), &memory);
  absent_ = capture.absent();
  return capture.captured();
}

std::vector<AlignedWords> TranslationModel::align(const TranslatedPart& part, const Hypothesis& hypothesis, int layer) {
  const int layers = model_->config().decoder_layers;
  require(layer >= -1 && layer < layers, "alignment layer {}: this model's decoder has layers 0 to {}", layer,
          layers - 1);
  const int wanted = layer >= 0 ? layer : std::max(layers > 2 ? layers - 2 : layers - 1, 0);
  for (const CapturedAttention& map : attention(part, hypothesis, {AttentionKind::cross})) {
    if (map.layer != wanted) continue;
    const std::vector<std::int32_t> target = written_tokens(hypothesis);
    return align_words(map, words_of_pieces(*tokenizer_, part.source), words_of_pieces(tokenizer_->target(), target));
  }
  return {};
}

}  // namespace rapt::decoding
