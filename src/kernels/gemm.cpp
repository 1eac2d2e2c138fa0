/// Every call of oneDNN is in this file.  oneDNN 2.x (Debian 12's libdnnl-dev).
#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "core/large_pages.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/gemm_f64.h"
#include "kernels/gemv.h"
#include "kernels/operands.h"
#include "kernels/packed_products.h"

namespace rapt::kernels {

RAPT_DISPATCH(gemv_block, (const GemvBlock& block), (block))

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

std::atomic<std::uint64_t> flops{0};

void count_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
  flops += static_cast<std::uint64_t>(2 * m * n * k);
}

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
  auto operator<=>(const Product&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 sees a 0 in it
};

struct Primitive {
  dnnl::matmul matmul;
  memory::desc a, b, y, bias;
  std::optional<std::int64_t> gemv_depth;  ///< GemvBlock::depth_at_once that gives the same bits; 0: none does
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

/// Making a primitive costs a third of a millisecond, so each thread keeps those it used.
Primitive& primitive(const Product& product) {
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

void execute(const Product& product, const Primitive& p, const void* a, const void* b, const void* bias, void* y) {
  thread_local dnnl::stream stream(engine());
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, wrap(p.a, a)}, {DNNL_ARG_WEIGHTS, wrap(p.b, b)}, {DNNL_ARG_DST, wrap(p.y, y)}};
  if (product.bias) arguments.emplace(DNNL_ARG_BIAS, wrap(p.bias, bias));
  p.matmul.execute(stream, arguments);
  stream.wait();
}

/// Whether gemv_block() can read a packed matrix; which layouts oneDNN chooses depends on the processor.
bool is_gemv_layout(const memory::desc& desc, DType dtype) {
  const dnnl_memory_desc_t& data = desc.data;
  if (data.format_kind != dnnl_blocked || data.offset0 != 0 || data.extra.flags != 0) return false;
  const dnnl_blocking_desc_t& blocking = data.format_desc.blocking;
  const bool pairs = dtype == DType::bf16;
  constexpr std::int64_t depth = 16;
  const std::int64_t block = depth * gemv_group * (pairs ? 2 : 1);
  if (blocking.inner_nblks != (pairs ? 3 : 2) || blocking.inner_blks[0] != depth || blocking.inner_idxs[0] != 0 ||
      blocking.inner_blks[1] != gemv_group || blocking.inner_idxs[1] != 1)
    return false;
  if (pairs && (blocking.inner_blks[2] != 2 || blocking.inner_idxs[2] != 0)) return false;
  return blocking.strides[0] == block && blocking.strides[1] == data.padded_dims[0] * gemv_group;
}

GemvBlock gemv_of(const Product& product, const Primitive& p, const void* packed, std::int64_t depth_at_once) {
  return {.dtype = product.input,
          .x_dtype = product.input,
          .result = product.output,
          .rows = product.m,
          .n = product.n,
          .k = product.k,
          .padded_k = p.b.data.padded_dims[0],
          .depth_at_once = depth_at_once,
          .weight = packed,
          .accumulate = product.accumulate};
}

/// What oneDNN makes of random rows, to be compared with what gemv_block() does.
struct GemvTrial {
  const Context& ctx;
  const Product& product;
  const void* packed;
  Tensor x, bias, before, after;
  static constexpr std::int64_t compared = 1024;  ///< columns

  GemvTrial(const Context& context, const Product& of, const void* weight) : ctx(context), product(of), packed(weight) {
    RandomSequence random(1);
    const auto fill = [&](Shape shape, DType dtype) {
      const Tensor values = Tensor::empty(shape, DType::f32);
      for (std::int64_t i = 0; i < values.count(); ++i) values.write<float>()[i] = static_cast<float>(random.normal());
      return values.to(dtype);
    };
    x = fill({product.m, product.k}, product.input);
    bias = fill({product.n}, DType::f32);
    before = fill({product.m, product.n}, product.output);
    after = copy();
    execute(product, primitive(product), x.raw(), weight, bias.raw(), after.raw_write());
  }

  Tensor copy() const {
    Tensor result = Tensor::empty(before.shape(), before.dtype());
    std::memcpy(result.raw_write(), before.raw(), before.bytes());
    return result;
  }

  bool same_bits(std::int64_t depth) const {
    const Tensor y = copy();
    GemvBlock block = gemv_of(product, primitive(product), packed, depth);
    block.x = x.raw();
    block.bias = product.bias ? bias.data<float>() : nullptr;
    block.y = y.raw_write();
    block.end = std::min(product.n, compared);
    gemv_block(block);
    for (std::int64_t row = 0; row < product.m; ++row) {
      const auto begin = static_cast<std::size_t>(row * product.n) * size_of(product.output);
      const auto bytes = static_cast<std::size_t>(block.end) * size_of(product.output);
      const auto at = [begin](const Tensor& t) { return static_cast<const std::byte*>(t.raw()) + begin; };
      if (std::memcmp(at(y), at(after), bytes) != 0) return false;
    }
    return true;
  }
};

