#include "training/task.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "text/character_tokenizer.h"
#include "training/progress.h"
#include "training/vocabulary.h"

namespace rapt::training {
namespace {

/// Sentences to translate may be longer than those trained on; sinusoids cost next to nothing.
constexpr std::int64_t least_positions = 512;

ModelConfig translation_config(const Recipe& recipe, const Tokenizer& tokenizer) {
  const Architecture& model = recipe.model;
  const std::int32_t pad = tokenizer.special().pad.value();
  ModelConfig config{.family = "marian",
                     .vocab = tokenizer.target().vocab_size(),
                     .source_vocab = tokenizer.vocab_size(),
                     .d_model = model.d_model,
                     .encoder_layers = model.encoder_layers,
                     .decoder_layers = model.decoder_layers,
                     .encoder_heads = model.heads,
                     .decoder_heads = model.heads,
                     .encoder_ff = model.d_ff,
                     .decoder_ff = model.d_ff,
                     .activation = model.activation,
                     .norm = NormPlacement::post,
                     .positions = Positions::sinusoidal,
                     .max_positions = std::max(recipe.batches.max_length, least_positions),
                     .scale_embedding = true,
                     .shared_embeddings = recipe.vocabulary.joint,
                     .pad = pad,
                     .eos = tokenizer.special().eos.value(),
                     .decoder_start = pad,
                     .dropout = static_cast<float>(model.dropout),
                     .embedding_dropout = static_cast<float>(model.dropout),
                     .attention_dropout = static_cast<float>(model.attention_dropout),
                     .activation_dropout = static_cast<float>(model.activation_dropout)};
  choose_attention(model.attention, config);
  return config;
}

ModelConfig language_config(const Recipe& recipe, const Tokenizer& tokenizer) {
  const Architecture& model = recipe.model;
  require(model.activation_dropout == 0, "--activation-dropout {}: a language model (GPT-2) has none",
          model.activation_dropout);
  ModelConfig config{.family = "gpt2",
                     .vocab = tokenizer.vocab_size(),
                     .d_model = model.d_model,
                     .encoder_layers = 0,
                     .decoder_layers = model.decoder_layers,
                     .decoder_heads = model.heads,
                     .decoder_ff = model.d_ff,
                     .activation = model.activation,
                     .norm = NormPlacement::pre,
                     .positions = Positions::learned,
                     .max_positions = recipe.batches.context,
                     .scale_embedding = false,
                     .eos = tokenizer.special().eos.value_or(-1),
                     .dropout = static_cast<float>(model.dropout),
                     .embedding_dropout = static_cast<float>(model.dropout),
                     .attention_dropout = static_cast<float>(model.attention_dropout)};
  choose_attention(model.attention, config);
  return config;
}

void tell_pairs(Observer& observer, std::string_view what, const ParallelCorpus& corpus) {
  observer.note(fmt::format(
      "{}: {} pairs, {} source and {} target tokens{}", what, grouped(static_cast<std::int64_t>(corpus.tokens.size())),
      grouped(corpus.tokens.source.tokens()), grouped(corpus.tokens.target.tokens()), dropped(corpus.report)));
}

void remember_pairs(Task& task, const std::string& prefix, const ParallelFiles& files, const CorpusReport& report) {
  task.files.push_back({prefix + "source", files.source.string(), report.digests[0]});
  task.files.push_back({prefix + "target", files.target.string(), report.digests[1]});
}

std::vector<std::string> references_of(const ParallelFiles& files, const CorpusOptions& options,
                                       const ParallelTokens& kept, std::size_t count) {
  std::vector<std::string> references;
  PairReader reader(files, options);
  while (references.size() < count && reader.next()) {
    if (reader.line() == kept.lines[references.size()]) references.push_back(reader.target());
  }
  return references;
}

TranslationTask translation_task(const Recipe& recipe, const ParallelFiles& files, const CorpusOptions& options,
                                 const ParallelTokens& pairs, const Tokenizer& tokenizer) {
  TranslationTask task{
      .sources = {},
      .references = {},
      .decode = [&tokenizer](std::span<const std::int32_t> ids) { return tokenizer.target().decode(ids); },
      .beam = recipe.validation.beam,
      .batch_tokens = recipe.batches.tokens / recipe.validation.beam};
  const std::size_t count = std::min(static_cast<std::size_t>(recipe.validation.sentences), pairs.size());
  for (std::size_t i = 0; i < count; ++i) task.sources.emplace_back(pairs.source[i].begin(), pairs.source[i].end());
  task.references = references_of(files, options, pairs, count);
  return task;
}

CorpusOptions training_options(const Recipe& recipe, const TaskFiles& files) {
  return {.skip_invalid = files.skip_invalid, .max_length = recipe.batches.max_length};
}

void prepare_pairs(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files, Observer& observer) {
  const std::int64_t positions = std::max(recipe.batches.max_length, least_positions);
  if (!task.tokenizer)
    task.tokenizer = learn_vocabulary(*files.pairs, training_options(recipe, files), recipe.vocabulary, positions);
  const Tokenizer& tokenizer = *task.tokenizer;
  task.config = translation_config(recipe, tokenizer);
  observer.note(fmt::format("vocabulary: {} pieces{}", grouped(tokenizer.vocab_size()),
                            recipe.vocabulary.joint ? "" : " for each language"));
  const PairEncoder encoder{.source = [&](std::string_view text) { return tokenizer.encode(text); },
                            .target = [&](std::string_view text) { return tokenizer.target().encode(text); }};
  read_pairs(task, ctx, recipe, files, encoder, positions, observer);
}

void prepare_text(Task& task, const Recipe& recipe, const TaskFiles& files, Observer& observer) {
  require(recipe.vocabulary.type == VocabularyType::characters,
          "--vocab-type {}: language models are trained on characters; give --vocab-type char",
          find_setting("vocab-type").get(recipe));
  const CorpusOptions options{.skip_invalid = files.skip_invalid};
  const PlainText text = read_text(*files.text, options);
  task.files.push_back({"text", files.text->string(), text.report.digests[0]});
  PlainText dev;
  if (files.dev_text) {
    dev = read_text(*files.dev_text, options);
    task.files.push_back({"dev-text", files.dev_text->string(), dev.report.digests[0]});
  }
  HeldOut parts{.training = text.text, .validation = dev.text};
  if (!files.dev_text && files.dev_fraction > 0) parts = hold_out(text.text, files.dev_fraction);

  // Of both texts, so that validation meets no character without an id.
  if (!task.tokenizer) task.tokenizer = CharacterTokenizer::of_text(text.text + dev.text);
  task.config = language_config(recipe, *task.tokenizer);
  task.text = task.tokenizer->encode(parts.training);
  task.batches = std::make_unique<WindowBatches>(task.text, recipe.batches, recipe.seed);
  const std::vector<std::int32_t> held_out = task.tokenizer->encode(parts.validation);
  if (!held_out.empty()) task.evaluator.emplace(validation_batches(held_out, recipe.batches), std::nullopt);
  observer.note(fmt::format("vocabulary: {} characters", grouped(task.tokenizer->vocab_size())));
  observer.note(fmt::format("corpus: {} characters to train on, {} to validate with{}",
                            grouped(static_cast<std::int64_t>(task.text.size())),
                            grouped(static_cast<std::int64_t>(held_out.size())), dropped(text.report)));
}

}  // namespace

std::string dropped(const CorpusReport& report) {
  std::string text;
  const auto add = [&](std::int64_t count, std::string_view why) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "; dropped " : ", ", grouped(count), why);
  };
  add(report.empty, "empty");
  add(report.invalid, "not UTF-8");
  add(report.too_long, "too long");
  return text;
}

