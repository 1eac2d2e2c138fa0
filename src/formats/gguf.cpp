#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/file.h"
#include "formats/foreign.h"
#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::string_view magic = "GGUF";
constexpr std::uint32_t readable_version = 3;
constexpr std::uint64_t max_keys = std::uint64_t{1} << 17;
constexpr std::uint64_t max_tensors = std::uint64_t{1} << 17;
constexpr std::size_t max_key_bytes = 65535;
constexpr std::size_t max_name_bytes = 63;
constexpr std::uint32_t max_dimensions = 4;
constexpr std::uint64_t default_alignment = 32;
constexpr std::int64_t min_alignment = 8;
constexpr std::int64_t max_alignment = 65536;
constexpr std::string_view alignment_key = "general.alignment";
constexpr std::size_t length_bytes = sizeof(std::uint64_t);

struct TypeOfValue {
  std::string_view name;
  std::size_t bytes;  ///< 0: depends on the value
};
constexpr TypeOfValue value_types[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                                       {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
                                       {"u64", 8}, {"i64", 8}, {"f64", 8}};

const TypeOfValue& about(GgufType type) {
  return value_types[static_cast<std::size_t>(type)];
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Reads one file from its first byte to its last.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(file), cursor_(bytes, file) {}

  Gguf read(std::shared_ptr<const void> keep, std::span<const std::byte> mapped) {
    check_version();
    const std::uint64_t tensors = read_count("the number of tensors", max_tensors, least_tensor_bytes);
    const std::uint64_t keys = read_count("the number of keys", max_keys, least_key_bytes);
    for (std::uint64_t i = 0; i < keys; ++i) read_key();
    infos_.reserve(tensors);
    for (std::uint64_t i = 0; i < tensors; ++i) read_info();
    find_data();
    return {{std::move(keep), mapped, file_}, std::move(metadata_), std::move(tensors_)};
  }

 private:
  // A key of one byte with a value of one; a name of one byte, no dimensions, type, offset.
  static constexpr std::size_t least_key_bytes = length_bytes + 1 + 4 + 1;
  static constexpr std::size_t least_tensor_bytes = length_bytes + 1 + 4 + 4 + 8;

  struct Info {
    std::string_view name;
    const BlockType* type;
    Shape shape;
    std::uint64_t bytes;
    std::uint64_t offset;
  };

  void check_version() {
    const std::string_view start = text_of(bytes_);
    if (!start.starts_with(magic)) refuse_foreign(start);
    cursor_.take(magic.size(), "the magic");
    const auto version = cursor_.read<std::uint32_t>("the version");
    if (version == readable_version) return;
    const std::string_view problem =
        version == 0                 ? "no version has that number; the file is damaged, fetch it again"
        : (version & 0xffffu) == 0   ? "the file is big-endian; take, or convert again as, a little-endian one"
        : version < readable_version ? "it is older; convert the model again with a current converter"
                                     : "it is newer than this rapt";
    fail("{}: GGUF version {}, expected {}: {}", file_, version, readable_version, problem);
  }

  [[noreturn]] void refuse_foreign(std::string_view start) const {
    constexpr std::string_view older[] = {"lmgg", "fmgg", "tjgg", "algg"};
    const bool is_older = std::ranges::find(older, start.substr(0, 4)) != std::end(older);
    const bool safetensors = start.size() > 8 && start[8] == '{';
    const std::string_view advice =
        is_older      ? "; it is an older format of llama.cpp: convert the model again with a current converter"
        : safetensors ? "; it is a safetensors file: give rapt the directory that it lies in"
                      : advice_about(start);
    fail("{}: not a GGUF file: expected it to begin with \"GGUF\", found \"{}\"{}", file_,
         printable(start.substr(0, 4)), advice);
  }

  std::uint64_t read_count(std::string_view what, std::uint64_t most, std::size_t least_bytes) {
    const auto count = cursor_.read<std::uint64_t>(what);
    cursor_.require_left(count, least_bytes, what);
    if (count > most) cursor_.refuse(fmt::format("{}: expected at most {}, found {}", what, most, count));
    return count;
  }

  void read_key() {
    cursor_.enter("the metadata");
    const std::string_view key = cursor_.read_text("a key");
    if (key.empty() || key.size() > max_key_bytes) {
      cursor_.refuse(fmt::format("expected a key of 1 to {} bytes, found {}", max_key_bytes, key.size()));
    }
    cursor_.enter("key", key);
    const GgufType type = read_type("its type");
    const GgufValue value = type == GgufType::array ? read_array() : read_scalar(type);
    if (!metadata_.emplace(key, value).second) cursor_.refuse("is given twice");
  }

  GgufType read_type(std::string_view what) {
    const auto type = cursor_.read<std::uint32_t>(what);
    if (type >= std::size(value_types)) {
      cursor_.refuse(fmt::format("{}: expected 0 to {}, found {}", what, std::size(value_types) - 1, type));
    }
    return static_cast<GgufType>(type);
  }

  GgufValue read_scalar(GgufType type) {
    if (type == GgufType::string) return {type, {}, std::as_bytes(std::span(cursor_.read_text("a string")))};
    const GgufValue value{type, {}, cursor_.take(about(type).bytes, "its value")};
    check_booleans(value);
    return value;
  }

  GgufValue read_array() {
    const GgufType type = read_type("the type of its elements");
    if (type == GgufType::array) cursor_.refuse("is an array of arrays, which rapt does not read");
    const auto length = cursor_.read<std::uint64_t>("its length");
    const bool strings = type == GgufType::string;
    cursor_.require_left(length, strings ? length_bytes : about(type).bytes, "its elements");
    if (!strings) {
      const GgufValue value{type, length, cursor_.take(length * about(type).bytes, "its elements")};
      check_booleans(value);
      return value;
    }
    const std::size_t begin = cursor_.offset();
    for (std::uint64_t i = 0; i < length; ++i) cursor_.read_text("a string");
    return {type, length, bytes_.subspan(begin, cursor_.offset() - begin)};
  }

  void check_booleans(const GgufValue& value) const {
    if (value.type != GgufType::boolean) return;
    const auto wrong = std::ranges::find_if(value.bytes, [](std::byte b) { return b > std::byte{1}; });
    if (wrong != value.bytes.end()) {
      cursor_.refuse(fmt::format("expected a bool of 0 or 1, found {}", std::to_integer<int>(*wrong)));
    }
  }

  void read_info() {
    cursor_.enter("the tensors");
    const std::string_view name = cursor_.read_text("a name");
    if (name.empty() || name.size() > max_name_bytes) {
      cursor_.refuse(fmt::format("expected a name of 1 to {} bytes, found {}", max_name_bytes, name.size()));
    }
    cursor_.enter("tensor", name);
    Info info{name, nullptr, read_shape(), 0, 0};
    const auto type = cursor_.read<std::uint32_t>("its type");
    info.type = find_block_type(type);
    if (info.type == nullptr)
      cursor_.refuse(fmt::format("has the type {}, which is unknown or no longer in use", type));
    info.bytes = size_of(info.shape, *info.type);
    info.offset = cursor_.read<std::uint64_t>("its offset");
    if (!tensors_.emplace(name, GgufTensor{info.type, info.shape, {}}).second) cursor_.refuse("is given twice");
    infos_.push_back(info);
  }

  Shape read_shape() {
    const auto rank = cursor_.read<std::uint32_t>("its number of dimensions");
    if (rank > max_dimensions) {
      cursor_.refuse(fmt::format("expected at most {} dimensions, found {}", max_dimensions, rank));
    }
    std::int64_t extents[max_dimensions];
    for (std::uint32_t axis = rank; axis > 0; --axis) extents[axis - 1] = cursor_.read<std::int64_t>("an extent");
    return Shape(std::span<const std::int64_t>(extents, rank));
  }

  /// In bytes, at most what a signed number holds.
  std::uint64_t size_of(const Shape& shape, const BlockType& type) const {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    std::uint64_t elements = 1;
    for (const std::int64_t extent : shape) {
      if (extent < 0) cursor_.refuse(fmt::format("has the shape {}; expected no negative extent", shape));
      const auto factor = static_cast<std::uint64_t>(extent);
      if (factor > 0 && elements > most / factor) {
        cursor_.refuse(fmt::format("has the shape {}, too large for any file", shape));
      }
      elements *= factor;
    }
    const std::int64_t row = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
    if (row % type.elements != 0) {
      cursor_.refuse(
          fmt::format("has the shape {}; expected rows of {} to be a multiple of {}", shape, type.name, type.elements));
    }
    const std::uint64_t blocks = elements / type.elements;
    if (blocks > most / type.bytes) {
      cursor_.refuse(fmt::format("has the shape {}, too large for any file", shape));
    }
    return blocks * type.bytes;
  }

  /// The data follow in the order of the tensors, each padded to the alignment; padding may be missing after the last.
  void find_data() {
    const std::uint64_t multiple = alignment();
    if (infos_.empty()) return check_end(cursor_.offset(), multiple);
    const std::uint64_t begin = round_up(cursor_.offset(), multiple);
    const std::uint64_t available = begin <= bytes_.size() ? bytes_.size() - begin : 0;
    std::uint64_t end = 0;
    for (const Info& info : infos_) {
      const std::uint64_t offset = round_up(end, multiple);
      check_offset(info, offset, multiple);
      if (offset > available || info.bytes > available - offset) {
        refuse(info, fmt::format("takes {} bytes at offset {} of the data, which are only {} bytes; the file is "
                                 "truncated or damaged, fetch it again",
                                 info.bytes, offset, available));
      }
      end = offset + info.bytes;
      tensors_.at(info.name).bytes = bytes_.subspan(begin + offset, info.bytes);
    }
    check_end(begin + end, multiple);
  }

  void check_offset(const Info& info, std::uint64_t expected, std::uint64_t multiple) const {
    if (info.offset == expected) return;
    const std::string_view problem = info.offset % multiple != 0 ? "it is not aligned"
                                     : info.offset < expected    ? "it overlaps the one before it"
                                                                 : "there is a hole before it";
    refuse(info, fmt::format("expected its data at offset {} (alignment {}), found {}: {}", expected, multiple,
                             info.offset, problem));
  }

  [[noreturn]] void refuse(const Info& info, std::string_view problem) const {
    fail("{}: tensor \"{}\": {}", file_, printable(info.name), problem);
  }

  void check_end(std::uint64_t end, std::uint64_t multiple) const {
    require(bytes_.size() <= round_up(end, multiple),
            "{}: {} bytes after the last tensor belong to none; the file is damaged", file_, bytes_.size() - end);
  }

  std::uint64_t alignment() const {
    const auto found = metadata_.find(alignment_key);
    if (found == metadata_.end()) return default_alignment;
    const bool right_type = found->second.type == GgufType::u32 && !found->second.length;
    std::uint32_t value = 0;
    if (right_type) std::memcpy(&value, found->second.bytes.data(), sizeof value);
    require(std::has_single_bit(value) && value >= min_alignment && value <= max_alignment,
            "{}: key \"{}\": expected a power of two from {} to {}, of type u32, found {} of type {}", file_,
            alignment_key, min_alignment, max_alignment, found->second.shown(), name_of(found->second.type));
    return value;
  }

  std::span<const std::byte> bytes_;
  std::string file_;
  ByteCursor cursor_;
  Gguf::Metadata metadata_;
  Gguf::Tensors tensors_;
  std::vector<Info> infos_;
};

/// Calls `use` with the elements of a checked value, in order, until it returns false. Numbers come in their own types,
/// a string as std::string_view.
template <typename Use>
void visit_elements(const GgufValue& value, Use use) {
  ByteCursor cursor(value.bytes, "metadata");
  const std::uint64_t length = value.length.value_or(1);
  const auto each = [&](auto read) {
    for (std::uint64_t i = 0; i < length && use(read()); ++i) {
    }
  };
  const auto numbers = [&]<typename T>(T) { each([&] { return cursor.read<T>("a value"); }); };
  switch (value.type) {
    case GgufType::u8:
      return numbers(std::uint8_t{});
    case GgufType::i8:
      return numbers(std::int8_t{});
    case GgufType::u16:
      return numbers(std::uint16_t{});
    case GgufType::i16:
      return numbers(std::int16_t{});
    case GgufType::u32:
      return numbers(std::uint32_t{});
    case GgufType::i32:
      return numbers(std::int32_t{});
    case GgufType::u64:
      return numbers(std::uint64_t{});
    case GgufType::i64:
      return numbers(std::int64_t{});
    case GgufType::f32:
      return numbers(float{});
    case GgufType::f64:
      return numbers(double{});
    case GgufType::boolean:
      return each([&] { return cursor.read<std::uint8_t>("a value") != 0; });
    case GgufType::string:
      if (!value.length) {
        use(text_of(value.bytes));
        return;
      }
      return each([&] { return cursor.read_text("a string"); });
    case GgufType::array:
      return;
  }
}

template <typename T>
constexpr bool is_integer = std::integral<T> && !std::same_as<T, bool>;

/// The elements as `Result`, converted where that keeps their value; false when one cannot be.
template <typename Result>
bool collect(const GgufValue& value, std::vector<Result>& result) {
  bool good = true;
  visit_elements(value, [&]<typename T>(T element) {
    if constexpr (std::same_as<Result, T> || (std::floating_point<Result> && std::floating_point<T>)) {
      result.push_back(element);
    } else if constexpr (is_integer<Result> && is_integer<T>) {
      good = std::in_range<Result>(element);
      if (good) result.push_back(static_cast<Result>(element));
    } else {
      good = false;
    }
    return good;
  });
  return good;
}

template <typename T>
std::string shown_element(T element, std::size_t limit) {
  if constexpr (std::same_as<T, std::string_view>) {
    return fmt::format("\"{}\"", printable(element, limit));
  } else {
    return fmt::format("{}", element);
  }
}

}  // namespace

