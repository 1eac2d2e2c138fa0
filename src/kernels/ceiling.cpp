#include "kernels/ceiling.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/gemm.h"

namespace rapt::kernels {

RAPT_DISPATCH(xor_words, (const std::uint64_t* words, long count, std::uint64_t* result), (words, count, result))

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Tensor ones(const Context& ctx, Shape shape, DType dtype) {
  const Tensor values = Tensor::empty(shape, DType::f32);
  std::fill_n(values.write<float>(), values.count(), 1.0f);
  Tensor result = Tensor::empty(shape, dtype);
  convert(ctx, values, result);
  return result;
}

/// The median of runs that together last `seconds`, at least one.
template <typename Work>
double median_seconds(double seconds, Work&& work) {
  std::vector<double> runs;
  const auto start = std::chrono::steady_clock::now();
  do {
    const auto begin = std::chrono::steady_clock::now();
    work();
    runs.push_back(seconds_since(begin));
  } while (seconds_since(start) < seconds);
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end());
  return *middle;
}

std::int64_t bytes_of(const Tensor& tensor) {
  return tensor.count() * static_cast<std::int64_t>(size_of(tensor.dtype()));
}

void read(const Context& ctx, const Tensor& tensor) {
  constexpr std::int64_t block = std::int64_t{1} << 20;
  const std::int64_t blocks = bytes_of(tensor) / block;
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(blocks));
  ctx.parallel_for(blocks, [&](std::int64_t i) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(static_cast<const std::byte*>(tensor.raw()) + i * block);
    xor_words(words, block / 8, &sums[static_cast<std::size_t>(i)]);
  });
}

}  // namespace

double gemm_rate(const Context& ctx, DType dtype, double seconds, const GemmShape& shape) {
  const Tensor x = ones(ctx, {shape.m, shape.k}, dtype);
  const Tensor y = Tensor::empty({shape.m, shape.n}, dtype);
  GemmWeight weight;
  weight.set(ones(ctx, {shape.n, shape.k}, dtype == DType::f64 ? DType::f64 : DType::f32));
  gemm(ctx, x, weight, {}, y);  // packs the weight
  return 2.0 * static_cast<double>(shape.m * shape.n * shape.k) /
         median_seconds(seconds, [&] { gemm(ctx, x, weight, {}, y); });
}

double reading_rate(const Context& ctx, std::span<const Tensor> memory, double seconds) {
  double bytes = 0;
  for (const Tensor& tensor : memory) bytes += static_cast<double>(bytes_of(tensor));
  return bytes / median_seconds(seconds, [&] {
           for (const Tensor& tensor : memory) read(ctx, tensor);
         });
}

double memory_bandwidth(const Context& ctx) {
  const Tensor memory = Tensor::zeros({std::int64_t{1} << 27}, DType::i64);
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) best = std::max(best, reading_rate(ctx, {&memory, 1}, 0));
  return best;
}

}  // namespace rapt::kernels
