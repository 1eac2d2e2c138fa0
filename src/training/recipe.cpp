#include "training/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <type_traits>

#include "core/error.h"

namespace rapt::training {
namespace {

/// "Transformer-Tiny" for small parallel corpora (Wu et al., "Good for Misconceived Reasons", ACL 2021) with a dropout
/// that rises: with all of it from the start, Multi30k had 12 BLEU after 2,500 steps where this has 36. The
/// Transformers of "Attention Is All You Need" (table 3), and nanoGPT's two character models.
const std::array recipe_table{
    Recipe{
        .name = "tiny",
        .about = "translation from 10,000 to 100,000 pairs: 4+4 layers, d_model 128",
        .model = {.encoder_layers = 4, .decoder_layers = 4, .d_model = 128, .d_ff = 256, .heads = 4, .dropout = 0.3},
        .vocabulary = {.size = 10000},
        .batches = {.tokens = 4096, .max_length = 256},
        .schedule = {.learning_rate = 0.003, .warmup = 1000},
        .label_smoothing = 0.1,
        .dropout_warmup = 3000,
        .limits = {.steps = 8600},
        .validation = {.every = 500},
        .checkpoints = {.every = 200, .average = 10},
    },
    Recipe{
        .name = "small",
        .about = "translation from up to a million pairs: 3+3 layers, d_model 256",
        .model = {.encoder_layers = 3, .decoder_layers = 3, .d_model = 256, .d_ff = 1024, .heads = 4, .dropout = 0.1},
        .vocabulary = {.size = 8000},
        .batches = {.tokens = 8192, .max_length = 256},
        .schedule = {.learning_rate = 0.001, .warmup = 4000},
        .label_smoothing = 0.1,
        .limits = {.steps = 40000},
        .validation = {.every = 1000, .patience = 10},
        .checkpoints = {.every = 1000, .average = 5},
    },
    Recipe{
        .name = "base",
        .about = "the paper's base model: 6+6 layers, d_model 512",
        .model = {.encoder_layers = 6, .decoder_layers = 6, .d_model = 512, .d_ff = 2048, .heads = 8, .dropout = 0.1},
        .vocabulary = {.size = 37000},
        .batches = {.tokens = 25000, .max_length = 256},
        .schedule = {.learning_rate = 6.9877124296868431e-4, .warmup = 4000},
        .label_smoothing = 0.1,
        .limits = {.steps = 100000},
        .validation = {.every = 1000},
        .checkpoints = {.every = 1000, .average = 5},
    },
    Recipe{
        .name = "big",
        .about = "the paper's big model: 6+6 layers, d_model 1024",
        .model = {.encoder_layers = 6, .decoder_layers = 6, .d_model = 1024, .d_ff = 4096, .heads = 16, .dropout = 0.3},
        .vocabulary = {.size = 37000},
        .batches = {.tokens = 25000, .max_length = 256},
        .schedule = {.learning_rate = 4.9410588440130926e-4, .warmup = 4000},
        .label_smoothing = 0.1,
        .limits = {.steps = 300000},
        .validation = {.every = 1000},
        .checkpoints = {.every = 1000, .average = 20},
    },
    Recipe{
        .name = "nanogpt-cpu",
        .about = "character language model in minutes: 4 layers, d_model 128, context 64",
        .model = {.encoder_layers = 0,
                  .decoder_layers = 4,
                  .d_model = 128,
                  .d_ff = 512,
                  .heads = 4,
                  .activation = kernels::Activation::gelu,
                  .dropout = 0},
        .vocabulary = {.type = VocabularyType::characters},
        .batches = {.context = 64, .sequences = 12},
        .optimizer = {.kind = OptimizerKind::adamw, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.1},
        // Four times nanoGPT's peak: after 2,000 steps the loss is 1.76 instead of 1.89.
        .schedule = {.kind = ScheduleKind::cosine, .learning_rate = 4e-3, .final_learning_rate = 1e-4, .warmup = 100},
        .clip = 1,
        .limits = {.steps = 2000},
        .validation = {.every = 250},
        .checkpoints = {.every = 250},
    },
    Recipe{
        .name = "nanogpt",
        .about = "character language model: 6 layers, d_model 384, context 256",
        .model = {.encoder_layers = 0,
                  .decoder_layers = 6,
                  .d_model = 384,
                  .d_ff = 1536,
                  .heads = 6,
                  .activation = kernels::Activation::gelu,
                  .dropout = 0.2,
                  .attention_dropout = 0.2},
        .vocabulary = {.type = VocabularyType::characters},
        .batches = {.context = 256, .sequences = 64},
        .optimizer = {.kind = OptimizerKind::adamw, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.1},
        .schedule = {.kind = ScheduleKind::cosine, .learning_rate = 1e-3, .final_learning_rate = 1e-4, .warmup = 100},
        .clip = 1,
        .limits = {.steps = 5000},
        .validation = {.every = 250},
        .checkpoints = {.every = 250},
    },
};

/// AdamW as in the examples of transformers (TrainingArguments: 5e-5, betas 0.9 and 0.999, norm clipped at 1, three
/// epochs), with the rise and linear fall of BERT's fine-tuning (Devlin et al. 2019, A.2), which reaches 0 when the run
/// ends, whatever ends it.
const Recipe fine_tuning{
    .name = "fine-tune",
    .about = "a model that is there, trained further",
    .batches = {.tokens = 2048, .max_length = 256, .context = 256, .sequences = 8},
    .optimizer = {.kind = OptimizerKind::adamw, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01},
    .schedule = {.kind = ScheduleKind::constant, .learning_rate = 5e-5, .warmup = 20},
    .clip = 1,
    .limits = {.epochs = 3, .cooldown = 0.9},
    .validation = {.every = 100},
    .checkpoints = {.every = 500},
    .fine_tunes = true,
};

template <typename E>
struct Choice {
  E value;
  std::string_view name;
};
template <typename E>
Choice(E, const char*) -> Choice<E>;

template <typename E>
constexpr std::array<Choice<E>, 0> choices{};
template <>
constexpr std::array choices<kernels::Activation>{
    Choice{kernels::Activation::relu, "relu"}, Choice{kernels::Activation::gelu, "gelu"},
    Choice{kernels::Activation::gelu_tanh, "gelu_tanh"}, Choice{kernels::Activation::silu, "silu"}};
template <>
constexpr std::array choices<VocabularyType>{Choice{VocabularyType::bpe, "bpe"},
                                             Choice{VocabularyType::unigram, "unigram"},
                                             Choice{VocabularyType::characters, "char"}};
template <>
constexpr std::array choices<OptimizerKind>{Choice{OptimizerKind::adam, "adam"}, Choice{OptimizerKind::adamw, "adamw"}};
template <>
constexpr std::array choices<ScheduleKind>{Choice{ScheduleKind::constant, "constant"},
                                           Choice{ScheduleKind::inverse_sqrt, "inverse-sqrt"},
                                           Choice{ScheduleKind::cosine, "cosine"}};
template <>
constexpr std::array choices<Precision>{Choice{Precision::f32, "f32"}, Choice{Precision::bf16, "bf16"}};
template <>
constexpr std::array choices<Metric>{Choice{Metric::loss, "loss"}, Choice{Metric::bleu, "bleu"}};
template <>
constexpr std::array choices<FinalModel>{Choice{FinalModel::automatic, "auto"}, Choice{FinalModel::average, "average"},
                                         Choice{FinalModel::best, "best"}, Choice{FinalModel::last, "last"}};
template <>
constexpr std::array choices<bool>{Choice{true, "yes"}, Choice{false, "no"}};

using AttentionRules = std::vector<AttentionRule>;

template <typename T>
constexpr bool is_choice = std::is_enum_v<T> || std::is_same_v<T, bool>;

/// The names joined by bars, known at compile time so that the table of settings can point to it.
template <typename E>
struct ChoiceList {
  static constexpr std::size_t size = [] {
    std::size_t sum = choices<E>.size() - 1;
    for (const auto& choice : choices<E>) sum += choice.name.size();
    return sum;
  }();
  static constexpr std::array<char, size> letters = [] {
    std::array<char, size> result{};
    std::size_t at = 0;
    for (const auto& choice : choices<E>) {
      if (at > 0) result[at++] = '|';
      for (const char letter : choice.name) result[at++] = letter;
    }
    return result;
  }();
  static constexpr std::string_view text{letters.data(), size};
};

template <typename T>
constexpr std::string_view type_text() {
  if constexpr (is_choice<T>)
    return ChoiceList<T>::text;
  else if constexpr (std::is_same_v<T, AttentionRules>)
    return "RULES";
  else if constexpr (std::is_floating_point_v<T>)
    return "NUMBER";
  else
    return "INT";
}

template <typename T>
std::string value_text(const T& value) {
  if constexpr (is_choice<T>)
    return std::string(std::ranges::find(choices<T>, value, &Choice<T>::value)->name);
  else if constexpr (std::is_same_v<T, AttentionRules>)
    return text_of(value);
  else
    return fmt::format("{}", value);
}

template <typename T>
bool parse(std::string_view text, T& value) {
  if constexpr (is_choice<T>) {
    const auto found = std::ranges::find(choices<T>, text, &Choice<T>::name);
    if (found == choices<T>.end()) return false;
    value = found->value;
    return true;
  } else if constexpr (std::is_same_v<T, AttentionRules>) {
    value = parse_attention_rules(text);  // says itself what is wrong, and where
    return true;
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  }
}

enum class OnResume { same, may_change };

/// The name of the setting rides along as a type, so that plain function pointers can name it in their messages.
template <std::size_t size>
struct Name {
  char letters[size];
  constexpr Name(const char (&text)[size]) { std::copy_n(text, size, letters); }  // NOLINT: a literal is a name
  constexpr std::string_view view() const { return {letters, size - 1}; }
};

/// Whether a setting belongs to what only new models have.
template <typename Part, auto... rest>
constexpr bool is_of_new_models =
    (std::is_same_v<Part, Architecture Recipe::*> || std::is_same_v<Part, VocabularyOptions Recipe::*>)&&!(
        std::is_same_v<decltype(rest), AttentionRules Architecture::*> || ...);

template <Name name, auto first, auto... rest>
constexpr Setting setting(std::string_view help, OnResume on_resume = OnResume::same) {
  using T = std::remove_cvref_t<decltype(((std::declval<Recipe&>().*first).*....*rest))>;
  return {.name = name.view(),
          .help = help,
          .type = type_text<T>(),
          .may_change = on_resume == OnResume::may_change,
          .of_new_models = is_of_new_models<decltype(first), rest...>,
          .get = [](const Recipe& recipe) { return value_text<T>(((recipe.*first).*....*rest)); },
          .set =
              [](Recipe& recipe, std::string_view text) {
                require(parse<T>(text, ((recipe.*first).*....*rest)), "--{}: expected {}, found \"{}\"", name.view(),
                        type_text<T>(), text);
              }};
}

constexpr std::array setting_table{
    setting<"encoder-layers", &Recipe::model, &Architecture::encoder_layers>("layers of the encoder"),
    setting<"decoder-layers", &Recipe::model, &Architecture::decoder_layers>("layers of the decoder"),
    setting<"d-model", &Recipe::model, &Architecture::d_model>("width of the model"),
    setting<"d-ff", &Recipe::model, &Architecture::d_ff>("width inside the feed-forward layers"),
    setting<"heads", &Recipe::model, &Architecture::heads>("attention heads of each layer"),
    setting<"activation", &Recipe::model, &Architecture::activation>("of the feed-forward layers"),
    setting<"dropout", &Recipe::model, &Architecture::dropout>("of embeddings and sublayer outputs"),
    setting<"attention-dropout", &Recipe::model, &Architecture::attention_dropout>("of attention weights"),
    setting<"activation-dropout", &Recipe::model, &Architecture::activation_dropout>("inside the feed-forward layers"),
    setting<"attention", &Recipe::model, &Architecture::attention>(
        "how layers attend, where it is not softmax over all keys (all earlier ones in the decoder):\n"
        "  RULES   = RULE[; RULE ...], the last one that names a layer counts\n"
        "  RULE    = [LAYERS = ]ATTENTION; without LAYERS: every self-attention\n"
        "  LAYERS  = encoder, decoder or cross, then .N or .N-M for some layers, from 0\n"
        "  ATTENTION = full, causal, window(LEFT, RIGHT), prefix(KEYS), strided(STRIDE), global_keys(0..3), ... "
        "joined by & and |, or\n"
        "              linear elu, linear relu, linear favor(FEATURES), retention, gated_delta (decoder only)\n"
        "for example \"decoder = window(255, 0); decoder.0 = linear elu\""),
    setting<"vocab-type", &Recipe::vocabulary, &VocabularyOptions::type>("how text is cut; char: language models only"),
    setting<"vocab-size", &Recipe::vocabulary, &VocabularyOptions::size>("pieces in the vocabulary"),
    setting<"joint", &Recipe::vocabulary, &VocabularyOptions::joint>("one vocabulary for source and target"),
    setting<"batch-tokens", &Recipe::batches, &BatchOptions::tokens>(
        "tokens of a batch of pairs, ends of sentences included: neither the sources nor the targets together exceed "
        "it"),
    setting<"max-length", &Recipe::batches, &BatchOptions::max_length>(
        "longer sentences, in tokens, are dropped from training with their translations"),
    setting<"context", &Recipe::batches, &BatchOptions::context>("tokens a language model sees at once"),
    setting<"sequences", &Recipe::batches, &BatchOptions::sequences>("windows of a language model's batch"),
    setting<"accumulate", &Recipe::accumulate>("batches whose gradients make one step"),
    setting<"optimizer", &Recipe::optimizer, &OptimizerOptions::kind>("adamw decays weights"),
    setting<"beta1", &Recipe::optimizer, &OptimizerOptions::beta1>("Adam's decay of the mean gradient"),
    setting<"beta2", &Recipe::optimizer, &OptimizerOptions::beta2>("Adam's decay of the mean squared gradient"),
    setting<"epsilon", &Recipe::optimizer, &OptimizerOptions::epsilon>("Adam's guard of the division"),
    setting<"weight-decay", &Recipe::optimizer, &OptimizerOptions::weight_decay>(
        "of matrices and embeddings, with adamw"),
    setting<"schedule", &Recipe::schedule, &ScheduleOptions::kind>("course of the learning rate after warm-up"),
    setting<"learning-rate", &Recipe::schedule, &ScheduleOptions::learning_rate>(
        "the peak, reached at the end of warm-up; the paper's is (d_model * warmup)^-0.5"),
    setting<"final-learning-rate", &Recipe::schedule, &ScheduleOptions::final_learning_rate>("what cosine ends with"),
    setting<"warmup", &Recipe::schedule, &ScheduleOptions::warmup>("steps of linear rise of the learning rate"),
    setting<"decay-steps", &Recipe::schedule, &ScheduleOptions::decay_steps>(
        "step at which cosine has come down; 0: --steps"),
    setting<"clip", &Recipe::clip>("largest norm of the gradient; 0: no limit"),
    setting<"label-smoothing", &Recipe::label_smoothing>("share of probability spread over the vocabulary"),
    setting<"dropout-warmup", &Recipe::dropout_warmup>("steps over which all dropout rises from 0 to its value"),
    setting<"precision", &Recipe::precision>("of activations and products; weights are kept in f32"),
    setting<"seed", &Recipe::seed>("of the first weights, dropout and the order of the corpus"),
    setting<"steps", &Recipe::limits, &Limits::steps>("end after this many; 0: no limit", OnResume::may_change),
    setting<"epochs", &Recipe::limits, &Limits::epochs>("end after this many passes over the corpus; 0: no limit",
                                                        OnResume::may_change),
    setting<"minutes", &Recipe::limits, &Limits::minutes>(
        "end after this time; 0: no limit. Such a run cannot be repeated bit for bit", OnResume::may_change),
    setting<"cooldown", &Recipe::limits, &Limits::cooldown>(
        "last part of the run, of --steps, --epochs or --minutes, over which the learning rate falls to 0",
        OnResume::may_change),
    setting<"validate-every", &Recipe::validation, &Validation::every>(
        "steps from one validation to the next; 0: only at the end", OnResume::may_change),
    setting<"metric", &Recipe::validation, &Validation::metric>("what decides which model is best"),
    setting<"patience", &Recipe::validation, &Validation::patience>(
        "end after this many validations without improvement; 0: never", OnResume::may_change),
    setting<"validate-sentences", &Recipe::validation, &Validation::sentences>(
        "how many sentences to translate at each validation for BLEU and chrF; 0: none", OnResume::may_change),
    setting<"validate-beam", &Recipe::validation, &Validation::beam>("of these translations; 1 is greedy",
                                                                     OnResume::may_change),
    setting<"save-every", &Recipe::checkpoints, &Checkpoints::every>(
        "steps from one checkpoint to the next; 0: only at the end", OnResume::may_change),
    setting<"average", &Recipe::checkpoints, &Checkpoints::average>(
        "how many of the last checkpoints to average at the end; 0: none", OnResume::may_change),
    setting<"final", &Recipe::checkpoints, &Checkpoints::final_model>(
        "the model to leave in the output directory; auto: the better of average and best", OnResume::may_change),
    setting<"max-bad-steps", &Recipe::max_bad_steps>(
        "stop after this many steps in a row without a finite loss and gradient", OnResume::may_change),
};

void check_fraction(std::string_view option, double value) {
  require(value >= 0 && value < 1, "--{} is {}; it must lie in [0, 1)", option, value);
}

void check_at_least(std::string_view option, double value, double least) {
  require(value >= least, "--{} is {}; it must be at least {}", option, value, least);
}

void check_model(const Architecture& model) {
  check_at_least("encoder-layers", model.encoder_layers, 0);
  check_at_least("decoder-layers", model.decoder_layers, 1);
  check_at_least("heads", model.heads, 1);
  check_at_least("d-model", static_cast<double>(model.d_model), 1);
  check_at_least("d-ff", static_cast<double>(model.d_ff), 1);
  require(model.d_model % model.heads == 0, "--d-model {} is not a multiple of --heads {}", model.d_model, model.heads);
  check_fraction("dropout", model.dropout);
  check_fraction("attention-dropout", model.attention_dropout);
  check_fraction("activation-dropout", model.activation_dropout);
}

void check_run(const Recipe& recipe) {
  check_at_least("accumulate", recipe.accumulate, 1);
  check_at_least("clip", recipe.clip, 0);
  check_fraction("label-smoothing", recipe.label_smoothing);
  check_at_least("dropout-warmup", static_cast<double>(recipe.dropout_warmup), 0);
  check_at_least("steps", static_cast<double>(recipe.limits.steps), 0);
  check_at_least("epochs", static_cast<double>(recipe.limits.epochs), 0);
  check_at_least("minutes", recipe.limits.minutes, 0);
  check_fraction("cooldown", recipe.limits.cooldown);
  require(recipe.limits.steps > 0 || recipe.limits.epochs > 0 || recipe.limits.minutes > 0,
          "the run would never end; give --steps, --epochs or --minutes");
  check_at_least("validate-every", static_cast<double>(recipe.validation.every), 0);
  check_at_least("patience", recipe.validation.patience, 0);
  check_at_least("validate-sentences", recipe.validation.sentences, 0);
  check_at_least("validate-beam", recipe.validation.beam, 1);
  check_at_least("save-every", static_cast<double>(recipe.checkpoints.every), 0);
  check_at_least("average", recipe.checkpoints.average, 0);
  check_at_least("max-bad-steps", recipe.max_bad_steps, 1);
  require(recipe.validation.metric == Metric::loss || recipe.validation.sentences > 0,
          "--metric bleu needs translations; give --validate-sentences");
  require(recipe.validation.sentences == 0 || recipe.translation(),
          "--validate-sentences {}: a language model does not translate", recipe.validation.sentences);
}

}  // namespace

std::span<const Recipe> recipes() {
  return recipe_table;
}

const Recipe& fine_tuning_recipe() {
  return fine_tuning;
}

const Recipe& find_recipe(std::string_view name) {
  const auto found = std::ranges::find(recipe_table, name, &Recipe::name);
  if (found != recipe_table.end()) return *found;
  std::string names;
  for (const Recipe& recipe : recipe_table) names += fmt::format("{}{}", names.empty() ? "" : ", ", recipe.name);
  fail("--recipe: there is no recipe \"{}\"; there are {}", name, names);
}

std::span<const Setting> settings() {
  return setting_table;
}

const Setting& find_setting(std::string_view name) {
  const auto found = std::ranges::find(setting_table, name, &Setting::name);
  require(found != setting_table.end(), "there is no setting \"{}\"", name);
  return *found;
}

void complete(Recipe& recipe) {
  if (recipe.schedule.kind == ScheduleKind::cosine && recipe.schedule.decay_steps == 0)
    recipe.schedule.decay_steps = recipe.limits.steps;
  if (!recipe.fine_tunes) check_model(recipe.model);
  check(recipe.batches);
  check(recipe.optimizer);
  check(recipe.schedule);
  check_run(recipe);
}

}  // namespace rapt::training
