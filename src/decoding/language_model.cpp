#include "decoding/language_model.h"

#include <algorithm>
#include <numeric>

#include "decoding/cache_memory.h"
#include "decoding/checks.h"
#include "families/checkpoint.h"
#include "text/text_frame.h"
#include "text/utf8.h"

namespace rapt::decoding {
namespace {

/// Tokens of a prompt in positions of the model, where every token sees all before it: reading takes time quadratic in
/// the prompt, and far beyond its positions a model writes nothing of use.
constexpr std::int64_t kMostTimesPositions = 16;

void check_options(const GenerateOptions& options) {
  require(options.max_tokens >= 1, "max_tokens: expected at least 1, found {}", options.max_tokens);
  check_range("samples", options.samples, 1, 65536);
  check_range("beam", options.beam, 0, 65536);
  require(options.nbest >= 1 && options.nbest <= std::max(options.beam, 1),
          "nbest: expected 1 to {} (the beam), found {}", std::max(options.beam, 1), options.nbest);
  require(options.beam == 0 || options.samples == 1,
          "samples: beam search finds the likeliest texts, of which nbest says how many; found {}", options.samples);
  require_utf8(options.prefix, "the prefix");
  for (const std::string& stop : options.stop) require_utf8(stop, "a stop string");
  static_cast<void>(StopStrings(options.stop));  // has its own demands
}

std::int32_t texts_of_prompt(const GenerateOptions& options) {
  return std::max(options.samples, options.beam);
}

/// A text in the making: what its tokens bring, piece by piece.
class Writing {
 public:
  Writing(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt, const std::string& prefix,
          const std::vector<std::string>& stop)
      : continuation_(tokenizer, prompt, stop) {
    text_.text = prefix;
    text_.prompt_tokens = std::ssize(prompt);
  }

  /// What the token brings for certain.
  std::string_view add(std::int32_t token) {
    text_.tokens.push_back({.id = token, .text = continuation_.add(token)});
    return text_.tokens.back().text;
  }
  bool stopped() const { return continuation_.stopped(); }
  /// What was uncertain.
  std::string finish() {
    std::string rest = continuation_.finish();
    if (!text_.tokens.empty()) text_.tokens.back().text += rest;
    return rest;
  }
  GeneratedText done(std::optional<std::int32_t> end, std::span<const double> log_probabilities) && {
    for (const GeneratedToken& token : text_.tokens) text_.text += token.text;
    if (end) text_.tokens.push_back({.id = *end});
    for (std::size_t i = 0; i < log_probabilities.size(); ++i) text_.tokens[i].log_probability = log_probabilities[i];
    text_.log_probability = std::accumulate(log_probabilities.begin(), log_probabilities.end(), 0.0);
    return std::move(text_);
  }

