/// Splitting loops over threads.
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>

namespace rapt {

/// Calls work(i) for i in [0, count), split over the threads. What an index computes must not depend on the split: that
/// is what makes results the same for any number of threads. Of the exceptions of calls, that of the smallest index is
/// rethrown here; calls for larger ones may be left out.
template <typename Work>
void parallel_for(int threads, std::int64_t count, Work&& work) {
  if (count <= 0) return;
  if (threads == 1 || count == 1) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::exception_ptr error;
  std::atomic<std::int64_t> failed = count;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > failed.load(std::memory_order_relaxed)) continue;
    try {
      work(i);
    } catch (...) {
#pragma omp critical(rapt_parallel_for)
      if (i < failed.load(std::memory_order_relaxed)) {
        failed.store(i, std::memory_order_relaxed);
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace rapt
