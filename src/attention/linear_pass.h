/// The passes over one sequence and key-value head.
#pragma once

#include <cstddef>

#include "attention/linear_call.h"

namespace rapt::attention::linear {

/// One item of a call, and its part of the states of the caller.
struct Job {
  Item item{};
  const std::byte* before = nullptr;
  std::byte* after = nullptr;
  bool recurrent = false;  ///< token by token
  std::size_t index = 0;   ///< among the jobs of the call
};

// A job is computed by the calling thread, or split over all threads of the call; that changes no bit.
void forward_job(const PreparedCall& prepared, const Job& job, bool split);
/// d_decays: [heads of the item], added to; null: not wanted.
void backward_job(const PreparedCall& prepared, const Job& job, bool split, double* d_decays);

}  // namespace rapt::attention::linear
