/// Splitting loops over threads.
#pragma once

#include <omp.h>

#include <cstdint>
#include <exception>

namespace rapt {

/// Calls work(i) for i in [0, count), split over the threads. What an index computes must not depend on the split: that
/// is what makes results the same for any number of threads. An exception of any call is rethrown here.
template <typename Work>
void parallel_for(int threads, std::int64_t count, Work&& work) {
  if (count <= 0) return;
  if (threads == 1 || count == 1) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      work(i);
    } catch (...) {
#pragma omp critical(rapt_parallel_for)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace rapt
