#include "formats/safetensors.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "formats/byte_cursor.h"
#include "formats/foreign.h"
#include "formats/json.h"
#include "formats/printable.h"

namespace rapt {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are mapped as they are, little-endian");

constexpr std::size_t length_bytes = 8;
constexpr std::size_t max_header_bytes = 100'000'000;
constexpr std::size_t max_tensors = std::size_t{1} << 17;
constexpr std::size_t max_name_bytes = 1024;
constexpr std::size_t data_alignment = 64;
constexpr std::string_view metadata_key = "__metadata__";
constexpr JsonLimits header_limits{.bytes = max_header_bytes, .members = max_tensors + 1};

struct TypeName {
  std::string_view name;
  DType type;
};
constexpr TypeName type_names[] = {{"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
                                   {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8}};
constexpr std::string_view unused_types[] = {"BOOL",        "I8",      "I16",     "U16",     "U32",
                                             "U64",         "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
                                             "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",      "C64"};

std::string_view name_in_file(DType type) {
  return std::ranges::find(type_names, type, &TypeName::type)->name;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Reads one file; `name_` stands for it in messages.
class Reader {
 public:
  Reader(std::shared_ptr<const void> keep, std::span<const std::byte> bytes, std::string name)
      : keep_(std::move(keep)), bytes_(bytes), name_(std::move(name)) {}

  Safetensors read() {
    const std::string_view header = find_header();
    data_ = bytes_.subspan(length_bytes + header.size());
    const Json parsed = parse_json(header, name_, header_limits);
    read_entries(parsed);
    check_layout();
    Safetensors result;
    if (parsed.contains(metadata_key)) result.metadata = read_metadata(parsed[metadata_key]);
    for (const Entry& entry : entries_) result.tensors.emplace(*entry.name, tensor_of(entry));
    return result;
  }

 private:
  struct Entry {
    const std::string* name;
    DType dtype;
    Shape shape;
    std::uint64_t begin;
    std::uint64_t end;
  };

  std::string_view find_header() const {
    const std::string_view all = text_of(bytes_);
    require(all.size() >= length_bytes, "{}: not a safetensors file: {} bytes are too few{}", name_, all.size(),
            advice_about(all));
    ByteCursor cursor(bytes_, name_);
    const auto length = cursor.read<std::uint64_t>("the length of the header");
    require(length <= max_header_bytes,
            "{}: not a safetensors file: a header of {} bytes, where at most {} are allowed{}", name_, length,
            max_header_bytes, advice_about(all));
    require(length <= cursor.left(),
            "{}: the header should have {} bytes, but only {} are left in the file; fetch it again{}", name_, length,
            cursor.left(), advice_about(all));
    const std::string_view header = text_of(cursor.take(length, "the header"));
    require(header.starts_with('{'), "{}: not a safetensors file: the header does not begin with \"{{\"{}", name_,
            advice_about(all));
    return header;
  }

  std::map<std::string, std::string> read_metadata(const Json& found) const {
    std::map<std::string, std::string> result;
    require(found.is_object(), "{}: \"{}\" must be an object of strings", name_, metadata_key);
    for (const auto& [key, value] : found.items()) {
      require(value.is_string(), "{}: \"{}.{}\" must be a string", name_, metadata_key, printable(key));
      result.emplace(key, value.get<std::string>());
    }
    return result;
  }

  void read_entries(const Json& header) {
    entries_.reserve(header.size());
    for (const auto& [name, value] : header.get_ref<const Json::object_t&>()) {
      if (name != metadata_key) entries_.push_back(read_entry(name, value));
    }
    require(entries_.size() <= max_tensors, "{}: holds more than {} tensors", name_, max_tensors);
  }

  Entry read_entry(const std::string& name, const Json& value) const {
    if (name.size() > max_name_bytes) {
      refuse(name, fmt::format("the name has {} bytes, at most {} are allowed", name.size(), max_name_bytes));
    }
    if (!value.is_object() || value.size() != 3) {
      refuse(name, "expected exactly \"dtype\", \"shape\" and \"data_offsets\"");
    }
    Entry entry{
        .name = &name, .dtype = read_type(name, member(name, value, "dtype")), .shape = {}, .begin = 0, .end = 0};
    const std::vector<std::uint64_t> extents = read_sizes(name, member(name, value, "shape"), "shape");
    const std::vector<std::uint64_t> offsets = read_sizes(name, member(name, value, "data_offsets"), "data_offsets");
    if (offsets.size() != 2) refuse(name, "\"data_offsets\" must hold two numbers, the begin and the end");
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.begin > entry.end) refuse(name, fmt::format("ends at {}, before its begin {}", entry.end, entry.begin));
    if (entry.end > data_.size()) {
      refuse(name, fmt::format("ends at byte {} of the data, but the file holds only {}; fetch it again", entry.end,
                               data_.size()));
    }
    entry.shape = read_shape(name, extents, entry.dtype, entry.end - entry.begin);
    return entry;
  }

  const Json& member(const std::string& name, const Json& value, const char* key) const {
    const auto found = value.find(key);
    if (found == value.end()) refuse(name, fmt::format("\"{}\" is missing", key));
    return *found;
  }

  DType read_type(const std::string& name, const Json& value) const {
    if (!value.is_string()) refuse(name, "\"dtype\" must be a string");
    const auto& text = value.get_ref<const std::string&>();
    for (const TypeName& known : type_names) {
      if (known.name == text) return known.type;
    }
    const bool known = std::ranges::find(unused_types, text) != std::end(unused_types);
    refuse(name, fmt::format("has the {} \"{}\"; rapt reads F64, F32, F16, BF16, I64, I32 and U8",
                             known ? "type" : "unknown type", printable(text)));
  }

  std::vector<std::uint64_t> read_sizes(const std::string& name, const Json& value, std::string_view key) const {
    if (!value.is_array()) refuse(name, fmt::format("\"{}\" must be an array", key));
    std::vector<std::uint64_t> result;
    for (const Json& item : value) {
      if (!item.is_number_unsigned()) refuse(name, fmt::format("\"{}\" must hold integers >= 0", key));
      result.push_back(item.get<std::uint64_t>());
    }
    return result;
  }

  Shape read_shape(const std::string& name, const std::vector<std::uint64_t>& extents, DType dtype,
                   std::uint64_t bytes) const {
    if (extents.size() > Shape::max_rank) {
      refuse(name, fmt::format("has {} dimensions, at most {} are allowed", extents.size(), int{Shape::max_rank}));
    }
    std::uint64_t size = size_of(dtype);
    std::vector<std::int64_t> signed_extents;
    for (const std::uint64_t extent : extents) {
      constexpr std::uint64_t max = std::numeric_limits<std::int64_t>::max();
      if (extent > max || (extent > 0 && size > max / extent)) {
        refuse(name, fmt::format("has the shape [{}], too large for any file", fmt::join(extents, ", ")));
      }
      size *= extent;
      signed_extents.push_back(static_cast<std::int64_t>(extent));
    }
    if (size != bytes) {
      refuse(name, fmt::format("takes {} bytes, but shape [{}] of {} needs {}", bytes, fmt::join(extents, ", "),
                               name_in_file(dtype), size));
    }
    return Shape(signed_extents);
  }

  /// The tensors must cover the data from the first byte to the last, each byte once.
  void check_layout() {
    std::vector<const Entry*> in_file;
    for (const Entry& entry : entries_) in_file.push_back(&entry);
    std::ranges::sort(in_file, {}, [](const Entry* entry) { return std::pair(entry->begin, entry->end); });
    std::uint64_t end = 0;
    for (const Entry* entry : in_file) {
      if (entry->begin != end) {
        refuse(*entry->name, fmt::format("begins at byte {} of the data, but the one before it ends at {}: {}",
                                         entry->begin, end, entry->begin < end ? "they overlap" : "there is a hole"));
      }
      end = entry->end;
    }
    require(end == data_.size(), "{}: {} bytes after the last tensor belong to none; the file is damaged", name_,
            data_.size() - end);
  }

  Tensor tensor_of(const Entry& entry) const {
    const std::byte* data = data_.data() + entry.begin;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % size_of(entry.dtype) == 0;
    Tensor mapped(std::const_pointer_cast<void>(keep_), const_cast<std::byte*>(data), entry.shape, entry.dtype, true);
    return aligned ? mapped : mapped.clone();
  }

  [[noreturn]] void refuse(const std::string& tensor, std::string_view problem) const {
    fail("{}: tensor \"{}\": {}", name_, printable(tensor), problem);
  }

  std::shared_ptr<const void> keep_;
  std::span<const std::byte> bytes_;
  std::string name_;
  std::span<const std::byte> data_;
  std::vector<Entry> entries_;
};

template <typename Bits>
std::int64_t count_non_finite(const Tensor& tensor, Bits exponent) {
  const auto* bits = static_cast<const Bits*>(tensor.raw());
  return std::count_if(bits, bits + tensor.count(), [exponent](Bits b) { return (b & exponent) == exponent; });
}

std::int64_t count_non_finite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f64:
      return count_non_finite<std::uint64_t>(tensor, 0x7ff0000000000000u);
    case DType::f32:
      return count_non_finite<std::uint32_t>(tensor, 0x7f800000u);
    case DType::bf16:
      return count_non_finite<std::uint16_t>(tensor, 0x7f80u);
    case DType::f16:
      return count_non_finite<std::uint16_t>(tensor, 0x7c00u);
    case DType::i64:
    case DType::i32:
    case DType::u8:
      return 0;
  }
  return 0;
}

