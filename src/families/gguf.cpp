#include "families/gguf.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "families/gguf_architecture.h"
#include "formats/printable.h"

namespace rapt {
namespace {

struct Name {
  std::string_view stem;
  std::string_view ending;  ///< ".weight" or ".bias"
};

Name split_name(std::string_view name) {
  const std::size_t dot = std::min(name.rfind('.'), name.size());
  return {name.substr(0, dot), name.substr(dot)};
}

/// The index in `stem` where `pattern` has {}; nothing when they do not match.
std::optional<std::string_view> match(std::string_view pattern, std::string_view stem) {
  const std::size_t place = pattern.find("{}");
  if (place == std::string_view::npos) return pattern == stem ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view before = pattern.substr(0, place);
  const std::string_view after = pattern.substr(place + 2);
  if (!stem.starts_with(before) || !stem.ends_with(after) || stem.size() <= before.size() + after.size()) return {};
  const std::string_view index = stem.substr(before.size(), stem.size() - before.size() - after.size());
  return index.find_first_not_of("0123456789") == std::string_view::npos ? std::optional(index) : std::nullopt;
}

/// The other name for one without its ending.
std::optional<std::string> renamed(const GgufArchitectureRules& rules, std::string_view stem,
                                   std::string_view GgufNameRule::*from, std::string_view GgufNameRule::*to) {
  for (const GgufNameRule& rule : rules.tensors) {
    const auto index = match(rule.*from, stem);
    if (!index) continue;
    std::string result(rule.*to);
    if (!index->empty()) result.replace(result.find("{}"), 2, *index);
    return result;
  }
  return {};
}

/// The row of [heads, d_head / 2, 2] that is row `row` of [heads, 2, d_head / 2].
std::int64_t row_of_pairs(std::int64_t row, std::int64_t d_head) {
  const std::int64_t in_head = row % d_head;
  return row - in_head + in_head % (d_head / 2) * 2 + in_head / (d_head / 2);
}

/// Rows [heads, d_head / 2, 2] -> [heads, 2, d_head / 2], of a matrix or a bias.
Tensor halves_of_pairs(const Tensor& pairs, std::int64_t d_head) {
  Tensor result = Tensor::empty(pairs.shape(), pairs.dtype());
  const std::int64_t rows = pairs.dim(0);
  const std::size_t width = rows > 0 ? pairs.bytes() / static_cast<std::size_t>(rows) : 0;
  const auto* from = static_cast<const std::byte*>(pairs.raw());
  auto* to = static_cast<std::byte*>(result.raw_write());
  for (std::int64_t row = 0; row < rows; ++row, to += width)
    std::copy_n(from + static_cast<std::size_t>(row_of_pairs(row, d_head)) * width, width, to);
  return result;
}

/// A tensor of the file as it was before the converter changed it: `d_head`, if not 0, tells that rows of heads of that
/// size come in pairs, and `offset` was added to all elements.
CheckpointTensor lazy_tensor(const std::shared_ptr<const Gguf>& file, std::string_view name, std::int64_t d_head,
                             double offset) {
  // Vectors are copied: reading them in the file at every step would keep what lies around them in memory.
  const bool as_it_lies = offset == 0 && file->lies_ready(name) && file->tensor(name).shape.rank() > 1;
  if (as_it_lies && d_head == 0) return file->load(name);
  file->require_unpackable(name);
  const DType dtype = as_it_lies ? file->load(name).dtype() : DType::f32;
  CheckpointTensor result(file->tensor(name).shape, dtype, [file, name, d_head, offset, as_it_lies] {
    Tensor tensor = as_it_lies ? file->load(name) : file->unpack(name);
    if (d_head != 0) tensor = halves_of_pairs(tensor, d_head);
    file->release_pages(name);
    if (offset == 0) return tensor;
    float* values = tensor.write<float>();
    const auto subtracted = static_cast<float>(offset);
    std::transform(values, values + tensor.count(), values, [=](float x) { return x - subtracted; });
    return tensor;
  });
  if (offset == 0 && result.shape.rank() == 2)
    result.read_rows = [file, name, d_head](std::span<const std::int32_t> ids) {
      std::vector<std::int32_t> stored(ids.begin(), ids.end());
      if (d_head != 0) {
        for (std::int32_t& id : stored) id = static_cast<std::int32_t>(row_of_pairs(id, d_head));
      }
      return file->unpack_rows(name, stored);
    };
  return result;
}

}  // namespace

CheckpointTensors gguf_tensors(const std::shared_ptr<const Gguf>& file) {
  const GgufArchitectureRules& rules = find_architecture(*file);
  const std::int64_t d_head = read_architecture(*file).d_head;
  CheckpointTensors result;
  for (const auto& [name, stored] : file->tensors()) {
    if (rules.pairs && name == gguf_rotary_factors) continue;
    const auto [stem, ending] = split_name(name);
    const auto stem_there = renamed(rules, stem, &GgufNameRule::name, &GgufNameRule::hugging_face);
    require(stem_there && (ending == ".weight" || ending == ".bias"),
            "{}: tensor \"{}\" {}: a {} model has no such tensor", file->file(), printable(name), stored.shape,
            rules.name);
    const bool pairs = rules.pairs && (stem.ends_with(".attn_q") || stem.ends_with(".attn_k"));
    require(!pairs || (d_head > 0 && stored.shape.rank() > 0 && stored.shape[0] % d_head == 0),
            "{}: tensor \"{}\" is {}; expected a multiple of {} rows, the size of a head", file->file(),
            printable(name), stored.shape, d_head);
    const double offset = stem.ends_with("_norm") ? rules.norm_offset : 0;
    CheckpointTensor tensor = lazy_tensor(file, name, pairs ? d_head : 0, offset);
    tensor.stacked = rules.stacked;
    result.emplace(*stem_there + std::string(ending), std::move(tensor));
  }
  return result;
}

std::string gguf_tensor_name(const Gguf& file, const std::string& hugging_face) {
  const auto [stem, ending] = split_name(hugging_face);
  const auto found = renamed(find_architecture(file), stem, &GgufNameRule::hugging_face, &GgufNameRule::name);
  return found ? *found + std::string(ending) : hugging_face;
}

}  // namespace rapt