std::string_view name_of(GgufType type) {
  return about(type).name;
}

std::string GgufValue::shown(std::size_t limit) const {
  std::string result = length ? fmt::format("[{}]", *length) : "";
  std::uint64_t count = 0;
  visit_elements(*this, [&](auto element) {
    if (count > 0 && result.size() >= limit) {
      result += ", ...";
      return false;
    }
    if (length) result += count > 0 ? ", " : " ";
    result += shown_element(element, limit);
    ++count;
    return true;
  });
  return result;
}

const GgufValue& Gguf::value(std::string_view key) const {
  const auto found = metadata_.find(key);
  require(found != metadata_.end(), "{}: key \"{}\" is missing", file(), printable(key));
  return found->second;
}

const GgufValue& Gguf::array(std::string_view key, std::string_view of) const {
  const GgufValue& found = value(key);
  if (!found.length) refuse(key, fmt::format("an array of {}", of));
  return found;
}

void Gguf::refuse(std::string_view key, std::string_view expected) const {
  const GgufValue& found = value(key);
  fail("{}: key \"{}\": expected {}, found {} ({}{})", file(), printable(key), expected, found.shown(),
       found.length ? "array of " : "", name_of(found.type));
}

std::int64_t Gguf::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const GgufValue& found = value(key);
  std::vector<std::int64_t> result;
  if (found.length || !collect(found, result) || result[0] < least || result[0] > most) {
    refuse(key, fmt::format("an integer from {} to {}", least, most));
  }
  return result[0];
}

