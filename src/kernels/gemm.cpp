/// Every call of oneDNN is in this file.  oneDNN 2.x (Debian 12's libdnnl-dev).
#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

#include "kernels/elementwise.h"
#include "kernels/gemm_f64.h"

namespace rapt::kernels {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

std::atomic<std::uint64_t> flops{0};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::data_type onednn_type(DType type) {
  switch (type) {
    case DType::f32:
      return memory::data_type::f32;
    case DType::bf16:
      return memory::data_type::bf16;
    default:
      fail("matrix products are made in f32, bf16 and f64, not in {}", name_of(type));
  }
}

/// y[m, n] (+)= a b, where a is [m, k] or the transpose of [k, m], and b is packed or a plain [k, n].
struct Product {
  std::int64_t m, n, k;
  DType input, output;
  bool a_transposed, b_packed, bias, accumulate;
  int threads;
  auto operator<=>(const Product&) const = default;
};

struct Primitive {
  dnnl::matmul matmul;
  memory::desc a, b, y, bias;
};

Primitive make(const Product& p) {
  const auto type = onednn_type(p.input);
  Primitive result;
  result.a = memory::desc({p.m, p.k}, type, p.a_transposed ? Tag::ba : Tag::ab);
  const memory::desc b({p.k, p.n}, type, p.b_packed ? Tag::any : Tag::ab);
  result.y = memory::desc({p.m, p.n}, onednn_type(p.output), Tag::ab);
  result.bias = memory::desc({1, p.n}, memory::data_type::f32, Tag::ab);
  dnnl::primitive_attr attributes;
  dnnl::post_ops post;
  if (p.accumulate) post.append_sum(1.0f);
  attributes.set_post_ops(post);
  const auto description =
      p.bias ? dnnl::matmul::desc(result.a, b, result.bias, result.y) : dnnl::matmul::desc(result.a, b, result.y);
  const dnnl::matmul::primitive_desc chosen(description, attributes, engine());
  result.b = chosen.weights_desc();
  result.matmul = dnnl::matmul(chosen);
  return result;
}

/// Making a primitive costs a third of a millisecond, so each thread keeps those it used. They hold no state.
const Primitive& primitive(const Product& product) {
  thread_local std::map<Product, Primitive> made;
  constexpr std::size_t limit = 4096;
  if (made.size() >= limit) made.clear();
  auto found = made.find(product);
  if (found == made.end()) found = made.emplace(product, make(product)).first;
  return found->second;
}

memory wrap(const memory::desc& desc, const void* data) {
  return {desc, engine(), const_cast<void*>(data)};
}

void run(const Context& ctx, const Product& product, const void* a, const memory& b, const void* bias, void* y) {
  thread_local dnnl::stream stream(engine());
  omp_set_num_threads(ctx.threads());  // of the calling thread; oneDNN plans a primitive for this many
  const Primitive& p = primitive(product);
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, wrap(p.a, a)}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, wrap(p.y, y)}};
  if (product.bias) arguments.emplace(DNNL_ARG_BIAS, wrap(p.bias, bias));
  p.matmul.execute(stream, arguments);
  stream.wait();
  flops += static_cast<std::uint64_t>(2 * product.m * product.n * product.k);
}

/// The number of rows to compute: rounded up when all the tensors have room for it, so that ragged batches need few
/// different primitives. The additional rows of the result have no meaning.
std::int64_t padded_rows(std::initializer_list<const Tensor*> tensors) {
  const std::int64_t rows = (*tensors.begin())->dim(0);
  const std::int64_t padded = (rows + Arena::row_multiple - 1) / Arena::row_multiple * Arena::row_multiple;
  for (const Tensor* tensor : tensors) {
    const auto row_bytes = static_cast<std::size_t>(tensor->dim(1)) * size_of(tensor->dtype());
    if (tensor->spare() < static_cast<std::size_t>(padded - rows) * row_bytes) return rows;
  }
  // A single row or a few are decoding: rounding those up would multiply the work.
  return rows * 4 >= padded * 3 ? padded : rows;
}

