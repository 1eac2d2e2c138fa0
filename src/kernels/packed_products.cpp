#include "kernels/packed_products.h"

#include <algorithm>
#include <cstring>

#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(gemv_block, (const GemvBlock& block), (block))
RAPT_DISPATCH(gemm_block, (const GemmBlock& block), (block))
RAPT_DISPATCH(pack_block, (const PackBlock& block), (block))

namespace {

/// x[rows, k] in f32, as [rows, padded_k] with zeros behind k.
Tensor widened(const Context& ctx, const Tensor& x, std::int64_t padded_k) {
  const std::int64_t k = x.dim(1);
  if (x.dtype() == DType::f32 && padded_k == k) return x;
  Tensor wide = Tensor::empty({x.dim(0), padded_k}, DType::f32);
  const auto copy = [&]<typename T>(const T* from) {
    auto* to = wide.write<float>();
    const Blocks blocks = Blocks::of_rows(x.dim(0), k);
    ctx.parallel_for(blocks.count(), [&](std::int64_t block) {
      for (std::int64_t row = blocks.begin(block); row < blocks.begin(block) + blocks.length(block); ++row) {
        for (std::int64_t i = 0; i < k; ++i) to[row * padded_k + i] = static_cast<float>(from[row * k + i]);
        std::fill_n(to + row * padded_k + k, padded_k - k, 0.0f);
      }
    });
  };
  if (x.dtype() == DType::f32) {
    copy(x.data<float>());
  } else {
    copy(x.data<bf16>());
  }
  return wide;
}

/// x[rows, k]^T of f32.
Tensor transposed(const Context& ctx, const Tensor& x) {
  constexpr std::int64_t tile = 16;
  const std::int64_t rows = x.dim(0);
  const std::int64_t k = x.dim(1);
  Tensor result = Tensor::empty({k, rows}, DType::f32);
  const auto* from = x.data<float>();
  auto* to = result.write<float>();
  const Blocks columns{k, tile};
  ctx.parallel_for(columns.count(), [&](std::int64_t block) {
    const std::int64_t begin = columns.begin(block);
    for (std::int64_t first = 0; first < rows; first += tile) {
      const std::int64_t last = std::min(rows, first + tile);
      for (std::int64_t i = begin; i < begin + columns.length(block); ++i) {
        for (std::int64_t row = first; row < last; ++row) to[i * rows + row] = from[row * k + i];
      }
    }
  });
  return result;
}

/// y[rows, n] = x[rows, padded_k] times a packed matrix, with bias and sum.
void multiply_many(const Context& ctx, const Tensor& x, const PackedMatrix& matrix, const GemmEpilogue& epilogue,
                   const Tensor& y) {
  const std::int64_t n = y.dim(1);
  const Blocks rows{x.dim(0), gemm_rows};
  const std::int64_t groups = (n + gemv_group - 1) / gemv_group;
  auto* const result = static_cast<std::byte*>(y.raw_write());
  ctx.parallel_for(groups * rows.count(), [&](std::int64_t i) {
    const std::int64_t block = i % rows.count();
    gemm_block({.dtype = matrix.dtype,
                .result = y.dtype(),
                .rows = rows.length(block),
                .n = n,
                .padded_k = x.dim(1),
                .begin = i / rows.count() * gemv_group,
                .x = x.data<float>() + rows.begin(block) * x.dim(1),
                .weight = matrix.data,
                .bias = epilogue.bias.defined() ? epilogue.bias.data<float>() : nullptr,
                .accumulate = epilogue.accumulate,
                .y = result + static_cast<std::size_t>(rows.begin(block) * n) * size_of(y.dtype())});
  });
}

}  // namespace

bool own_products(DType dtype) {
  return dtype == DType::bf16 ? isa() != Isa::avx512 : !has_avx512_core();
}

std::int64_t padded_depth(std::int64_t depth, DType dtype) {
  return dtype == DType::bf16 ? depth + depth % 2 : depth;
}

std::size_t packed_bytes(std::int64_t columns, std::int64_t padded_k, DType dtype) {
  const std::int64_t whole_groups = (columns + gemv_group - 1) / gemv_group * gemv_group;
  return static_cast<std::size_t>(whole_groups * padded_k) * size_of(dtype);
}

