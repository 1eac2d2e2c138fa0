/// Embedding tables.
#pragma once

#include <span>

#include "core/context.h"

namespace rapt::kernels {

/// y[t, :] = dropout(scale * table[ids[t], :] + position_table[positions[t], :] + type_table[types[t], :]).
/// Tables: [rows, width] f32 (f64), the first one also bf16; y: [tokens, width] f32 or bf16 (f64 with f64 tables). An
/// id outside its table throws Error.
struct Embedding {
  std::span<const std::int32_t> ids;
  Tensor table;
  double scale = 1;
  std::span<const std::int32_t> positions{};
  Tensor position_table{};  ///< may be undefined: no positions are added
  std::span<const std::int32_t> types{};
  Tensor type_table{};  ///< may be undefined: no types are added
  Dropout dropout{};    ///< element index of the mask: token * width + column
  Tensor y;
};
void embedding_forward(const Context& ctx, const Embedding& embedding);

/// d_table[ids[t], :] += scale * dropout(dy[t, :]), d_table: [rows, width] f32 (f64); dy: [tokens, width] f32, bf16 or
/// f64. Rows of equal id are added in the order of the tokens whatever the threads. Serves position tables too (ids =
/// positions, scale = 1).
void embedding_backward(const Context& ctx, std::span<const std::int32_t> ids, double scale, const Dropout& dropout,
                        const Tensor& dy, const Tensor& d_table);

}  // namespace rapt::kernels
