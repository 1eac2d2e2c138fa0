/// Context: everything a computation needs besides its inputs, passed explicitly and never global.
#pragma once

#include <omp.h>

#include <cstdint>
#include <utility>

#include "core/arena.h"
#include "core/parallel.h"
#include "core/random.h"

namespace rapt {

class Tape;   // autograd/tape.h
class Trace;  // attention/trace.h

struct ContextOptions {
  int threads = 0;             ///< 0: as many as the process may use
  std::uint64_t seed = 1;      ///< of dropout
  DType compute = DType::f32;  ///< type of activations and working weights: f32, bf16 or f64
};

/// Threads, memory and random numbers of one computation; the tape when gradients are wanted, the trace when attention
/// is to be seen. Two contexts in one process do not disturb each other. One context is used by one thread at a time.
class Context {
 public:
  explicit Context(const ContextOptions& options = {})
      : random(options.seed),
        compute(options.compute),
        threads_(options.threads > 0 ? options.threads : omp_get_max_threads()) {}

  int threads() const { return threads_; }
  bool training() const { return tape != nullptr; }
  /// Memory for results of this step; not initialised.
  Tensor allocate(Shape shape, DType dtype) { return arena.allocate(shape, dtype); }

  /// Calls work(i) for i in [0, count), split over the threads. What an index computes must not depend on the split:
  /// that is what makes results the same for any number of threads. An exception of any call is rethrown here.
  template <typename Work>
  void parallel_for(std::int64_t count, Work&& work) const {
    rapt::parallel_for(threads_, count, std::forward<Work>(work));
  }

  Arena arena;
  Random random;
  DType compute;
  /// What dropout probabilities are multiplied by: training may begin with less than the model's.
  float dropout_share = 1;
  Tape* tape = nullptr;
  Trace* trace = nullptr;

 private:
  int threads_;
};

}  // namespace rapt