void tell_attention(Observer& observer, const Recipe& recipe, const ModelConfig& config) {
  const auto& rules = recipe.model.attention;
  if (rules.empty()) return;
  observer.note(fmt::format("attention: {}; the checkpoint says so to rapt, transformers attends as usual",
                            attention_text(config)));
  const bool linear = std::ranges::any_of(rules, [](const auto& rule) { return rule.attention.linear.has_value(); });
  if (linear && config.attention_dropout > 0)
    observer.note("attention dropout: none in linear layers, which have no weights to drop");
}

void read_pairs(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                const PairEncoder& encoder, std::int64_t positions, Observer& observer) {
  ParallelCorpus corpus = read_parallel_corpus(ctx, *files.pairs, training_options(recipe, files), encoder);
  tell_pairs(observer, "corpus", corpus);
  remember_pairs(task, "", *files.pairs, corpus.report);
  task.pairs = std::move(corpus.tokens);
  task.batches = std::make_unique<PairBatches>(task.pairs, recipe.batches, task.config.decoder_start, recipe.seed);
  if (!files.dev_pairs) return;

  const CorpusOptions validation{.skip_invalid = files.skip_invalid, .max_length = positions};
  const ParallelCorpus dev = read_parallel_corpus(ctx, *files.dev_pairs, validation, encoder);
  tell_pairs(observer, "validation", dev);
  remember_pairs(task, "dev-", *files.dev_pairs, dev.report);
  std::optional<TranslationTask> translation;
  if (recipe.validation.sentences > 0)
    translation = translation_task(recipe, *files.dev_pairs, validation, dev.tokens, *task.tokenizer);
  task.evaluator.emplace(validation_batches(dev.tokens, recipe.batches.tokens, task.config.decoder_start),
                         std::move(translation));
}

std::unique_ptr<Task> prepare_task(const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                                   const std::optional<std::filesystem::path>& checkpoint, Observer& observer) {
  auto task = std::make_unique<Task>();
  if (checkpoint) task->tokenizer = load_tokenizer(*checkpoint);
  if (recipe.translation()) {
    prepare_pairs(*task, ctx, recipe, files, observer);
  } else {
    prepare_text(*task, recipe, files, observer);
  }
  tell_attention(observer, recipe, task->config);
  return task;
}

}  // namespace rapt::training