void zero_rows_behind(const Tensor& tensor, std::int64_t padded) {
  const auto bytes = static_cast<std::size_t>((padded - tensor.dim(0)) * tensor.dim(1)) * size_of(tensor.dtype());
  std::memset(static_cast<std::byte*>(tensor.raw_write()) + tensor.bytes(), 0, bytes);
}

}  // namespace

/// One packed copy of W for each direction and type that was asked for.
struct GemmWeight::Packs {
  struct Pack {
    memory::desc layout;
    Tensor storage;
    bool current = false;
  };
  std::map<std::pair<bool, DType>, Pack> made;
  std::mutex mutex;  // two contexts may share the weights of one model

  /// W as the right operand [k, n] of x W^T, or [n, k] of dy W when `gradient`, in the layout that `wanted` asks for.
  memory get(const GemmWeight& source, bool gradient, DType type, const memory::desc& wanted) {
    const std::lock_guard lock(mutex);
    Pack& pack = made[{gradient, type}];
    if (!pack.current || pack.layout != wanted) {
      if (pack.layout != wanted) {
        pack.layout = wanted;
        pack.storage = Tensor::empty({static_cast<std::int64_t>(wanted.get_size())}, DType::u8);
      }
      source.visit([&](std::int64_t row, const Tensor& part) {
        const std::int64_t n = part.dim(0);
        const std::int64_t k = part.dim(1);
        const memory::desc plain = gradient ? memory::desc({n, k}, onednn_type(part.dtype()), Tag::ab)
                                            : memory::desc({k, n}, onednn_type(part.dtype()), Tag::ba);
        const bool whole = n == source.shape()[0];
        const memory::desc place = whole      ? wanted
                                   : gradient ? wanted.submemory_desc({n, k}, {row, 0})
                                              : wanted.submemory_desc({k, n}, {0, row});
        memory unpacked = wrap(plain, part.raw());
        memory packed = wrap(place, pack.storage.raw());
        dnnl::stream stream(engine());
        dnnl::reorder(unpacked, packed).execute(stream, unpacked, packed);
        stream.wait();
      });
      pack.current = true;
    }
    return wrap(pack.layout, pack.storage.raw());
  }
};

GemmWeight::GemmWeight() : packs_(std::make_unique<Packs>()) {}
GemmWeight::~GemmWeight() = default;
GemmWeight::GemmWeight(GemmWeight&&) noexcept = default;
GemmWeight& GemmWeight::operator=(GemmWeight&&) noexcept = default;

void GemmWeight::set(const Tensor& weight) {
  require(weight.shape().rank() == 2, "a weight of a product is a matrix, not {}", weight.shape().text());
  shape_ = weight.shape();
  weight_ = weight;
  read_ = nullptr;
  read_rows_ = nullptr;
  for (auto& [direction, pack] : packs_->made) pack.current = false;
}

void GemmWeight::set(const Shape& shape, std::function<Tensor()> read, ReadRows read_rows) {
  require(shape.rank() == 2, "a weight of a product is a matrix, not {}", shape.text());
  shape_ = shape;
  weight_ = Tensor();
  read_ = std::move(read);
  read_rows_ = std::move(read_rows);
  for (auto& [direction, pack] : packs_->made) pack.current = false;
}

void GemmWeight::visit(const std::function<void(std::int64_t row, const Tensor& part)>& use) const {
  constexpr std::int64_t rows_at_once = 1536;  // a multiple of the blocks in which oneDNN packs rows
  if (!read_rows_ || shape_[0] <= rows_at_once) return use(0, weight());
  std::vector<std::int32_t> rows;
  for (std::int64_t begin = 0; begin < shape_[0]; begin += rows_at_once) {
    rows.resize(static_cast<std::size_t>(std::min(rows_at_once, shape_[0] - begin)));
    std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(begin));
    use(begin, read_rows_(rows));
  }
}