/// How many elements of the depth oneDNN sums up at once is its own affair, and differs between shapes and processors:
/// it is found by trying, so that a row has the same bits among few and among many. 0 where nothing, or not one depth
/// alone, gives oneDNN's bits.
std::int64_t find_gemv_depth(const Context& ctx, const Product& product, const void* packed) {
  if (!product.b_packed || product.m > gemv_rows || !is_gemv_layout(primitive(product).b, product.input)) return 0;
  if (product.input == DType::bf16 && isa() != Isa::avx512) return 0;
  // Without rounding to bf16, which would hide what is looked for.
  Product plain = product;
  plain.output = DType::f32;
  plain.bias = plain.accumulate = false;
  if (primitive(plain).b != primitive(product).b) return 0;
  const GemvTrial trial(ctx, plain, packed);
  std::set<std::int64_t> depths{product.k};
  for (std::int64_t depth = 64; depth < product.k; depth *= 2) depths.insert(depth);
  std::erase_if(depths, [&](std::int64_t depth) { return !trial.same_bits(depth); });
  if (depths.size() != 1) return 0;
  const bool proven = plain == product || GemvTrial(ctx, product, packed).same_bits(*depths.begin());
  return proven ? *depths.begin() : 0;
}

void run(const Context& ctx, const Product& product, const void* a, const void* b, const void* bias, void* y) {
  omp_set_num_threads(ctx.threads());  // of the calling thread; oneDNN plans a primitive for this many
  Primitive* p = &primitive(product);
  if (!p->gemv_depth) {
    const std::int64_t depth = find_gemv_depth(ctx, product, b);
    p = &primitive(product);  // others have been made meanwhile
    p->gemv_depth = depth;
  }
  if (*p->gemv_depth > 0) {
    GemvBlock block = gemv_of(product, *p, b, *p->gemv_depth);
    block.x = a;
    block.bias = static_cast<const float*>(bias);
    block.y = y;
    multiply_few(ctx, block);
  } else {
    execute(product, *p, a, b, bias, y);
  }
  count_flops(product.m, product.n, product.k);
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
    std::shared_ptr<std::byte> storage;
    bool current = false;
  };
  std::map<std::pair<bool, DType>, Pack> made;
  std::mutex mutex;  // two contexts may share the weights of one model

  /// W as the right operand [k, n] of x W^T, or [n, k] of dy W when `gradient`, in the layout that `wanted` asks for.
  const void* get(const GemmWeight& source, bool gradient, DType type, const memory::desc& wanted) {
    const std::lock_guard lock(mutex);
    Pack& pack = made[{gradient, type}];
    if (!pack.current || pack.layout != wanted) {
      if (pack.layout != wanted) {
        pack.layout = wanted;
        pack.storage = large_page_memory(wanted.get_size());
      }
      if (source.reads_rows() && !gradient && is_gemv_layout(wanted, type)) {
        pack_rows(source, false, type, wanted.data.padded_dims[0], {pack.storage.get(), wanted.get_size()});
      } else {
        reorder(source, gradient, pack);
      }
      pack.current = true;
    }
    return pack.storage.get();
  }

  /// W, or its transpose when `gradient`, as multiply_packed() reads it.
  const void* get_own(const GemmWeight& source, bool gradient, DType type) {
    const std::lock_guard lock(mutex);
    Pack& pack = made[{gradient, type}];
    if (!pack.current) {
      const std::int64_t columns = source.shape()[gradient ? 1 : 0];
      const std::int64_t depth = padded_depth(source.shape()[gradient ? 0 : 1], type);
      const std::size_t bytes = packed_bytes(columns, depth, type);
      if (pack.storage == nullptr) pack.storage = large_page_memory(bytes);
      pack_rows(source, gradient, type, depth, {pack.storage.get(), bytes});
      pack.current = true;
    }
    return pack.storage.get();
  }

 private:
  static void reorder(const GemmWeight& source, bool gradient, const Pack& pack) {
    constexpr std::int64_t rows_at_once = 1536;  // a multiple of the blocks in which oneDNN packs rows
    source.visit(rows_at_once, 1, [&](std::int64_t row, const Tensor& part) {
      const std::int64_t n = part.dim(0);
      const std::int64_t k = part.dim(1);
      const memory::desc plain = gradient ? memory::desc({n, k}, onednn_type(part.dtype()), Tag::ab)
                                          : memory::desc({k, n}, onednn_type(part.dtype()), Tag::ba);
      const bool whole = n == source.shape()[0];
      const memory::desc place = whole      ? pack.layout
                                 : gradient ? pack.layout.submemory_desc({n, k}, {row, 0})
                                            : pack.layout.submemory_desc({k, n}, {0, row});
      memory unpacked = wrap(plain, part.raw());
      memory packed = wrap(place, pack.storage.get());
      dnnl::stream stream(engine());
      dnnl::reorder(unpacked, packed).execute(stream, unpacked, packed);
      stream.wait();
    });
  }
};

