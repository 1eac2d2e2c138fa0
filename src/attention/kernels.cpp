#include "attention/kernels.h"

#include "core/aligned_memory.h"

namespace rapt::attention {

namespace linear {
namespace portable {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
}  // namespace linear

#define RAPT_KERNELS_OF(isa, rows)                                                                          \
  {                                                                                                         \
    isa::forward_items, isa::decode_items, isa::merge_items, isa::delta_items, isa::backward_items,         \
        isa::add_shares_items, {isa::weights_items, isa::tile_statistics_items}, rows, linear::isa::kernels \
  }
const Kernels& kernels_for(kernels::Isa isa) {
  static constexpr Kernels portable_kernels RAPT_KERNELS_OF(portable, 8);
  static constexpr Kernels avx2_kernels RAPT_KERNELS_OF(avx2, 16);
  static constexpr Kernels avx512_kernels RAPT_KERNELS_OF(avx512, 32);
  switch (isa) {
    case kernels::Isa::avx512:
      return avx512_kernels;
    case kernels::Isa::avx2:
      return avx2_kernels;
    case kernels::Isa::portable:
      break;
  }
  return portable_kernels;
}
#undef RAPT_KERNELS_OF

void* thread_scratch(std::int64_t bytes) {
  thread_local AlignedMemory memory;
  thread_local std::int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = 0;
    memory = aligned_memory(bytes);
    size = bytes;
  }
  return memory.get();
}

}  // namespace rapt::attention
