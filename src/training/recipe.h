/// Recipes: every number that decides what a run computes, as data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/elementwise.h"
#include "model/attention_rules.h"
#include "rapt/precision.h"
#include "training/batching.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace rapt::training {

/// The size of a Transformer: encoder-decoder (translation) when encoder_layers > 0, a language model otherwise.
struct Architecture {
  int encoder_layers = 6;
  int decoder_layers = 6;
  std::int64_t d_model = 512;
  std::int64_t d_ff = 2048;
  int heads = 8;
  kernels::Activation activation = kernels::Activation::relu;
  double dropout = 0.1;
  double attention_dropout = 0;
  double activation_dropout = 0;
  std::vector<AttentionRule> attention = {};  ///< where layers do not attend as usual
};

enum class VocabularyType { bpe, unigram, characters };

struct VocabularyOptions {
  VocabularyType type = VocabularyType::bpe;
  int size = 8000;    ///< pieces, special tokens included; characters take as many as the text has
  bool joint = true;  ///< one vocabulary and one embedding for source and target
};

/// What validations are compared by.
enum class Metric { loss, bleu };

/// Which model a finished run leaves in its directory.
enum class FinalModel {
  automatic,  ///< the better of `average` and `best`, by the metric
  average,    ///< the mean of the last checkpoints
  best,       ///< the one that scored best in validation
  last,
};

/// When a run ends; 0 is no limit. The first one reached counts.
struct Limits {
  std::int64_t steps = 0;
  std::int64_t epochs = 0;
  double minutes = 0;
  double cooldown = 0;  ///< over the last part of the run the learning rate falls linearly to 0
};

struct Validation {
  std::int64_t every = 1000;     ///< steps; 0: only at the end
  Metric metric = Metric::loss;  ///< of `best`, patience and the final model
  int patience = 0;              ///< ends the run after this many validations without improvement; 0: never
  int sentences = 0;             ///< how many to translate for BLEU and chrF; 0: none
  int beam = 1;                  ///< of these translations; 1 is greedy
};

struct Checkpoints {
  std::int64_t every = 1000;  ///< steps; 0: only at the end
  int average = 0;            ///< how many of the last are averaged at the end; 0 or 1: none
  FinalModel final_model = FinalModel::automatic;
};

/// A model that is trained further, and how it reads its text.
struct FineTuning {
  std::string from;                  ///< directory of the model
  std::string document = "file";     ///< what ends a document of a text: training/documents.h
  std::string prefix = {};           ///< of every source, such as T5's "translate English to German: "
  std::string source_language = {};  ///< for tokenizers that mark a text with its language
  std::string target_language = {};
};

struct Recipe {
  std::string_view name;
  std::string_view about;
  Architecture model{};
  VocabularyOptions vocabulary{};
  BatchOptions batches{};
  int accumulate = 1;  ///< batches a step
  OptimizerOptions optimizer{};
  ScheduleOptions schedule{};
  double clip = 0;  ///< largest norm of the gradient; 0: no limit
  double label_smoothing = 0;
  std::int64_t dropout_warmup = 0;  ///< steps over which dropout rises from 0 to the model's
  Precision precision = Precision::f32;
  std::uint64_t seed = 1;  ///< of the first weights, of dropout and of the order of the corpus
  Limits limits{};
  Validation validation{};
  Checkpoints checkpoints{};
  int max_bad_steps = 5;  ///< steps in a row with a loss or gradient that is not finite, before the run stops

  /// A model that is there is trained further: `model` repeats its size, and `vocabulary` means nothing.
  bool fine_tunes = false;

  bool translation() const { return model.encoder_layers > 0 && model.decoder_layers > 0; }
};

/// All recipes, in the order in which help lists them.
std::span<const Recipe> recipes();
/// Throws Error that lists the names when there is none of this one.
const Recipe& find_recipe(std::string_view name);

/// Where a model is trained further.
const Recipe& fine_tuning_recipe();

/// One number of a recipe, as the command and the checkpoints know it.
struct Setting {
  std::string_view name;  ///< of the option, without "--"
  std::string_view help;
  std::string_view type;  ///< what a value looks like: "INT", "NUMBER", "bpe|unigram|char"
  /// Whether a run may be resumed under another value: it then computes the same weights, step by step.
  bool may_change = false;
  /// Whether it says what a new model and its vocabulary are made like.
  bool of_new_models = false;
  std::string (*get)(const Recipe& recipe) = nullptr;
  /// Throws Error, naming the option, for a text that is not a value.
  void (*set)(Recipe& recipe, std::string_view text) = nullptr;
};

/// All settings, in the order in which help lists them.
std::span<const Setting> settings();
const Setting& find_setting(std::string_view name);

/// Fills in what other numbers imply: the cosine's end from the limit of steps. Throws Error, naming the option, when
/// the numbers do not fit together.
void complete(Recipe& recipe);

}  // namespace rapt::training
