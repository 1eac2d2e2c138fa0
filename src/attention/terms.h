/// What is added to scores, made ready for the inner loops, and its gradients, brought back to the caller's shapes.
#pragma once

#include <vector>

#include "attention/kernel.h"
#include "rapt/attention.h"

namespace rapt::attention {

/// The added scores of a problem. S is f64 for f64 operands, else f32.
class Terms {
 public:
  Terms(const Problem& problem, DType dtype);
  const AddedScores& added() const { return added_; }

 private:
  template <typename S>
  void spread_relative(const Problem& problem, std::vector<S>& values);

  AddedScores added_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

/// T5's bucket of a distance (key minus position of the query), as RelativeBias describes.
std::int32_t relative_bucket(const RelativeBias& relative, std::int64_t distance);

/// The gradients of a backward pass besides those of q, k and v.
class TermGradients {
 public:
  TermGradients(const Problem& problem, const Gradients& gradients, DType dtype, AddedScores& added);

  bool wanted() const { return wanted_; }
  /// Gives each item its place in `memory`, which lives as long as the items are computed.
  void give_places(std::vector<Item>& items, std::vector<std::byte>& memory) const;
  /// Adds up what the items left, in their order.
  void collect(const std::vector<Item>& items);
  /// Adds the gradients of the sinks. delta, log_sum_exp: [query tokens, heads] of S.
  void add_sinks(const void* log_sum_exp, const void* delta);
  /// Writes what was added up.
  void write() const;
  /// Items that may not be computed at the same time, because they add to the same elements of the bias, have different
  /// numbers.
  std::int64_t round_of(const Item& item) const;

 private:
  void clear_bias() const;
  std::int64_t place_size(const Item& item) const;
  template <typename S>
  void collect_item(const Item& item);

  const Problem& problem_;
  const Gradients& gradients_;
  DType dtype_;
  bool wanted_ = false;
  std::int64_t distances_ = 0;
  double scale_ = 0, soft_cap_ = 0;
  std::vector<double> slopes_, sinks_, relative_;
};

}  // namespace rapt::attention