double Gguf::number(std::string_view key, double least, double most) const {
  const GgufValue& found = value(key);
  std::vector<double> result;
  if (found.length || !collect(found, result) || !(result[0] >= least && result[0] <= most)) {
    refuse(key, fmt::format("an f32 or f64 from {} to {}", least, most));
  }
  return result[0];
}

bool Gguf::boolean(std::string_view key) const {
  const GgufValue& found = value(key);
  if (found.type != GgufType::boolean || found.length) refuse(key, "true or false");
  return found.bytes[0] != std::byte{0};
}

std::string_view Gguf::text(std::string_view key) const {
  const GgufValue& found = value(key);
  if (found.type != GgufType::string || found.length) refuse(key, "a string");
  return text_of(found.bytes);
}

std::vector<std::int64_t> Gguf::integers(std::string_view key) const {
  std::vector<std::int64_t> result;
  if (!collect(array(key, "integers"), result)) refuse(key, "an array of integers");
  return result;
}

std::vector<double> Gguf::numbers(std::string_view key) const {
  std::vector<double> result;
  if (!collect(array(key, "f32 or f64"), result)) refuse(key, "an array of f32 or f64");
  return result;
}

std::vector<std::string_view> Gguf::texts(std::string_view key) const {
  std::vector<std::string_view> result;
  if (!collect(array(key, "strings"), result)) refuse(key, "an array of strings");
  return result;
}

