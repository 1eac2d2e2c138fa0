#include "kernels/dispatch.h"

#include <cstdlib>

#include "core/error.h"

namespace rapt::kernels {
namespace {

constexpr const char* variable = "RAPT_ISA";

bool supports_avx512_core() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

Isa best() {
  if (supports_avx512_core() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16"))
    return Isa::avx512;
  // BMI2 and F16C come with every processor that has AVX2 and FMA.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
  return Isa::portable;
}

Isa choose() {
  const char* wanted = std::getenv(variable);
  if (wanted == nullptr) return best();
  for (const Isa candidate : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (name_of(candidate) != wanted) continue;
    require(candidate <= best(), "RAPT_ISA: this processor has no {}, its best is {}", wanted, name_of(best()));
    return candidate;
  }
  fail("RAPT_ISA: expected portable, avx2 or avx512, found \"{}\"", wanted);
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

bool has_avx512_core() {
  static const bool found = isa() == Isa::avx512 || (std::getenv(variable) == nullptr && supports_avx512_core());
  return found;
}

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "";
}

}  // namespace rapt::kernels
