// libFuzzer on the GGUF reader: any bytes are refused with an Error, or all that they claim to hold can be read.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/gguf_model.h"
#include "rapt/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const rapt::Gguf file = rapt::read_gguf(nullptr, std::as_bytes(std::span(data, size)), "input");
    for (const auto& [key, value] : file.metadata()) value.shown();
    for (const auto& [name, tensor] : file.tensors()) {
      if (tensor.type->unpack != nullptr) file.unpack(name);
    }
    rapt::read_architecture(file);
    rapt::read_vocabulary(file);
  } catch (const rapt::Error&) {
  }
  return 0;
}
