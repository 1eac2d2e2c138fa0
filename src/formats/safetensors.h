/// Safetensors: the file format of Hugging Face weights (https://github.com/huggingface/safetensors, "Format").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "formats/file.h"

namespace rapt {

/// What a file, or all the files of a checkpoint, hold.
struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

struct SafetensorsOptions {
  bool check_finite = false;  ///< read every element and refuse NaN and infinity
};

/// Opens one file. The tensors are read-only and lie in the mapped file, which lives as long as one of them; only a
/// tensor whose place in the file does not suit its type is copied. Opening reads the header and nothing else.
///
/// Throws Error for everything the format forbids (overlaps, holes, bytes that belong to no tensor, sizes that
/// contradict shape and type, a name given twice), for types other than F64, F32, F16, BF16, I64, I32 and U8, and
/// beyond these limits: 100,000,000 bytes of header, 131,072 tensors, 1,024 bytes of name, 6 dimensions. Files of other
/// formats under this name are told apart (a PyTorch archive, a Git LFS pointer, a web page, GGUF, gzip).
Safetensors read_safetensors(const std::filesystem::path& file, const SafetensorsOptions& options = {});

/// The same of bytes that `keep` holds; `file` stands for them in messages.
Safetensors read_safetensors(std::shared_ptr<const void> keep, std::span<const std::byte> bytes,
                             const std::string& file);

/// Opens the shards that an index ("model.safetensors.index.json") lists. Each tensor must be in the shard the index
/// says, and no shard may hold others. A shard is a file of the index's directory: not a path, nor a symbolic link out
/// of it (except into the blobs of the Hugging Face cache that the directory is a snapshot of). The first shard's
/// metadata win where shards differ.
Safetensors read_sharded_safetensors(const std::filesystem::path& index, const SafetensorsOptions& options = {});

/// Opens "model.safetensors" of a Hugging Face directory, or else what "model.safetensors.index.json" lists.
Safetensors read_safetensors_directory(const std::filesystem::path& directory, const SafetensorsOptions& options = {});

/// Gives the memory of a mapped tensor's pages back to the system until somebody reads them again; tensors that are not
/// mapped stay as they are.
void release_pages(const Tensor& tensor);

/// How many elements of a tensor are NaN or infinite.
struct NonFinite {
  std::string name;
  std::int64_t count = 0;
};

/// The floating-point tensors that hold NaN or infinity; reads every element.
std::vector<NonFinite> find_non_finite(const std::map<std::string, Tensor>& tensors);

using NamedTensor = std::pair<std::string, Tensor>;

enum class TensorOrder {
  aligned,  ///< wide elements first, then by name: every element lies at a multiple of its size
  given
};

struct SafetensorsWriteOptions {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};  ///< "pt" is what transformers asks for
  TensorOrder order = TensorOrder::aligned;
};

/// Writes tensors and header to an open file. The same tensors give the same bytes; the data begin at a multiple of 64
/// bytes. Throws Error for a name that is given twice, too long or not UTF-8.
void write_safetensors(OutputFile& file, std::span<const NamedTensor> tensors,
                       const SafetensorsWriteOptions& options = {});

/// Replaces or creates `path` as write_file_durably does; tensors mapped from the file that is replaced stay valid, and
/// may be among those written.
void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const SafetensorsWriteOptions& options = {});

}  // namespace rapt
