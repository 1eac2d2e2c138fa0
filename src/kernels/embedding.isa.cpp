#include "kernels/blocks.h"
#include "kernels/dropout.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename Table, typename T, typename Drop>
void forward(const EmbeddingBlock& block, Drop& drop) {
  const int64_t width = block.width;
  using Scalar = typename Simd<Table>::Scalar;
  const Scalar factor = static_cast<Scalar>(block.scale);
  for (int64_t t = 0; t < block.tokens; ++t) {
    const int64_t begin = (block.first_token + t) * width;
    const Table* row = static_cast<const Table*>(block.table) + block.ids[t] * width;
    T* y = static_cast<T*>(block.y) + t * width;
    const auto added = [t, width](const int32_t* rows, const void* table) {
      return rows == nullptr ? nullptr : static_cast<const Scalar*>(table) + rows[t] * width;
    };
    const Scalar* position = added(block.positions, block.position_table);
    const Scalar* type = added(block.types, block.type_table);
    each_vector_with_dropout<T>(drop, begin, width, [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
      auto sum = load(row + i, part) * factor;
      if (position != nullptr) sum += load(position + i, part);
      if (type != nullptr) sum += load(type + i, part);
      store(keep(sum), y + i, part);
    });
  }
}

template <typename T, typename Drop>
void backward(const EmbeddingGradientBlock& block, Drop& drop) {
  using Table = typename Simd<T>::Scalar;
  const int64_t width = block.width;
  const Table factor = static_cast<Table>(block.scale);
  for (int64_t k = 0; k < block.tokens; ++k) {
    const int64_t token = block.order[k];
    const T* dy = static_cast<const T*>(block.dy) + token * width;
    Table* row = static_cast<Table*>(block.d_table) + block.ids[token] * width;
    each_vector_with_dropout<T>(drop, token * width, width, [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
      store(load(row + i, part) + keep(load(dy + i, part)) * factor, row + i, part);
    });
  }
}

}  // namespace

void embedding_forward_block(const EmbeddingBlock& block) {
  with_dropout(block.mask, [&](auto& drop) {
    with_type(block.table_type, [&]<typename Table>(Type<Table>) {
      if constexpr (sizeof(Table) == sizeof(double)) {
        forward<double, double>(block, drop);
      } else if (block.dtype == DType::bf16) {
        forward<Table, bf16>(block, drop);
      } else {
        forward<Table, float>(block, drop);
      }
    });
  });
}

void embedding_backward_block(const EmbeddingGradientBlock& block) {
  with_type(block.dtype,
            [&]<typename T>(Type<T>) { with_dropout(block.mask, [&](auto& drop) { backward<T>(block, drop); }); });
}

}  // namespace rapt::kernels::RAPT_ISA