void gemm(const Context& ctx, const Tensor& x, const GemmWeight& weight, const GemmEpilogue& epilogue,
          const Tensor& y) {
  const std::int64_t n = weight.shape()[0];
  const std::int64_t k = weight.shape()[1];
  require(x.dim(1) == k && y.dim(1) == n && x.dim(0) == y.dim(0), "product of {} and the transpose of {} into {}",
          x.shape().text(), weight.shape().text(), y.shape().text());
  if (x.dim(0) == 0) return;
  if (x.dtype() == DType::f64) return gemm_f64(ctx, x, weight.weight(), epilogue, y);
  const Product product{.m = padded_rows({&x, &y}),
                        .n = n,
                        .k = k,
                        .input = x.dtype(),
                        .output = y.dtype(),
                        .a_transposed = false,
                        .b_packed = true,
                        .bias = epilogue.bias.defined(),
                        .accumulate = epilogue.accumulate,
                        .threads = ctx.threads()};
  omp_set_num_threads(ctx.threads());
  const memory packed = weight.packs().get(weight, false, x.dtype(), primitive(product).b);
  run(ctx, product, x.raw(), packed, epilogue.bias.raw(), y.raw_write());
  // Not as a post-operation of oneDNN's, which makes 0 of NaN: a model with damaged weights would go on in silence.
  if (epilogue.relu) activation_forward(ctx, Activation::relu, y, {}, y);
}

void gemm_input_gradient(const Context& ctx, const Tensor& dy, const GemmWeight& weight, bool accumulate,
                         const Tensor& dx) {
  const std::int64_t n = weight.shape()[0];
  const std::int64_t k = weight.shape()[1];
  require(dy.dim(1) == n && dx.dim(1) == k && dy.dim(0) == dx.dim(0), "product of {} and {} into {}", dy.shape().text(),
          weight.shape().text(), dx.shape().text());
  if (dy.dim(0) == 0) return;
  if (dy.dtype() == DType::f64) return gemm_input_gradient_f64(ctx, dy, weight.weight(), accumulate, dx);
  const Product product{.m = padded_rows({&dy, &dx}),
                        .n = k,
                        .k = n,
                        .input = dy.dtype(),
                        .output = dx.dtype(),
                        .a_transposed = false,
                        .b_packed = true,
                        .bias = false,
                        .accumulate = accumulate,
                        .threads = ctx.threads()};
  omp_set_num_threads(ctx.threads());
  const memory packed = weight.packs().get(weight, true, dy.dtype(), primitive(product).b);
  run(ctx, product, dy.raw(), packed, nullptr, dx.raw_write());
}

void gemm_weight_gradient(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw) {
  require(dy.dim(0) == x.dim(0) && dw.dim(0) == dy.dim(1) && dw.dim(1) == x.dim(1),
          "product of the transpose of {} and {} into {}", dy.shape().text(), x.shape().text(), dw.shape().text());
  if (dy.dtype() == DType::f64) return gemm_weight_gradient_f64(ctx, dy, x, accumulate, dw);
  if (dy.dim(0) == 0) {
    if (!accumulate) std::memset(dw.raw_write(), 0, dw.bytes());
    return;
  }
  const std::int64_t rows = padded_rows({&dy, &x});
  if (rows != dy.dim(0)) {
    zero_rows_behind(dy, rows);
    zero_rows_behind(x, rows);
  }
  const Product product{.m = dy.dim(1),
                        .n = x.dim(1),
                        .k = rows,
                        .input = dy.dtype(),
                        .output = dw.dtype(),
                        .a_transposed = true,
                        .b_packed = false,
                        .bias = false,
                        .accumulate = accumulate,
                        .threads = ctx.threads()};
  omp_set_num_threads(ctx.threads());
  run(ctx, product, dy.raw(), wrap(primitive(product).b, x.raw()), nullptr, dw.raw_write());
}

std::uint64_t gemm_flops() {
  return flops;
}

}  // namespace rapt::kernels