GemmWeight::GemmWeight() : packs_(std::make_unique<Packs>()) {}
GemmWeight::~GemmWeight() = default;
GemmWeight::GemmWeight(GemmWeight&&) noexcept = default;
GemmWeight& GemmWeight::operator=(GemmWeight&&) noexcept = default;

void GemmWeight::set(const Tensor& weight) {
  require(weight.shape().rank() == 2, "a weight of a product is a matrix, not {}", weight.shape());
  shape_ = weight.shape();
  exact_ = weight.dtype();
  weight_ = weight;
  read_ = nullptr;
  read_rows_ = nullptr;
  for (auto& [direction, pack] : packs_->made) pack.current = false;
}

void GemmWeight::set(const Shape& shape, std::function<Tensor()> read, ReadRows read_rows, DType exact) {
  require(shape.rank() == 2, "a weight of a product is a matrix, not {}", shape);
  shape_ = shape;
  exact_ = exact;
  weight_ = Tensor();
  read_ = std::move(read);
  read_rows_ = std::move(read_rows);
  for (auto& [direction, pack] : packs_->made) pack.current = false;
}

DType GemmWeight::packed_type(DType type) const {
  return type == DType::f32 && exact_ == DType::bf16 && own_products(type) ? DType::bf16 : type;
}

void GemmWeight::visit(std::int64_t rows_at_once, int threads,
                       const std::function<void(std::int64_t row, const Tensor& part)>& use) const {
  if (!read_rows_) return use(0, weight());
  const Blocks parts{shape_[0], rows_at_once};
  parallel_for(threads, parts.count(), [&](std::int64_t i) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(parts.length(i)));
    std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(parts.begin(i)));
    use(parts.begin(i), read_rows_(rows));
  });
}

void gemm(const Context& ctx, const Tensor& x, const GemmWeight& weight, const GemmEpilogue& epilogue,
          const Tensor& y) {
  const std::int64_t n = weight.shape()[0];
  const std::int64_t k = weight.shape()[1];
  require(x.dim(1) == k && y.dim(1) == n && x.dim(0) == y.dim(0), "product of {} and the transpose of {} into {}",
          x.shape(), weight.shape(), y.shape());
  if (x.dim(0) == 0) return;
  if (x.dtype() == DType::f64) return gemm_f64(ctx, x, weight.weight(), epilogue, y);
  if (own_products(x.dtype())) {
    const DType packed = weight.packed_type(x.dtype());
    multiply_packed(ctx, x, {packed, weight.packs().get_own(weight, false, packed)}, epilogue, y);
    count_flops(x.dim(0), n, k);
    if (epilogue.relu) activation_forward(ctx, Activation::relu, y, {}, y);
    return;
  }
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
  const void* const packed = weight.packs().get(weight, false, x.dtype(), primitive(product).b);
  run(ctx, product, x.raw(), packed, epilogue.bias.raw(), y.raw_write());
  // Not as a post-operation of oneDNN's, which makes 0 of NaN: a model with damaged weights would go on in silence.
  if (epilogue.relu) activation_forward(ctx, Activation::relu, y, {}, y);
}

void gemm_input_gradient(const Context& ctx, const Tensor& dy, const GemmWeight& weight, bool accumulate,
                         const Tensor& dx) {
  const std::int64_t n = weight.shape()[0];
  const std::int64_t k = weight.shape()[1];
  require(dy.dim(1) == n && dx.dim(1) == k && dy.dim(0) == dx.dim(0), "product of {} and {} into {}", dy.shape(),
          weight.shape(), dx.shape());
  if (dy.dim(0) == 0) return;
  if (dy.dtype() == DType::f64) return gemm_input_gradient_f64(ctx, dy, weight.weight(), accumulate, dx);
  if (own_products(dy.dtype())) {
    count_flops(dy.dim(0), n, k);
    const DType packed = weight.packed_type(dy.dtype());
    return multiply_packed(ctx, dy, {packed, weight.packs().get_own(weight, true, packed)}, {.accumulate = accumulate},
                           dx);
  }
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
  const void* const packed = weight.packs().get(weight, true, dy.dtype(), primitive(product).b);
  run(ctx, product, dy.raw(), packed, nullptr, dx.raw_write());
}

void gemm_weight_gradient(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw) {
  require(dy.dim(0) == x.dim(0) && dw.dim(0) == dy.dim(1) && dw.dim(1) == x.dim(1),
          "product of the transpose of {} and {} into {}", dy.shape(), x.shape(), dw.shape());
  if (dy.dtype() == DType::f64) return gemm_weight_gradient_f64(ctx, dy, x, accumulate, dw);
  if (dy.dim(0) == 0) {
    if (!accumulate) std::memset(dw.raw_write(), 0, dw.bytes());
    return;
  }
  if (own_products(dy.dtype())) {
    count_flops(dy.dim(0), dy.dim(1), x.dim(1));
    return multiply_transposed(ctx, dy, x, accumulate, dw);
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
  run(ctx, product, dy.raw(), x.raw(), nullptr, dw.raw_write());
}

std::uint64_t gemm_flops() {
  return flops;
}

}  // namespace rapt::kernels