const GgufTensor& Gguf::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "{}: tensor \"{}\" is missing", file(), printable(name));
  return found->second;
}

void Gguf::require_unpackable(std::string_view name) const {
  const GgufTensor& found = tensor(name);
  require(found.type->unpack != nullptr, "{}: tensor \"{}\" is of type {}; rapt reads {}: take a file of one of those",
          file_of(found), printable(name), found.type->name, unpackable_types());
}

Tensor Gguf::unpack(std::string_view name) const {
  require_unpackable(name);
  const GgufTensor& found = tensor(name);
  Tensor result = Tensor::empty(found.shape, DType::f32);
  found.type->unpack(found.bytes.data(), found.shape.count() / found.type->elements, result.write<float>());
  return result;
}

Tensor Gguf::unpack_rows(std::string_view name, std::span<const std::int32_t> rows) const {
  require_unpackable(name);
  const GgufTensor& found = tensor(name);
  require(found.shape.rank() == 2, "{}: tensor \"{}\" {} is no matrix", file_of(found), printable(name), found.shape);
  const std::int64_t width = found.shape[1];
  const std::int64_t blocks = width / found.type->elements;
  const std::size_t row_bytes = static_cast<std::size_t>(blocks) * found.type->bytes;
  Tensor result = Tensor::empty({std::ssize(rows), width}, DType::f32);
  float* to = result.write<float>();
  // The kernel maps what lies around each row, which would become the whole table in time.
  constexpr std::int64_t rows_at_once = 64;
  std::int64_t unpacked = 0;
  for (const std::int32_t row : rows) {
    require(row >= 0 && row < found.shape[0], "{}: tensor \"{}\" {} has no row {}", file_of(found), printable(name),
            found.shape, row);
    found.type->unpack(found.bytes.data() + static_cast<std::size_t>(row) * row_bytes, blocks, to);
    to += width;
    if (++unpacked % rows_at_once == 0) release_pages(name);
  }
  release_pages(name);
  return result;
}

