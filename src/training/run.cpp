#include "training/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/memory.h"
#include "families/checkpoint.h"
#include "formats/gguf.h"
#include "kernels/ceiling.h"
#include "training/fine_tuning.h"
#include "training/memory.h"

namespace rapt::training {
namespace {

namespace fs = std::filesystem;

constexpr double default_cooldown = 0.2;
constexpr double default_dev_fraction = 0.1;
/// Rows of the product that gauges the machine; more of them are not faster.
constexpr std::int64_t most_gauge_rows = 4096;

std::optional<StoredRun> find_run_to_resume(const RunRequest& request, Observer& observer) {
  auto stored = find_newest_checkpoint(request.output);
  if (!request.resume) {
    require(!stored, "{}: holds a run that is at step {}; give --resume to continue it, or another --output",
            request.output.string(), stored ? stored->stored.state.step : 0);
    for (const char* name : {"config.json", "model.safetensors"})
      require(!fs::exists(request.output / name), "{}: already holds a model ({}); give another --output",
              request.output.string(), name);
    return stored;
  }
  require(stored.has_value(), "{}: holds no checkpoint to resume from; start without --resume",
          request.output.string());
  for (const std::string& warning : stored->warnings)
    observer.warn(fmt::format("{}; going back to the checkpoint of step {}", warning, stored->stored.state.step));
  return stored;
}

/// Takes from the stored run what the request does not say.
TaskFiles complete_files(TaskFiles files, const RunRecord& before) {
  const auto path = [&](std::string_view option) -> std::optional<fs::path> {
    const auto found = std::ranges::find(before.files, option, &CorpusFile::option);
    if (found == before.files.end()) return std::nullopt;
    return found->path;
  };
  if (!files.pairs && path("source")) files.pairs = {*path("source"), *path("target")};
  if (!files.dev_pairs && path("dev-source")) files.dev_pairs = {*path("dev-source"), *path("dev-target")};
  if (!files.text) files.text = path("text");
  if (!files.dev_text) files.dev_text = path("dev-text");
  if (files.dev_fraction == 0) files.dev_fraction = before.dev_fraction;
  files.skip_invalid = files.skip_invalid || before.skip_invalid;
  return files;
}

void check_kind(const TaskFiles& files, const Recipe& recipe) {
  require(files.pairs.has_value() != files.text.has_value(),
          "nothing to train on: give --source and --target for translation, or --text for a language model");
  require(recipe.translation() == files.pairs.has_value(), "--recipe {} is for {}; choose another recipe", recipe.name,
          recipe.translation() ? "translation and takes --source and --target" : "language models and takes --text");
}

void check_validation(const TaskFiles& files, const Recipe& recipe) {
  require(files.pairs ? !files.dev_text : !files.dev_pairs,
          "the validation data are of another kind than the training "
          "data: pairs take --dev-source and --dev-target, text takes --dev-text or --dev-fraction");
  const bool validates = files.dev_pairs || files.dev_text || files.dev_fraction > 0;
  require(validates || recipe.validation.metric == Metric::loss, "--metric bleu needs --dev-source and --dev-target");
  require(validates || recipe.checkpoints.final_model != FinalModel::best,
          "--final best needs validation data: --dev-source and --dev-target, --dev-text or --dev-fraction");
}

std::string default_recipe(const TaskFiles& files) {
  return files.text ? "nanogpt-cpu" : "tiny";
}

/// The machine's rate for the products that most of a step consists of.
double gauge(const Context& ctx, const Recipe& recipe, double seconds) {
  if (seconds <= 0) return 0;
  const std::int64_t tokens =
      recipe.translation() ? recipe.batches.tokens : recipe.batches.context * recipe.batches.sequences;
  return kernels::gemm_rate(
      ctx, ctx.compute, seconds,
      {.m = std::min(tokens, most_gauge_rows), .n = recipe.model.d_ff, .k = recipe.model.d_model});
}

/// What a run is made of, and the record by which a later one is compared with it.
struct Plan {
  Recipe recipe;
  TaskFiles files;
  RunRecord record;
};

/// Whether a model is trained further.
const std::optional<FineTuning>& fine_tuning_of(const RunRequest& request, const std::optional<StoredRun>& stored) {
  return stored ? stored->stored.record.fine_tuning : request.fine_tuning;
}

/// A run that is resumed reads the model as its checkpoint has it.
fs::path directory_of_model(const RunRequest& request, const std::optional<StoredRun>& stored) {
  return stored ? stored->directory : fs::path(request.fine_tuning->from);
}

/// What is not given is as it was.
void require_same_fine_tuning(const std::optional<FineTuning>& before, const FineTuning& now) {
  require(before.has_value(), "--resume: the run was started without --from, not with --from {}", now.from);
  const auto compare = [&](std::string_view option, std::string FineTuning::*member) {
    require(now.*member == FineTuning().*member || now.*member == (*before).*member,
            "--resume: the run was started with --{} \"{}\", not \"{}\"", option, (*before).*member, now.*member);
  };
  compare("from", &FineTuning::from);
  compare("document", &FineTuning::document);
  compare("prefix", &FineTuning::prefix);
  compare("source-language", &FineTuning::source_language);
  compare("target-language", &FineTuning::target_language);
}

void check_fine_tuning(const RunRequest& request, const std::optional<StoredRun>& stored) {
  const auto& fine_tuning = fine_tuning_of(request, stored);
  if (stored && request.fine_tuning) require_same_fine_tuning(fine_tuning, *request.fine_tuning);
  if (!fine_tuning) return;
  require(request.recipe.empty(), "--from and --recipe {} contradict each other: a recipe makes a new model",
          request.recipe);
  for (const auto& [name, value] : request.settings)
    require(!find_setting(name).of_new_models,
            "--from and --{} {} contradict each other: the model and its vocabulary are what {} says", name, value,
            fine_tuning->from);
}

Recipe new_recipe(const RunRequest& request, const std::string& name) {
  if (!request.fine_tuning) return find_recipe(name);
  const fs::path from = request.fine_tuning->from;
  require_model(from);
  return fine_tuning_recipe(read_config(from));
}

Plan make_plan(const RunRequest& request, const std::optional<StoredRun>& stored) {
  check_fine_tuning(request, stored);
  Plan plan{.recipe = {}, .files = request.files, .record = {}};
  std::string name = request.recipe;
  if (stored) {
    const RunRecord& before = stored->stored.record;
    require(name.empty() || name == before.recipe, "--resume: the run was started with --recipe {}, not {}",
            before.recipe, name);
    name = before.recipe;
    plan.files = complete_files(plan.files, before);
    plan.recipe = recipe_of(before, stored->directory.string());
    for (const auto& [setting, value] : request.settings) find_setting(setting).set(plan.recipe, value);
    complete(plan.recipe);
  } else {
    if (request.fine_tuning) name = fine_tuning_recipe().name;
    if (name.empty()) name = default_recipe(plan.files);
    plan.recipe = resolve_recipe(new_recipe(request, name), request.settings);
    if (plan.files.text && !plan.files.dev_text && plan.files.dev_fraction == 0)
      plan.files.dev_fraction = default_dev_fraction;
  }
  if (!plan.recipe.fine_tunes) check_kind(plan.files, plan.recipe);
  check_validation(plan.files, plan.recipe);
  plan.record = {.recipe = name,
                 .settings = settings_of(plan.recipe),
                 .files = {},
                 .fine_tuning = fine_tuning_of(request, stored),
                 .dev_fraction = plan.files.dev_fraction,
                 .skip_invalid = plan.files.skip_invalid};
  return plan;
}

/// What is trained on what, and how it is kept.
struct Subject {
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Task> task;
  std::optional<ModelDirectory> directory;  ///< of a model that is trained further

