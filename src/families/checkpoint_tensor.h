/// Tensors of a checkpoint as its families see them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "core/tensor.h"

namespace rapt {

/// A tensor that is read when it is asked for: what lies in its file in a type that models take costs nothing to read,
/// what is packed in blocks is unpacked each time.
struct CheckpointTensor {
  // NOLINTNEXTLINE(google-explicit-constructor): a tensor is one that is read already
  CheckpointTensor(const Tensor& tensor)
      : shape(tensor.shape()), dtype(tensor.dtype()), read([tensor] { return tensor; }) {}
  CheckpointTensor(const Shape& shape_, DType dtype_, std::function<Tensor()> read_)
      : shape(shape_), dtype(dtype_), read(std::move(read_)) {}

  Shape shape;
  DType dtype;  ///< of what `read` gives
  std::function<Tensor()> read;
  /// Some rows of a matrix, in this order, [ids, width] f32; null where `read` costs nothing.
  std::function<Tensor(std::span<const std::int32_t> ids)> read_rows = {};
  /// Whether a matrix is laid out as rapt's parameters are, [outputs, inputs] one under the other, whatever the
  /// family's files do.
  bool stacked = false;
};

using CheckpointTensors = std::map<std::string, CheckpointTensor>;

}  // namespace rapt