void Gguf::release_pages(std::string_view name) const {
  const GgufTensor& found = tensor(name);
  const std::span<const std::byte> file = parts_[found.part].mapped;
  if (file.empty()) return;
  // Reading a byte maps up to 2 MB around it, so what is left of the neighbours goes too.
  constexpr std::size_t around = std::size_t{1} << 21;
  const auto begin = static_cast<std::size_t>(found.bytes.data() - file.data());
  const std::size_t first = begin - std::min(begin, around);
  rapt::release_pages(file.subspan(first, std::min(file.size(), begin + found.bytes.size() + around) - first));
}

bool is_gguf(const std::filesystem::path& model) {
  return std::filesystem::is_regular_file(model) ||
         (model.extension() == ".gguf" && !std::filesystem::is_directory(model));
}

bool Gguf::lies_ready(std::string_view name) const {
  const GgufTensor& found = tensor(name);
  const std::optional<DType> dtype = found.type->dtype;
  return dtype && reinterpret_cast<std::uintptr_t>(found.bytes.data()) % rapt::size_of(*dtype) == 0;
}

Tensor Gguf::load(std::string_view name) const {
  if (!lies_ready(name)) return unpack(name);
  const GgufTensor& found = tensor(name);
  auto* data = const_cast<std::byte*>(found.bytes.data());
  return {std::const_pointer_cast<void>(parts_[found.part].keep), data, found.shape, *found.type->dtype, true};
}

void Gguf::add_part(const Gguf& other) {
  const std::size_t part = parts_.size();
  parts_.push_back(other.parts_.front());
  for (const auto& [name, tensor] : other.tensors_) {
    const auto [there, added] = tensors_.emplace(name, tensor);
    require(added, "{}: tensor \"{}\" is in {} too", other.file(), printable(name), file_of(there->second));
    there->second.part = part;
  }
}

Gguf read_gguf_file(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const std::string name = shown(file);
  return Reader(mapped->bytes(), name).read(mapped, mapped->bytes());
}

Gguf read_gguf(std::shared_ptr<const void> keep, std::span<const std::byte> bytes, const std::string& file) {
  return Reader(bytes, file).read(std::move(keep), {});
}

}  // namespace rapt