void require_finite(const Safetensors& checkpoint, const std::string& file) {
  const std::vector<NonFinite> found = find_non_finite(checkpoint.tensors);
  if (found.empty()) return;
  fail("{}: {} tensors hold NaN or infinity, the first is \"{}\" ({} elements); the weights are damaged", file,
       found.size(), printable(found.front().name), found.front().count);
}

/// Throws Error unless the shard lies in the directory, or in the cache that the directory is a snapshot of
/// (.../snapshots/<revision>/<file> -> .../blobs/<hash>).
void require_inside(const std::filesystem::path& directory, const std::string& shard, const std::string& index) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(directory / shard, error);
  require(!error, "{}: names the shard \"{}\", which cannot be opened: {}; fetch it into the same directory", index,
          printable(shard), error.message());
  const std::filesystem::path home = std::filesystem::canonical(directory);
  const std::filesystem::path snapshots = home.parent_path();
  const bool in_cache =
      snapshots.filename() == "snapshots" && target.parent_path() == snapshots.parent_path() / "blobs";
  require(target.parent_path() == home || in_cache,
          "{}: the shard \"{}\" is a link out of the directory; copy the file into it", index, printable(shard));
}

/// The shard of each tensor, by tensor.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const JsonObject root = JsonObject::read(index, {.bytes = max_header_bytes, .members = max_tensors});
  const JsonObject weight_map = root.object("weight_map");
  std::map<std::string, std::string> result;
  for (const std::string& tensor : weight_map.keys()) {
    std::string shard = weight_map.text(tensor);
    if (!is_plain_name(shard) || !shard.ends_with(".safetensors")) {
      weight_map.refuse(tensor, "the name of a .safetensors file in the same directory");
    }
    result.emplace(tensor, std::move(shard));
  }
  constexpr std::string_view irrelevant[] = {"metadata"};
  root.require_all_read(irrelevant);
  return result;
}

