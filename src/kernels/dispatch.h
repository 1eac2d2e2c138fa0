/// Choosing among the instruction sets that the inner loops (*.isa.cpp) were compiled for.
#pragma once

#include <string_view>

namespace rapt::kernels {

enum class Isa { portable, avx2, avx512 };

/// The best instruction set of this processor: avx512 needs F, BW, DQ, VL, VNNI and BF16. The environment variable
/// RAPT_ISA (portable, avx2, avx512) forces a lower one; a wrong name or one the processor lacks throws Error.
Isa isa();
/// Whether the processor has the AVX-512 of 2017 (F, BW, DQ and VL), enough for oneDNN's products in f32, and RAPT_ISA
/// asks for nothing lower.
bool has_avx512_core();
std::string_view name_of(Isa isa);

}  // namespace rapt::kernels

/// Declares `void name PARAMETERS` for each instruction set and defines `name` here to call the one that runs. Used in
/// the .cpp beside an .isa.cpp, inside namespace rapt::kernels or rapt::attention:
///   RAPT_DISPATCH(add_rows, (const float* x, float* y, long n), (x, y, n))
#define RAPT_DISPATCH(name, PARAMETERS, ARGUMENTS) \
  namespace portable {                             \
  void name PARAMETERS;                            \
  }                                                \
  namespace avx2 {                                 \
  void name PARAMETERS;                            \
  }                                                \
  namespace avx512 {                               \
  void name PARAMETERS;                            \
  }                                                \
  namespace {                                      \
  inline void name PARAMETERS {                    \
    switch (::rapt::kernels::isa()) {              \
      case ::rapt::kernels::Isa::avx512:           \
        return avx512::name ARGUMENTS;             \
      case ::rapt::kernels::Isa::avx2:             \
        return avx2::name ARGUMENTS;               \
      case ::rapt::kernels::Isa::portable:         \
        return portable::name ARGUMENTS;           \
    }                                              \
  }                                                \
  }