 private:
  Continuation continuation_;
  GeneratedText text_;
};

DType type_of(Precision precision) {
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

FinishReason reason_of_length(std::size_t tokens, const GenerateOptions& options) {
  return tokens < static_cast<std::size_t>(options.max_tokens) ? FinishReason::context : FinishReason::length;
}

}  // namespace

LanguageModel::LanguageModel(const std::filesystem::path& path, const GeneratorOptions& options)
    : ctx_({.threads = options.threads, .compute = type_of(options.precision)}),
      cache_(type_of(options.cache.value_or(options.precision))),
      model_(map_model(path, parse_attention_rules(options.attention))),
      config_(read_generation_config(path)) {
  const ModelConfig& config = model_->config();
  require(!config.encoder_only(), "{}: a {} model encodes texts and does not continue them; use rapt embed",
          path.string(), config.family);
  require(config.decoder_only(), "{}: a {} model translates; use rapt translate", path.string(), config.family);
  if (config_.forced_bos) config_.ignored.emplace_back("forced_bos_token_id");
  tokenizer_ = load_tokenizer(path);
  end_tokens_ = config_.end;
  end_tokens_.insert(end_tokens_.end(), config.more_eos.begin(), config.more_eos.end());
  if (config.eos >= 0) end_tokens_.push_back(config.eos);
  if (tokenizer_->special().eos) end_tokens_.push_back(*tokenizer_->special().eos);
  std::ranges::sort(end_tokens_);
  end_tokens_.erase(std::unique(end_tokens_.begin(), end_tokens_.end()), end_tokens_.end());
  for (const std::int32_t token : end_tokens_) {
    require(token < config.vocab, "{}: the token {} that ends texts is not one of the {} of the model", path.string(),
            token, config.vocab);
  }
  without_text_ = ids_without_piece(*tokenizer_, config.vocab, end_tokens_);
}

std::optional<std::uint64_t> LanguageModel::memory_for_cache() const {
  return free_beside_weights(*model_, ctx_.compute, computed_);
}

/// Room for all texts of some prompts. Throws Error when the memory has none.
ModelStepperOptions LanguageModel::stepper_options(const Group& group, const GenerateOptions& options,
                                                   const OnRead& on_read) const {
  const auto longest = std::ranges::max_element(group.prompts, {}, [](const auto& prompt) { return prompt.size(); });
  const auto count = static_cast<std::int32_t>(group.prompts.size());
  ModelStepperOptions stepper{.sequences = count,
                              .max_hypotheses = count * texts_of_prompt(options),
                              .capacity = static_cast<std::int32_t>(longest->size()) + options.max_tokens,
                              .before_chunk = on_read,
                              .cache = cache_};
  const ModelConfig& config = model_->config();
  const std::int64_t tokens =
      config.limited_positions() ? std::min<std::int64_t>(stepper.capacity, config.max_positions) : stepper.capacity;
  require_room(*model_, {.texts = stepper.max_hypotheses, .tokens = tokens, .dtype = cache_}, memory_for_cache());
  return stepper;
}

SamplingOptions LanguageModel::sampling(const GenerateOptions& options) const {
  const SamplingChoices choices = merged(options.sampling, config_.sampling);
  const SamplingOptions off;
  return {.forbidden = without_text_,
          .repetition_penalty = choices.repetition_penalty.value_or(off.repetition_penalty),
          .temperature = choices.temperature.value_or(off.temperature),
          .top_k = choices.top_k.value_or(off.top_k),
          .top_p = choices.top_p.value_or(off.top_p),
          .min_p = choices.min_p.value_or(off.min_p),
          .seed = options.seed};
}

std::vector<std::int32_t> LanguageModel::first_tokens(const std::string& prompt, const GenerateOptions& options) const {
  require_utf8(prompt, "the prompt");
  std::vector<std::int32_t> tokens = tokenizer_->encode(prompt + options.prefix);
  if (tokens.empty() && model_->config().bos >= 0) tokens.push_back(model_->config().bos);
  require(!tokens.empty(), "the prompt is empty; this model needs a first token to go on from");
  const ModelConfig& config = model_->config();
  require(!config.decoder_attention.empty() || std::ssize(tokens) <= kMostTimesPositions * config.max_positions,
          "the prompt has {} tokens, more than {} times the {} that the model was made for; shorten it", tokens.size(),
          kMostTimesPositions, config.max_positions);
  return tokens;
}

void LanguageModel::check(const std::string& prompt, const GenerateOptions& options) const {
  check_options(options);
  decoding::check(sampling(options), static_cast<std::int32_t>(model_->config().vocab));
  const auto tokens = std::ssize(first_tokens(prompt, options));
  const ModelConfig& config = model_->config();
  require(!config.limited_positions() || tokens < config.max_positions,
          "the prompt has {} tokens, which leave no room in a model of {} positions; shorten it", tokens,
          config.max_positions);
}

std::vector<LanguageModel::Group> LanguageModel::groups(std::span<const std::string> prompts,
                                                        const GenerateOptions& options) const {
  std::vector<Group> groups;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    std::vector<std::int32_t> prompt = first_tokens(prompts[i], options);
    const std::int64_t of_prompt = (std::ssize(prompt) + options.max_tokens) * texts_of_prompt(options);
    if (groups.empty() || tokens + of_prompt > options.batch_tokens) {
      groups.push_back({.first = i});
      tokens = 0;
    }
    tokens += of_prompt;
    groups.back().prompts.push_back(std::move(prompt));
  }
  return groups;
}

LanguageModel::Ends LanguageModel::ends(const GenerateOptions& options) const {
  Ends ends{.tokens = end_tokens_};
  for (const std::string& stop : options.stop) {
    const std::vector<std::int32_t> ids = tokenizer_->encode(stop, {.special_tokens = false});
    const bool is_token = ids.size() == 1 && tokenizer_->decode(ids).empty();
    if (is_token) {
      ends.tokens.push_back(ids[0]);
    } else {
      ends.strings.push_back(stop);
    }
  }
  return ends;
}

std::vector<std::vector<GeneratedText>> LanguageModel::generate(std::span<const std::string> prompts,
                                                                const GenerateOptions& options, const OnText& on_text,
                                                                const OnRead& on_read) {
  check_options(options);
  const Ends ends = this->ends(options);
  Texts texts;
  for (const Group& group : groups(prompts, options)) {
    Texts of_group =
        options.beam > 0 ? search(group, ends, options, on_read) : draw(group, ends, options, on_text, on_read);
    std::ranges::move(of_group, std::back_inserter(texts));
  }
  return texts;
}

LanguageModel::Texts LanguageModel::draw(const Group& group, const Ends& ends, const GenerateOptions& options,
                                         const OnText& on_text, const OnRead& on_read) {
  const auto samples = static_cast<std::size_t>(options.samples);
  const std::size_t count = group.prompts.size() * samples;
  GenerationOptions generation{.sampling = sampling(options),
                               .stop = ends.tokens,
                               .max_tokens = options.max_tokens,
                               .samples = options.samples,
                               .streams = std::vector<std::uint64_t>(count),
                               .log_probabilities = options.log_probabilities};
  std::iota(generation.streams.begin(), generation.streams.end(), options.stream + group.first * samples);

  std::vector<Writing> writings;
  for (std::size_t i = 0; i < count; ++i)
    writings.emplace_back(*tokenizer_, group.prompts[i / samples], options.prefix, ends.strings);
  const auto show = [&](std::size_t text, std::string_view more) {
    return more.empty() || !on_text || on_text(group.first + text / samples, text % samples, more);
  };
  for (std::size_t i = 0; i < count; ++i) show(i, options.prefix);

  ModelStepper stepper(ctx_, *model_, stepper_options(group, options, on_read));
  computed_ = true;
  const auto generations = decoding::generate(
      ctx_, stepper, RaggedTokens::of(group.prompts), generation, [&](std::int32_t text, std::int32_t token) {
        Writing& writing = writings[static_cast<std::size_t>(text)];
        const bool go_on = show(static_cast<std::size_t>(text), writing.add(token));
        return go_on && !writing.stopped();
      });
  Texts texts(group.prompts.size());
  for (std::size_t i = 0; i < count; ++i) {
    const Generation& generation_of_text = generations[i];
    show(i, writings[i].finish());
    const bool stopped = writings[i].stopped();
    GeneratedText text = std::move(writings[i]).done(generation_of_text.end, generation_of_text.log_probabilities);
    text.finish = stopped                                          ? FinishReason::stop
                  : generation_of_text.finish == Finish::stop      ? FinishReason::end
                  : generation_of_text.finish == Finish::cancelled ? FinishReason::cancelled
                                                                   : reason_of_length(text.tokens.size(), options);
    texts[i / samples].push_back(std::move(text));
  }
  return texts;
}

LanguageModel::Texts LanguageModel::search(const Group& group, const Ends& ends, const GenerateOptions& options,
                                           const OnRead& on_read) {
  const auto write = [&](std::size_t prompt, std::span<const std::int32_t> tokens) {
    Writing writing(*tokenizer_, group.prompts[prompt], options.prefix, ends.strings);
    for (const std::int32_t token : tokens) writing.add(token);
    return writing;
  };
  BeamOptions beam{.beam = options.beam,
                   .nbest = options.nbest,
                   .length_penalty = options.length_penalty,
                   .alpha = options.alpha,
                   .repetition_penalty = sampling(options).repetition_penalty,
                   .forbidden = without_text_,
                   .max_length_offset = options.max_tokens,
                   .max_length = options.max_tokens};
  if (!ends.tokens.empty()) {
    beam.eos = ends.tokens.front();
    beam.more_eos.assign(ends.tokens.begin() + 1, ends.tokens.end());
  }
  if (!ends.strings.empty()) {
    beam.is_complete = [&](std::int32_t prompt, std::span<const std::int32_t> tokens) {
      return write(static_cast<std::size_t>(prompt), tokens).stopped();
    };
  }
  ModelStepper stepper(ctx_, *model_, stepper_options(group, options, on_read));
  computed_ = true;
  const auto found = beam_search(ctx_, stepper, RaggedTokens::of(group.prompts), {}, beam);
  Texts texts(group.prompts.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const Hypothesis& hypothesis : found[i]) {
      Writing writing = write(i, hypothesis.tokens);
      writing.finish();
      const bool stopped = writing.stopped();
      GeneratedText text = std::move(writing).done(hypothesis.end, hypothesis.log_probabilities);
      text.score = hypothesis.score;
      text.finish = stopped          ? FinishReason::stop
                    : hypothesis.end ? FinishReason::end
                                     : reason_of_length(text.tokens.size(), options);
      texts[i].push_back(std::move(text));
    }
  }
  return texts;
}

}  // namespace rapt::decoding