void require_writable(std::span<const NamedTensor> tensors) {
  require(tensors.size() <= max_tensors, "{} tensors are more than the {} a safetensors file may hold", tensors.size(),
          max_tensors);
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    require(name.size() <= max_name_bytes && name != metadata_key, "\"{}\" cannot name a tensor", printable(name));
    require(names.insert(name).second, "tensor \"{}\" is given twice", printable(name));
    require(tensor.defined(), "tensor \"{}\" is given without data", printable(name));
  }
}

std::vector<const NamedTensor*> ordered(std::span<const NamedTensor> tensors, TensorOrder order) {
  std::vector<const NamedTensor*> result;
  for (const NamedTensor& tensor : tensors) result.push_back(&tensor);
  if (order == TensorOrder::given) return result;
  std::ranges::sort(result, {}, [](const NamedTensor* tensor) {
    return std::pair<std::int64_t, std::string_view>(-static_cast<std::int64_t>(size_of(tensor->second.dtype())),
                                                     tensor->first);
  });
  return result;
}

/// The header with its length in front, padded with spaces.
std::string header_of(const std::vector<const NamedTensor*>& tensors, const SafetensorsWriteOptions& options) {
  std::string text = "{";
  if (!options.metadata.empty()) {
    text += fmt::format("\"{}\":{}", metadata_key, json_line(options.metadata));
  }
  std::uint64_t begin = 0;
  for (const auto* named : tensors) {
    const auto& [name, tensor] = *named;
    const std::uint64_t end = begin + tensor.bytes();
    fmt::format_to(std::back_inserter(text), "{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                   text.size() > 1 ? "," : "", json_line(name), name_in_file(tensor.dtype()),
                   fmt::join(tensor.shape(), ","), begin, end);
    begin = end;
  }
  text += "}";
  const std::size_t used = length_bytes + text.size();
  text.append((used + data_alignment - 1) / data_alignment * data_alignment - used, ' ');
  require(text.size() <= max_header_bytes, "the header of the tensors has {} bytes, at most {} are allowed",
          text.size(), max_header_bytes);
  const std::uint64_t length = text.size();
  std::string result(length_bytes, '\0');
  std::memcpy(result.data(), &length, length_bytes);
  return result + text;
}

}  // namespace