  CheckpointStore store(const fs::path& output) const {
    return directory ? CheckpointStore(output, *directory) : CheckpointStore(output, *task->tokenizer);
  }
};

Subject new_model(const Context& ctx, const Plan& plan, const std::optional<StoredRun>& stored, Observer& observer) {
  std::optional<fs::path> checkpoint;
  if (stored) checkpoint = stored->directory;
  auto task = prepare_task(ctx, plan.recipe, plan.files, checkpoint, observer);
  auto model = std::make_unique<Transformer>(task->config);
  if (!stored) model->initialize(plan.recipe.seed);
  return {.model = std::move(model), .task = std::move(task), .directory = {}};
}

Subject given_model(const Context& ctx, const Plan& plan, const fs::path& directory, Observer& observer) {
  const FineTuning& fine_tuning = *plan.record.fine_tuning;
  check_files_for(read_config(directory), fine_tuning, plan.files);
  check_memory(directory, plan.recipe.precision, available_memory(), observer);
  auto [model, kept] = load_model_directory(directory, plan.recipe.model.attention, plan.recipe.seed);
  observer.note(fmt::format("{}: {}, weights in {}{}", fine_tuning.from, model->config().family, kept.types(),
                            kept.exact() ? "" : "; trained in f32, and written in the type they came in"));
  if (!kept.fresh().empty())
    observer.note(
        fmt::format("gated_delta: {} has no gates for it; {} tensors (\"{}\", ...) are new, drawn with --seed {}",
                    fine_tuning.from, kept.fresh().size(), kept.fresh().front(), plan.recipe.seed));
  if (!kept.unused().empty())
    observer.note(fmt::format("gated_delta: {} tensors (\"{}\", ...) of layers that attend otherwise now are left out",
                              kept.unused().size(), kept.unused().front()));
  auto task = prepare_fine_tuning(ctx, plan.recipe, plan.files, fine_tuning, model->config(), directory, observer);
  if (is_gguf(directory)) {
    kept.add_files(task->tokenizer->files());
    observer.note(fmt::format("{}: a GGUF file, written as a Hugging Face directory: {} and model.safetensors",
                              fine_tuning.from, fmt::join(kept.files(), ", ")));
  }
  return {.model = std::move(model), .task = std::move(task), .directory = std::move(kept)};
}

}  // namespace

Recipe resolve_recipe(Recipe recipe, const std::vector<std::pair<std::string, std::string>>& settings) {
  const auto given = [&](std::string_view name) {
    return std::ranges::any_of(settings, [&](const auto& setting) { return setting.first == name; });
  };
  for (const auto& [name, value] : settings) find_setting(name).set(recipe, value);
  if (recipe.optimizer.kind == OptimizerKind::adam && !given("weight-decay")) recipe.optimizer.weight_decay = 0;
  if (recipe.schedule.kind == ScheduleKind::cosine && recipe.schedule.decay_steps == 0)
    recipe.schedule.decay_steps = recipe.limits.steps;
  if ((given("minutes") || given("epochs")) && !given("steps")) recipe.limits.steps = 0;
  if ((given("minutes") || given("steps")) && !given("epochs")) recipe.limits.epochs = 0;
  if (given("minutes") && !given("cooldown") && recipe.limits.cooldown == 0) recipe.limits.cooldown = default_cooldown;
  complete(recipe);
  return recipe;
}

Outcome run(const RunRequest& request, Observer& observer, const std::function<bool()>& stop) {
  require(!request.output.empty(), "--output is missing: the directory to write the model to");
  const DirectoryLock lock(request.output);
  const std::optional<StoredRun> stored = find_run_to_resume(request, observer);
  Plan plan = make_plan(request, stored);
  Context ctx({.threads = request.threads,
               .seed = plan.recipe.seed,
               .compute = plan.recipe.precision == Precision::bf16 ? DType::bf16 : DType::f32});

  const Subject subject = plan.record.fine_tuning
                              ? given_model(ctx, plan, directory_of_model(request, stored), observer)
                              : new_model(ctx, plan, stored, observer);
  Transformer& model = *subject.model;
  plan.record.files = subject.task->files;
  if (stored) require_same_run(stored->stored.record, plan.record);

  Optimizer optimizer(model.parameters(), plan.recipe.optimizer);
  CheckpointStore store = subject.store(request.output);
  TrainingState state;
  if (stored) {
    restore_weights(model, *stored);
    restore_optimizer(optimizer, *stored);
    state = stored->stored.state;
    store.set_aside_after(state.step);
  }
  fs::create_directories(request.output);
  Journal journal(request.output / "train.jsonl", state.journal_bytes);
  observer.began({.recipe = plan.recipe,
                  .parameters = model.parameter_count(),
                  .threads = ctx.threads(),
                  .machine_flops = gauge(ctx, plan.recipe, request.gauge_seconds),
                  .step = state.step});
  Trainer trainer(plan.recipe, plan.record,
                  {.ctx = ctx,
                   .model = model,
                   .optimizer = optimizer,
                   .batches = *subject.task->batches,
                   .evaluator = subject.task->evaluator ? &*subject.task->evaluator : nullptr,
                   .store = store,
                   .journal = journal,
                   .observer = observer,
                   .stop = stop},
                  std::move(state));
  return trainer.run();
}

}  // namespace rapt::training
