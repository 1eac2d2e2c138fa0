#include "training/checkpoint_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "core/error.h"
#include "families/checkpoint.h"
#include "formats/safetensors.h"
#include "training/averaging.h"

namespace rapt::training {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view state_name = "training.json";
constexpr std::string_view moments_name = "optimizer.safetensors";
constexpr std::string_view masters_name = "masters.safetensors";
constexpr std::string_view weights_name = "model.safetensors";
constexpr std::string_view step_prefix = "step-";
constexpr std::size_t checkpoints_kept = 2;

std::string step_text(std::int64_t step) {
  return fmt::format("{}{:08}", step_prefix, step);
}

/// The step that a name like "step-00001000" or "step-00001000.safetensors" speaks of.
std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string stem = path.stem();
  if (!stem.starts_with(step_prefix)) return std::nullopt;
  std::int64_t step = 0;
  const char* end = stem.data() + stem.size();
  const auto [stopped, error] = std::from_chars(stem.data() + step_prefix.size(), end, step);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return step;
}

struct NumberedPath {
  std::int64_t step = 0;
  fs::path path;
};

/// What a directory holds under names of steps, oldest first.
std::vector<NumberedPath> numbered_paths(const fs::path& directory) {
  std::vector<NumberedPath> result;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (const auto step = step_of(entry->path())) result.push_back({*step, entry->path()});
  }
  std::ranges::sort(result, {}, &NumberedPath::step);
  return result;
}

/// Deletes under another name, so that what an interrupted deletion leaves is not taken for a damaged checkpoint; the
/// next deletion clears that away.
void delete_checkpoint(const fs::path& path) {
  const fs::path doomed = path.parent_path() / ".deleted";
  std::error_code error;
  fs::remove_all(doomed, error);
  if (!error) fs::rename(path, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  require(!error, "{}: cannot be deleted: {}", path.string(), error.message());
}

/// Deletes all but the newest `keep` of those up to `step`.
void remove_old(const fs::path& directory, std::int64_t step, std::size_t keep) {
  std::vector<NumberedPath> paths = numbered_paths(directory);
  std::erase_if(paths, [&](const NumberedPath& path) { return path.step > step; });
  if (paths.size() <= keep) return;
  for (const NumberedPath& old : std::span(paths).first(paths.size() - keep)) delete_checkpoint(old.path);
}

void copy_durably(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  const auto file = MappedFile::open(from);
  write_file_durably(to, [&](OutputFile& out) { out.write(file->bytes()); });
}

void fill(const Tensor& to, const Tensor& from) {
  const auto* bytes = static_cast<const std::byte*>(from.raw());
  std::copy(bytes, bytes + from.bytes(), static_cast<std::byte*>(to.raw_write()));
}

}  // namespace

std::optional<StoredRun> find_newest_checkpoint(const fs::path& output) {
  std::vector<fs::path> directories;
  for (const NumberedPath& checkpoint : numbered_paths(output / "checkpoints")) directories.push_back(checkpoint.path);
  auto newest = newest_valid(directories);
  if (!newest) return std::nullopt;
  return StoredRun{.directory = newest->directory,
                   .stored = parse_state(JsonObject::read(newest->directory / state_name)),
                   .warnings = std::move(newest->warnings)};
}

void restore_weights(Transformer& model, const StoredRun& run) {
  const fs::path masters = run.directory / masters_name;
  if (fs::exists(masters)) {
    fill_parameters(model, read_safetensors(masters).tensors, masters.string());
  } else {
    fill_parameters(model, read_safetensors_directory(run.directory).tensors, (run.directory / weights_name).string());
  }
}

void restore_optimizer(Optimizer& optimizer, const StoredRun& run) {
  const fs::path path = run.directory / moments_name;
  const Safetensors file = read_safetensors(path);
  const std::vector<StateTensor> moments = optimizer.moments();
  for (const StateTensor& moment : moments) {
    const auto found = file.tensors.find(moment.name);
    require(found != file.tensors.end(), "{}: has no tensor \"{}\"; it is of another model", path.string(),
            moment.name);
    const Tensor& stored = found->second;
    require(stored.shape() == moment.tensor.shape() && stored.dtype() == moment.tensor.dtype(),
            "{}: tensor \"{}\" is {} {}, the model has {} {}", path.string(), moment.name, name_of(stored.dtype()),
            stored.shape(), name_of(moment.tensor.dtype()), moment.tensor.shape());
    fill(moment.tensor, stored);
  }
  require(moments.size() == file.tensors.size(), "{}: has {} tensors, the model needs {}", path.string(),
          file.tensors.size(), moments.size());
  optimizer.restore(run.stored.state.updates);
}