Safetensors read_safetensors(std::shared_ptr<const void> keep, std::span<const std::byte> bytes,
                             const std::string& file) {
  return Reader(std::move(keep), bytes, file).read();
}

Safetensors read_safetensors(const std::filesystem::path& file, const SafetensorsOptions& options) {
  const auto mapped = MappedFile::open(file);
  Safetensors result = read_safetensors(mapped, mapped->bytes(), shown(file));
  if (options.check_finite) require_finite(result, shown(file));
  return result;
}

Safetensors read_sharded_safetensors(const std::filesystem::path& index, const SafetensorsOptions& options) {
  const std::string name = shown(index);
  const std::filesystem::path directory = index.has_parent_path() ? index.parent_path() : ".";
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  Safetensors result;
  for (const std::string& shard : shards) {
    require_inside(directory, shard, name);
    Safetensors part = read_safetensors(directory / shard, options);
    for (const auto& [tensor, ignored] : part.tensors) {
      const auto found = weight_map.find(tensor);
      require(
          found != weight_map.end() && found->second == shard,
          "{}: tensor \"{}\" lies in \"{}\", where the index does not put it; the files are not from the same model",
          name, printable(tensor), printable(shard));
    }
    result.tensors.merge(part.tensors);
    result.metadata.merge(part.metadata);
  }
  for (const auto& [tensor, shard] : weight_map) {
    require(result.tensors.contains(tensor),
            "{}: tensor \"{}\" should be in \"{}\" but is not; the files are not from the same model", name,
            printable(tensor), printable(shard));
  }
  return result;
}

Safetensors read_safetensors_directory(const std::filesystem::path& directory, const SafetensorsOptions& options) {
  const std::filesystem::path single = directory / "model.safetensors";
  const std::filesystem::path index = directory / "model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) return read_safetensors(single, options);
  require(std::filesystem::exists(index, ignored),
          "{}: holds neither model.safetensors nor model.safetensors.index.json{}", shown(directory),
          advice_about_weights(directory));
  return read_sharded_safetensors(index, options);
}

void release_pages(const Tensor& tensor) {
  if (tensor.read_only()) release_pages({static_cast<const std::byte*>(tensor.raw()), tensor.bytes()});
}

std::vector<NonFinite> find_non_finite(const std::map<std::string, Tensor>& tensors) {
  std::vector<NonFinite> result;
  for (const auto& [name, tensor] : tensors) {
    const std::int64_t count = count_non_finite(tensor);
    if (count > 0) result.push_back({.name = name, .count = count});
  }
  return result;
}

void write_safetensors(OutputFile& file, std::span<const NamedTensor> tensors, const SafetensorsWriteOptions& options) {
  require_writable(tensors);
  const std::vector<const NamedTensor*> in_file = ordered(tensors, options.order);
  file.write(header_of(in_file, options));
  for (const NamedTensor* tensor : in_file) {
    file.write(std::span(static_cast<const std::byte*>(tensor->second.raw()), tensor->second.bytes()));
  }
}

void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const SafetensorsWriteOptions& options) {
  write_file_durably(path, [&](OutputFile& file) { write_safetensors(file, tensors, options); });
}

}  // namespace rapt
