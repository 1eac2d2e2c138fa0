/// GGUF, version 3: the file format of llama.cpp and its relatives, one file for metadata, vocabulary and weights, or
/// several for large models (https://github.com/ggml-org/ggml, docs/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "formats/gguf_blocks.h"

namespace rapt {

/// The types of metadata, with their numbers in files.
enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// "u8", "string", ...
std::string_view name_of(GgufType type);

/// A value of the metadata, as it lies in the file.
struct GgufValue {
  GgufType type;                        ///< of the value, or of the elements of an array; never `array` itself
  std::optional<std::uint64_t> length;  ///< of an array
  std::span<const std::byte> bytes;

  /// For people: numbers and quoted text, shortened to about `limit` characters; "[4] 1, 2, ..." for an array.
  std::string shown(std::size_t limit = 80) const;
};

/// A tensor, as it lies in the file.
struct GgufTensor {
  const BlockType* type;
  Shape shape;  ///< outermost first, so the reverse of the order in the file; rows are whole blocks
  std::span<const std::byte> bytes;
  std::size_t part = 0;  ///< the file that it lies in
};

/// A file of a model.
struct GgufPart {
  std::shared_ptr<const void> keep;   ///< keeps the bytes alive
  std::span<const std::byte> mapped;  ///< the bytes, if they are those of a mapped file
  std::string file;                   ///< its name, as it may stand in messages
};

/// What a model's file holds, or its files. Everything lies in mapped files, which live as long as this. Lookups name
/// file and key when something is missing or of another type.
class Gguf {
 public:
  using Metadata = std::map<std::string_view, GgufValue>;
  using Tensors = std::map<std::string_view, GgufTensor>;

  Gguf(GgufPart file, Metadata metadata, Tensors tensors)
      : parts_{std::move(file)}, metadata_(std::move(metadata)), tensors_(std::move(tensors)) {}

  /// Takes the tensors of another file. Throws Error for one that is there already.
  void add_part(const Gguf& other);

  /// The file, the first of several, as it may stand in messages.
  const std::string& file() const { return parts_.front().file; }
  const Metadata& metadata() const { return metadata_; }
  const Tensors& tensors() const { return tensors_; }
  bool contains(std::string_view key) const { return metadata_.contains(key); }

  /// An integer of any type in [least, most].
  std::int64_t integer(std::string_view key, std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  /// A finite f32 or f64 in [least, most].
  double number(std::string_view key, double least, double most) const;
  bool boolean(std::string_view key) const;
  std::string_view text(std::string_view key) const;
  /// Arrays; of integers of any type, of f32 or f64, of strings.
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  std::vector<std::string_view> texts(std::string_view key) const;

  const GgufTensor& tensor(std::string_view name) const;
  /// A tensor's elements as f32; Error for types that rapt does not unpack.
  Tensor unpack(std::string_view name) const;
  /// F32, F16 and BF16 as they lie in the file, read-only; other types unpacked.
  Tensor load(std::string_view name) const;
  /// Whether `load` gives a tensor as it lies in the file.
  bool lies_ready(std::string_view name) const;
  /// Some rows of a matrix as f32, [ids, width]; Error for rows that it does not have. Gives their pages back.
  Tensor unpack_rows(std::string_view name, std::span<const std::int32_t> rows) const;
  /// Throws Error for a type that rapt does not unpack.
  void require_unpackable(std::string_view name) const;
  /// Gives the memory of a tensor's pages back to the system until somebody reads them again, if the file is mapped.
  void release_pages(std::string_view name) const;

  /// Throws: "FILE: key "KEY": expected EXPECTED, found ...".
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;

 private:
  const GgufValue& value(std::string_view key) const;
  const GgufValue& array(std::string_view key, std::string_view of) const;

  const std::string& file_of(const GgufTensor& tensor) const { return parts_[tensor.part].file; }

  std::vector<GgufPart> parts_;
  Metadata metadata_;
  Tensors tensors_;
};

/// Whether a model's path means a GGUF file rather than a directory: any file does, and what is named so.
bool is_gguf(const std::filesystem::path& model);

/// Opens a model. One in several files (NAME-00001-of-00003.gguf, ...; keys "split.no", "split.count" and
/// "split.tensors.count") is opened by the first, which holds all metadata, and read as one. Throws Error, beside what
/// read_gguf_file throws, for another than the first, for one that is missing or from another model, and unless they
/// hold each tensor once.
Gguf read_gguf(const std::filesystem::path& file);

/// Opens one file and checks all of its structure; reads nothing of the tensors' data.
///
/// Throws Error for big-endian files and versions other than 3, for what the format forbids (lengths beyond the file,
/// arrays in arrays, a key or tensor given twice, sizes that contradict each other, tensors that overlap, leave a hole,
/// are not aligned or end outside the file), for what no tensor owns at the end of the file, for types of tensors that
/// are unknown, and beyond these limits: 131,072 keys, 131,072 tensors, 65,535 bytes of key, 63 bytes of a tensor's
/// name, 4 dimensions, alignment from 8 to 65,536.
Gguf read_gguf_file(const std::filesystem::path& file);

/// The same for bytes that `keep` keeps alive; `file` stands for them in messages.
Gguf read_gguf(std::shared_ptr<const void> keep, std::span<const std::byte> bytes, const std::string& file);

}  // namespace rapt