void pack_rows(const GemmWeight& source, bool transposed, DType type, std::int64_t padded_k,
               std::span<std::byte> storage) {
  constexpr std::int64_t elements_at_once = 1 << 16;
  const std::int64_t n = source.shape()[0];
  const std::int64_t k = source.shape()[1];
  const bool whole = transposed ? k % gemv_group == 0 && n == padded_k : n % gemv_group == 0 && k == padded_k;
  if (!whole) std::memset(storage.data(), 0, storage.size());
  const std::int64_t rows = std::max<std::int64_t>(1, elements_at_once / k / gemv_group) * gemv_group;
  const auto pack = [&](std::int64_t row, const Tensor& part) {
    const Tensor numbers = part.dtype() == DType::f32 ? part : part.to(DType::f32);
    pack_block({.dtype = type,
                .transposed = transposed,
                .first = row,
                .rows = part.dim(0),
                .k = k,
                .padded_k = padded_k,
                .weight = numbers.data<float>(),
                .packed = storage.data()});
  };
  if (source.reads_rows()) return source.visit(rows, omp_get_max_threads(), pack);
  const Tensor weight = source.weight();
  const Blocks parts{n, rows};
  parallel_for(omp_get_max_threads(), parts.count(), [&](std::int64_t i) {
    pack(parts.begin(i), weight.rows(parts.begin(i), parts.begin(i) + parts.length(i)));
  });
}

void multiply_few(const Context& ctx, const GemvBlock& block) {
  // Large matrices in more parts than threads: a thread may be held up by other programs.
  const std::int64_t units = (block.n + gemv_columns - 1) / gemv_columns;
  const std::int64_t bytes = block.n * block.k * static_cast<std::int64_t>(size_of(block.dtype));
  const std::int64_t parts = std::min(units, std::int64_t{ctx.threads()} * (bytes > (1 << 22) ? 8 : 1));
  ctx.parallel_for(parts, [&](std::int64_t part) {
    GemvBlock own = block;
    own.begin = units * part / parts * gemv_columns;
    own.end = std::min(block.n, units * (part + 1) / parts * gemv_columns);
    gemv_block(own);
  });
}

void multiply_packed(const Context& ctx, const Tensor& x, const PackedMatrix& matrix, const GemmEpilogue& epilogue,
                     const Tensor& y) {
  const std::int64_t k = x.dim(1);
  const std::int64_t padded_k = padded_depth(k, matrix.dtype);
  if (x.dim(0) > gemv_rows) return multiply_many(ctx, widened(ctx, x, padded_k), matrix, epilogue, y);
  multiply_few(ctx, {.dtype = matrix.dtype,
                     .x_dtype = x.dtype(),
                     .result = y.dtype(),
                     .rows = x.dim(0),
                     .n = y.dim(1),
                     .k = k,
                     .padded_k = padded_k,
                     .depth_at_once = k,
                     .x = x.raw(),
                     .weight = matrix.data,
                     .bias = epilogue.bias.defined() ? epilogue.bias.data<float>() : nullptr,
                     .accumulate = epilogue.accumulate,
                     .y = y.raw_write()});
}

void multiply_transposed(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw) {
  const std::int64_t rows = x.dim(0);
  const std::int64_t k = x.dim(1);
  const Tensor left = transposed(ctx, widened(ctx, dy, dy.dim(1)));
  const Tensor right = widened(ctx, x, k);
  const Tensor packed = Tensor::empty({(k + gemv_group - 1) / gemv_group * gemv_group, rows}, DType::f32);
  const Blocks blocks = Blocks::of_rows(rows, k);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    pack_block({.dtype = DType::f32,
                .transposed = true,
                .first = blocks.begin(i),
                .rows = blocks.length(i),
                .k = k,
                .padded_k = rows,
                .weight = right.data<float>() + blocks.begin(i) * k,
                .packed = packed.raw_write()});
  });
  multiply_many(ctx, left, {DType::f32, packed.raw()}, {.accumulate = accumulate}, dw);
}

}  // namespace rapt::kernels
