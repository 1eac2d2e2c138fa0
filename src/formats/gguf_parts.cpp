// Models in several GGUF files, as llama-gguf-split and the converter's --split-max-size write them.
#include <algorithm>

#include "core/error.h"
#include "formats/gguf.h"
#include "formats/printable.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view number_key = "split.no";  // from 0
constexpr std::string_view count_key = "split.count";
constexpr std::string_view total_key = "split.tensors.count";
constexpr std::int64_t max_parts = 65535;

/// STEM-00001-of-00003.gguf: parts are numbered from 1.
struct PartName {
  std::string stem;
  std::int64_t number = 1;
  std::int64_t count = 1;

  std::string text() const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, number, count); }
};

std::optional<PartName> part_name(const fs::path& file) {
  const std::string name = file.filename();
  constexpr std::string_view form = "-00000-of-00000.gguf";
  if (name.size() <= form.size()) return {};
  const std::size_t stem = name.size() - form.size();
  for (std::size_t i = 0; i < form.size(); ++i) {
    const char c = name[stem + i];
    if (form[i] == '0' ? c < '0' || c > '9' : c != form[i]) return {};
  }
  return PartName{name.substr(0, stem), std::stoll(name.substr(stem + 1, 5)), std::stoll(name.substr(stem + 10, 5))};
}

void require_value(const Gguf& file, std::string_view key, std::int64_t expected, std::string_view reason) {
  if (file.integer(key) != expected) file.refuse(key, fmt::format("{}, {}", expected, reason));
}

/// The name of the first part, if that is what `file` is.
PartName require_first(const Gguf& file, const fs::path& path, std::int64_t count) {
  const auto name = part_name(path);
  const std::int64_t number = file.integer(number_key, 0, count - 1);
  if (name) {
    require_value(file, count_key, name->count, "as the file's name says");
    require_value(file, number_key, name->number - 1, "as the file's name says");
  }
  const std::string first = PartName{name ? name->stem : "NAME", 1, count}.text();
  require(number == 0, "{}: is part {} of {}; give the first one, {}", file.file(), number + 1, count,
          printable(first));
  require(name.has_value(), "{}: is the first of {} parts, which are found by their names; expected it to be named {}",
          file.file(), count, first);
  return *name;
}

/// Other parts hold tensors; what they say about the model, the first one must say too.
void require_same_metadata(const Gguf& part, const Gguf& first) {
  for (const auto& [key, value] : part.metadata()) {
    if (key.starts_with("split.") || key == "general.alignment") continue;
    const auto found = first.metadata().find(key);
    const bool same = found != first.metadata().end() && found->second.type == value.type &&
                      found->second.length == value.length && std::ranges::equal(found->second.bytes, value.bytes);
    require(same, "{}: key \"{}\" ({}) is not what {} says; the two are not from the same model", part.file(),
            printable(key), value.shown(), first.file());
  }
}

}  // namespace

Gguf read_gguf(const fs::path& file) {
  Gguf model = read_gguf_file(file);
  const std::int64_t count = model.contains(count_key) ? model.integer(count_key, 1, max_parts) : 1;
  if (count == 1) return model;
  PartName name = require_first(model, file, count);
  const std::int64_t total = model.integer(total_key);
  const std::string as_first = fmt::format("as in {}", model.file());
  for (name.number = 2; name.number <= count; ++name.number) {
    const fs::path path = file.parent_path() / name.text();
    require(fs::exists(path), "{}: is missing; {} is the first of {} parts, which must lie beside each other",
            shown(path), model.file(), count);
    const Gguf part = read_gguf_file(path);
    require_value(part, number_key, name.number - 1, "as the file's name says");
    require_value(part, count_key, count, as_first);
    require_value(part, total_key, total, as_first);
    require_same_metadata(part, model);
    model.add_part(part);
  }
  require_value(model, total_key, std::ssize(model.tensors()), "the number of tensors in its parts");
  return model;
}

}  // namespace rapt
