#include "cli/evaluate_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cli/progress.h"
#include "core/error.h"
#include "decoding/translation_model.h"
#include "families/checkpoint.h"
#include "training/corpus.h"
#include "training/evaluation.h"

namespace rapt::cli {
namespace {

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t") == std::string::npos;
}

/// How likely the model finds the references.
training::Score score_references(decoding::TranslationModel& model, const std::vector<std::string>& sources,
                                 const std::vector<std::string>& references, std::int64_t batch_tokens) {
  const std::int64_t positions = model.model().config().max_positions;
  training::ParallelTokens pairs;
  std::int64_t too_long = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (is_blank(sources[i]) || is_blank(references[i])) continue;
    const auto source = model.encode_source(sources[i]);
    const auto target = model.encode_target(references[i]);
    if (std::max(std::ssize(source), std::ssize(target)) > positions) {
      ++too_long;
      continue;
    }
    pairs.source.add(source);
    pairs.target.add(target);
    pairs.lines.push_back(static_cast<std::int64_t>(i) + 1);
  }
  if (too_long > 0)
    warn("{} pairs are longer than the model's {} positions and have no part in the references' loss", too_long,
         positions);
  if (pairs.lines.empty()) return {};
  const training::Evaluator evaluator(training::validation_batches(pairs, batch_tokens, model.decoder_start()),
                                      std::nullopt);
  return evaluator.evaluate(model.context(), model.model());
}

}  // namespace

TranslatedSegments translate_segments(const ModelOptions& options, const std::vector<std::string>& sources,
                                      const std::vector<std::string>& references) {
  decoding::TranslationModel model(options.directory, {.threads = options.compute.threads,
                                                       .precision = options.compute.precision,
                                                       .attention = options.use_attention,
                                                       .source_language = options.languages.source,
                                                       .target_language = options.languages.target});
  TranslatedSegments result{.attention = attention_text(model.model().config())};
  ProgressLine progress("lines");
  const auto lines = static_cast<double>(sources.size());
  for (const auto& parts : model.translate(sources, options.search,
                                           {.on_progress = [&](double part) { progress.show(part * lines, lines); }}))
    result.translations.push_back(model.join(parts, options.search).front().text);
  result.reference = score_references(model, sources, references, options.search.batch_tokens);
  return result;
}

TextScore score_text(const ModelOptions& options, const std::string& file) {
  const auto model = map_model(options.directory, parse_attention_rules(options.use_attention));
  const ModelConfig& config = model->config();
  require(!config.encoder_only(), "{}: a {} model encodes texts and does not continue them", options.directory,
          config.family);
  require(config.decoder_only(), "{}: a {} model translates; give --source and --reference instead of --text",
          options.directory, config.family);
  const auto tokenizer = load_tokenizer(options.directory);
  const std::string text = training::read_text(file, {.skip_invalid = options.skip_invalid}).text;
  const std::int64_t positions = config.max_positions;
  TextScore result{.context = options.context > 0 ? options.context : positions, .attention = attention_text(config)};
  require(result.context <= positions || !config.limited_positions(), "--context {}: the model has {} positions",
          result.context, positions);
  if (result.context > positions) warn("--context {}: the model was made for {} tokens", result.context, positions);
  result.stride = options.stride > 0 ? options.stride : std::max<std::int64_t>(1, result.context / 2);
  require(result.stride <= result.context, "--stride {}: it must not exceed the context, {}", result.stride,
          result.context);
  Context ctx({.threads = options.compute.threads,
               .compute = options.compute.precision == Precision::bf16 ? DType::bf16 : DType::f32});
  ProgressLine progress("windows");
  result.score = training::evaluate_text(ctx, *model, tokenizer->encode(text),
                                         {.context = result.context, .stride = result.stride},
                                         [&](double done, double all) { progress.show(done, all); });
  result.bits_per_byte = result.score.loss * static_cast<double>(result.score.tokens) / std::numbers::ln2 /
                         static_cast<double>(text.size());
  return result;
}

}  // namespace rapt::cli
