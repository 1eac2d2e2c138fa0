#include <cstddef>
#include <cstdint>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rapt::fuzz::tokenizer_json({reinterpret_cast<const char*>(data), size});
  return 0;
}