fs::path CheckpointStore::checkpoint(std::int64_t step) const {
  return output_ / "checkpoints" / step_text(step);
}

fs::path CheckpointStore::snapshot(std::int64_t step) const {
  return output_ / "snapshots" / (step_text(step) + ".safetensors");
}

CheckpointStore::CheckpointStore(fs::path output, const Tokenizer& tokenizer)
    : output_(std::move(output)), add_model_([&tokenizer](const Transformer& model, DirectoryWriter& writer) {
        write_model(model, writer);
        tokenizer.write(writer.path(weights_name).parent_path());
      }) {}

CheckpointStore::CheckpointStore(fs::path output, const ModelDirectory& directory)
    : output_(std::move(output)),
      add_model_([&directory](const Transformer& model, DirectoryWriter& writer) { directory.write(model, writer); }),
      exact_(directory.exact()) {}

void CheckpointStore::save(const Transformer& model, const Optimizer& optimizer, const TrainingState& state,
                           const RunRecord& record) const {
  DirectoryWriter writer(checkpoint(state.step));
  add_model_(model, writer);
  if (!exact_) {
    const std::vector<NamedTensor> masters = checkpoint_tensors(model);
    writer.add_file(masters_name, [&](OutputFile& file) { write_safetensors(file, masters); });
  }
  std::vector<NamedTensor> moments;
  for (StateTensor& moment : optimizer.moments()) moments.emplace_back(std::move(moment.name), moment.tensor);
  writer.add_file(moments_name, [&](OutputFile& file) { write_safetensors(file, moments); });
  writer.add_file(state_name, state_text(state, record));
  writer.commit(state.step);
  remove_old(output_ / "checkpoints", state.step, checkpoints_kept);
}

void CheckpointStore::save_best(const Transformer& model, std::int64_t step) const {
  DirectoryWriter writer(best());
  add_model_(model, writer);
  writer.commit(step);
}

void CheckpointStore::add_snapshot(const Transformer& model, TrainingState& state, std::size_t keep) const {
  const fs::path path = snapshot(state.step);
  fs::create_directories(path.parent_path());
  const std::vector<NamedTensor> tensors = checkpoint_tensors(model);
  Digest digest;
  write_file_durably(path, [&](OutputFile& file) {
    write_safetensors(file, tensors);
    digest = file.digest();
  });
  std::erase_if(state.snapshots, [&](const Snapshot& other) { return other.step >= state.step; });
  state.snapshots.push_back({.step = state.step, .digest = digest});
  if (state.snapshots.size() > keep)
    state.snapshots.erase(state.snapshots.begin(), state.snapshots.end() - static_cast<std::ptrdiff_t>(keep));
  // One more than is averaged: the checkpoint before this one, should it be needed, wants it.
  remove_old(path.parent_path(), state.step, keep + 1);
}

std::unique_ptr<Transformer> CheckpointStore::write_average(const ModelConfig& config, const TrainingState& state,
                                                            std::vector<std::string>& warnings) const {
  std::vector<fs::path> files;
  for (const Snapshot& kept : state.snapshots) {
    const fs::path path = snapshot(kept.step);
    if (fs::exists(path) && digest_of(path) == kept.digest) {
      files.push_back(path);
    } else {
      warnings.push_back(fmt::format("{}: is missing or damaged and is left out of the average", path.string()));
    }
  }
  if (files.size() < 2) return nullptr;
  auto model = std::make_unique<Transformer>(config);
  const std::vector<NamedTensor> means = mean_of(files);
  fill_parameters(*model, {means.begin(), means.end()}, files.front().string());
  DirectoryWriter writer(average());
  add_model_(*model, writer);
  writer.commit(state.step);
  return model;
}

void CheckpointStore::publish(const fs::path& model) const {
  const Manifest manifest = verify_manifest(model);
  const auto is_state = [](std::string_view name) {
    return name == state_name || name == moments_name || name == masters_name;
  };
  for (const auto& [name, digest] : manifest.files) {
    if (name != weights_name && !is_state(name)) copy_durably(model / name, output_ / name);
  }
  copy_durably(model / weights_name, output_ / weights_name);
}

void CheckpointStore::set_aside_after(std::int64_t step) const {
  for (const NumberedPath& path : numbered_paths(output_ / "checkpoints")) {
    if (path.step <= step) continue;
    const fs::path aside = path.path.parent_path() / ("damaged-" + path.path.filename().string());
    std::error_code error;
    fs::remove_all(aside, error);
    if (!error) fs::rename(path.path, aside, error);
    require(!error, "{}: cannot be renamed: {}", path.path.string(), error.message());
  }
}

}  // namespace rapt::training
