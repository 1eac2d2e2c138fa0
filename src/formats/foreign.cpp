#include "formats/foreign.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "formats/printable.h"

namespace rapt {
namespace {

bool looks_like_html(std::string_view start) {
  const std::size_t first = start.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return false;
  std::string lower(start.substr(first, 14));
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.starts_with("<!doctype html") || lower.starts_with("<html");
}

/// The opcode of a protocol, 2 to 5.
bool looks_like_pickle(std::string_view start) {
  return start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
}

}  // namespace

std::string_view advice_about(std::string_view start) {
  if (start.starts_with("PK\x03\x04")) {
    return "; it is a PyTorch archive: take the model's .safetensors file, or save it with safetensors.torch.save_file";
  }
  if (looks_like_pickle(start)) return "; it is a Python pickle, which rapt never runs: take the .safetensors file";
  if (start.starts_with("version https://git-lfs")) {
    return "; it is a Git LFS pointer to the file itself: run \"git lfs pull\" to fetch it";
  }
  if (looks_like_html(start)) return "; it is a web page, so the download went wrong: fetch the file again";
  if (start.starts_with("GGUF")) return "; it is a GGUF file: give it a name that ends in .gguf";
  if (start.starts_with("\x1f\x8b\x08")) return "; it is compressed with gzip: run gunzip on it";
  return "";
}

std::string advice_about_weights(const std::filesystem::path& directory) {
  struct Kind {
    std::string_view beginning, ending, what;
  };
  constexpr Kind kinds[] = {
      {"pytorch_model", ".bin",
       "a Python pickle, which rapt never runs: fetch the model's safetensors, or have "
       "transformers write them with save_pretrained"},
      {"pytorch_model", ".index.json",
       "the index of Python pickles, which rapt never runs: fetch the model's safetensors"},
      {"adapter_model", ".safetensors", "an adapter without its model: merge it into the model first"},
      {"tf_model", ".h5", "TensorFlow's: have transformers write safetensors with save_pretrained"},
      {"flax_model", ".msgpack", "JAX's: have transformers write safetensors with save_pretrained"},
      {"", ".gguf", "a GGUF file: give its own name instead of the directory"}};
  std::error_code ignored;
  for (const Kind& kind : kinds) {
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(kind.beginning) && name.ends_with(kind.ending))
        return fmt::format("; there is {}, {}", printable(name, 100), kind.what);
    }
  }
  return "";
}

}  // namespace rapt
