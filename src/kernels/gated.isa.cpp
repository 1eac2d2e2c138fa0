#include "kernels/activations.h"
#include "kernels/blocks.h"
#include "kernels/dropout.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename T, typename Op, typename Drop>
void forward(const GatedBlock& block, Drop& drop) {
  const int64_t width = block.width;
  for (int64_t row = 0; row < block.rows; ++row) {
    const T* gate = static_cast<const T*>(block.x) + row * 2 * width;
    const T* up = gate + width;
    T* y = static_cast<T*>(block.result) + row * width;
    each_vector_with_dropout<T>(drop, (block.first_row + row) * width, width,
                                [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
                                  store(keep(Op::value(load(gate + i, part)) * load(up + i, part)), y + i, part);
                                });
  }
}

template <typename T, typename Op, typename Drop>
void backward(const GatedBlock& block, Drop& drop) {
  const int64_t width = block.width;
  for (int64_t row = 0; row < block.rows; ++row) {
    const T* gate = static_cast<const T*>(block.x) + row * 2 * width;
    const T* up = gate + width;
    const T* dy = static_cast<const T*>(block.dy) + row * width;
    T* d_gate = static_cast<T*>(block.result) + row * 2 * width;
    T* d_up = d_gate + width;
    each_vector_with_dropout<T>(drop, (block.first_row + row) * width, width,
                                [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
                                  const auto g = load(gate + i, part);
                                  const auto gradient = keep(load(dy + i, part));
                                  store(Op::gradient(g, gradient * load(up + i, part)), d_gate + i, part);
                                  store(gradient * Op::value(g), d_up + i, part);
                                });
  }
}

/// Calls work(Type, Op, Drop) for what the block asks for.
template <typename Work>
void with_block(const GatedBlock& block, Work work) {
  with_type(block.dtype, [&]<typename T>(Type<T> type) {
    with_activation(block.activation,
                    [&](auto op) { with_dropout(block.mask, [&](auto& drop) { work(type, op, drop); }); });
  });
}

}  // namespace

void gated_forward_block(const GatedBlock& block) {
  with_block(block, [&]<typename T, typename Op>(Type<T>, Op, auto& drop) { forward<T, Op>(block, drop); });
}

void gated_backward_block(const GatedBlock& block) {
  with_block(block, [&]<typename T, typename Op>(Type<T>, Op, auto& drop) { backward<T, Op>(block, drop); });
}

}  // namespace rapt::kernels::RAPT_ISA
