#include "training/checkpoint_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace rapt::training {
namespace {

constexpr std::int64_t format_version = 1;

OrderedJson to_json(const Digest& digest) {
  return {{"bytes", digest.bytes}, {"crc32", digest.crc32}};
}

Digest digest_of_json(const JsonObject& json) {
  return {.bytes = static_cast<std::uint64_t>(json.integer("bytes", {.min = 0})),
          .crc32 = static_cast<std::uint32_t>(json.integer("crc32", {.min = 0, .max = 0xffffffff}))};
}

OrderedJson to_json(const TrainingState& state) {
  OrderedJson snapshots = OrderedJson::array();
  for (const Snapshot& snapshot : state.snapshots)
    snapshots.push_back({{"step", snapshot.step}, {"file", to_json(snapshot.digest)}});
  return {{"step", state.step},
          {"next_epoch", state.next.epoch},
          {"next_batch", state.next.batch},
          {"updates", state.updates},
          {"target_tokens", state.target_tokens},
          {"source_tokens", state.source_tokens},
          {"skipped", state.skipped},
          {"skipped_in_row", state.skipped_in_row},
          {"best", state.best ? OrderedJson(*state.best) : OrderedJson(nullptr)},
          {"best_step", state.best_step},
          {"validated_step", state.validated_step},
          {"without_improvement", state.without_improvement},
          {"snapshots", snapshots},
          {"seconds", state.seconds},
          {"journal_bytes", state.journal_bytes}};
}

TrainingState parse_training_state(const JsonObject& json) {
  const auto count = [&](std::string_view key) { return json.integer(key, {.min = 0}); };
  TrainingState state{.step = count("step"),
                      .next = {.epoch = count("next_epoch"), .batch = count("next_batch")},
                      .updates = count("updates"),
                      .target_tokens = count("target_tokens"),
                      .source_tokens = count("source_tokens"),
                      .skipped = count("skipped"),
                      .skipped_in_row = count("skipped_in_row"),
                      .best = json.find_number("best"),
                      .best_step = count("best_step"),
                      .validated_step = count("validated_step"),
                      .without_improvement = count("without_improvement"),
                      .snapshots = {},
                      .seconds = json.number("seconds", {.min = 0}),
                      .journal_bytes = count("journal_bytes")};
  for (const JsonObject& snapshot : json.objects("snapshots"))
    state.snapshots.push_back(
        {.step = snapshot.integer("step", {.min = 0}), .digest = digest_of_json(snapshot.object("file"))});
  return state;
}

OrderedJson to_json(const FineTuning& fine_tuning) {
  return {{"from", fine_tuning.from},
          {"document", fine_tuning.document},
          {"prefix", fine_tuning.prefix},
          {"source_language", fine_tuning.source_language},
          {"target_language", fine_tuning.target_language}};
}

FineTuning parse_fine_tuning(const JsonObject& json) {
  return {.from = json.text("from"),
          .document = json.text("document"),
          .prefix = json.text("prefix"),
          .source_language = json.text("source_language"),
          .target_language = json.text("target_language")};
}

OrderedJson to_json(const RunRecord& record) {
  OrderedJson files = OrderedJson::array();
  for (const CorpusFile& file : record.files)
    files.push_back({{"option", file.option}, {"path", file.path}, {"text", to_json(file.digest)}});
  OrderedJson json{{"recipe", record.recipe},
                   {"settings", record.settings},
                   {"files", files},
                   {"dev_fraction", record.dev_fraction},
                   {"skip_invalid", record.skip_invalid}};
  if (record.fine_tuning) json["fine_tuning"] = to_json(*record.fine_tuning);
  return json;
}

RunRecord parse_record(const JsonObject& json) {
  RunRecord record{.recipe = json.text("recipe"),
                   .settings = {},
                   .files = {},
                   .fine_tuning = {},
                   .dev_fraction = json.number("dev_fraction", {.min = 0, .max = 1}),
                   .skip_invalid = json.boolean("skip_invalid")};
  if (const auto fine_tuning = json.find_object("fine_tuning")) record.fine_tuning = parse_fine_tuning(*fine_tuning);
  const JsonObject values = json.object("settings");
  for (const std::string& name : values.keys()) record.settings[name] = values.text(name);
  for (const JsonObject& file : json.objects("files"))
    record.files.push_back(
        {.option = file.text("option"), .path = file.text("path"), .digest = digest_of_json(file.object("text"))});
  return record;
}

void require_same_settings(const RunRecord& before, const RunRecord& now) {
  for (const Setting& setting : settings()) {
    if (setting.may_change) continue;
    const std::string name(setting.name);
    const std::string& old_value = before.settings.at(name);
    const std::string& new_value = now.settings.at(name);
    require(old_value == new_value,
            "--resume: the run was started with --{} {}, now it is {}; give the same value, or start a new run in "
            "another --output",
            name, old_value, new_value);
  }
}

void require_same_files(const RunRecord& before, const RunRecord& now) {
  for (const CorpusFile& file : before.files) {
    const auto found = std::ranges::find(now.files, file.option, &CorpusFile::option);
    require(found != now.files.end(), "--resume: the run was started with --{} {}, now there is none", file.option,
            file.path);
    require(
        found->digest == file.digest,
        "--resume: --{} {} is not the text that the run was started with ({} then: {} bytes, CRC-32 {:08x}; now: {} "
        "bytes, {:08x}); give that text, or start a new run in another --output",
        file.option, found->path, file.path, file.digest.bytes, file.digest.crc32, found->digest.bytes,
        found->digest.crc32);
  }
  require(before.files.size() == now.files.size(),
          "--resume: the run was started with {} files of text, now there are {}; give the same", before.files.size(),
          now.files.size());
}

}  // namespace

std::map<std::string, std::string> settings_of(const Recipe& recipe) {
  std::map<std::string, std::string> result;
  for (const Setting& setting : settings()) result[std::string(setting.name)] = setting.get(recipe);
  return result;
}

Recipe recipe_of(const RunRecord& record, const std::string& file) {
  Recipe recipe = record.fine_tuning ? fine_tuning_recipe() : find_recipe(record.recipe);
  for (const auto& [name, value] : record.settings) find_setting(name).set(recipe, value);
  for (const Setting& setting : settings())
    require(record.settings.contains(std::string(setting.name)),
            "{}: says nothing about \"{}\"; it was written by another version of rapt", file, setting.name);
  return recipe;
}

void require_same_run(const RunRecord& before, const RunRecord& now) {
  require(before.recipe == now.recipe, "--resume: the run was started with --recipe {}, not {}", before.recipe,
          now.recipe);
  require_same_settings(before, now);
  require_same_files(before, now);
  require(before.dev_fraction == now.dev_fraction, "--resume: the run was started with --dev-fraction {}, now it is {}",
          before.dev_fraction, now.dev_fraction);
  require(before.skip_invalid == now.skip_invalid, "--resume: the run was started {} --skip-invalid",
          before.skip_invalid ? "with" : "without");
}

std::string state_text(const TrainingState& state, const RunRecord& record) {
  return json_text({{"version", format_version}, {"state", to_json(state)}, {"run", to_json(record)}});
}

StoredState parse_state(const JsonObject& json) {
  const std::int64_t version = json.integer("version");
  require(version == format_version, "{}: written in version {} of the format, this rapt reads version {}", json.file(),
          version, format_version);
  StoredState result{.state = parse_training_state(json.object("state")), .record = parse_record(json.object("run"))};
  json.require_all_read();
  return result;
}

}  // namespace rapt::training
