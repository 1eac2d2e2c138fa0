// The entry of libFuzzer; one program a target of targets.h, RAPT_FUZZ_TARGET.
#include <cstddef>
#include <cstdint>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rapt::fuzz::RAPT_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
