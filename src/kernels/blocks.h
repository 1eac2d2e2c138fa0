/// What a kernel's .cpp hands to its inner loops in the .isa.cpp: a block of its work as plain data. No functions here:
/// this header is compiled for every instruction set.
#pragma once

#include <stdint.h>

#include "kernels/activation.h"
#include "kernels/dropout_mask.h"
#include "rapt/dtype.h"

namespace rapt::kernels {

/// A run of consecutive elements. Operands that a kernel does not have are null; `result` may be an operand.
struct ElementsBlock {
  DType dtype = DType::f32;
  const void* x = nullptr;
  const void* y = nullptr;
  void* result = nullptr;
  int64_t begin = 0;  ///< flat index of the first element, for the mask
  int64_t count = 0;
  DropoutMask mask{};
};

/// Rows of a layer normalisation (kernels/norm.h); all pointers are at the first of them. s is null when there is none,
/// and then z is x.
struct LayerNormBlock {
  DType dtype = DType::f32;
  int64_t first_row = 0;  ///< in the whole tensor, for the mask
  int64_t rows = 0;
  int64_t width = 0;
  const void* x = nullptr;
  const void* s = nullptr;
  void* z = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;
  double epsilon = 0;
  void* y = nullptr;
  void* mean = nullptr;
  void* inverse_deviation = nullptr;
  DropoutMask mask{};
};

/// Rows of a root mean square normalisation (kernels/rms_norm.h); x and y are at the first vector of the first row.
struct RmsNormBlock {
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t stride = 0;  ///< elements from one row to the next
  int64_t groups = 1;
  int64_t width = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  double weight_offset = 0;
  double epsilon = 0;
  void* y = nullptr;
  void* inverse_rms = nullptr;
};

/// Rows of its gradient; d_weight has the partial sums of this block. dx may be dy.
struct RmsNormGradientBlock {
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t stride = 0;
  int64_t groups = 1;
  int64_t width = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  double weight_offset = 0;
  const void* inverse_rms = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  void* d_weight = nullptr;
};

/// Rows of a gated activation (kernels/gated.h). dy is null in the forward pass, and `result` is then y, otherwise dx.
struct GatedBlock {
  Activation activation = Activation::relu;
  DType dtype = DType::f32;
  int64_t first_row = 0;  ///< in the whole tensor, for the mask
  int64_t rows = 0;
  int64_t width = 0;  ///< of y
  const void* x = nullptr;
  const void* dy = nullptr;
  void* result = nullptr;
  DropoutMask mask{};
};

/// Rows of its gradient. residual and ds may be null; d_weight and d_bias are the partial sums of this block.
struct LayerNormGradientBlock {
  DType dtype = DType::f32;
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t width = 0;
  const void* z = nullptr;
  const void* weight = nullptr;
  const void* mean = nullptr;
  const void* inverse_deviation = nullptr;
  const void* dy = nullptr;
  const void* residual = nullptr;
  void* dx = nullptr;
  void* ds = nullptr;
  void* d_weight = nullptr;
  void* d_bias = nullptr;
  DropoutMask mask{};
};

/// Tokens of an embedding (kernels/embedding.h); ids, positions and y are at the first of them. positions and types
/// are null when there are none.
struct EmbeddingBlock {
  DType table_type = DType::f32;
  DType dtype = DType::f32;
  int64_t first_token = 0;  ///< in the whole tensor, for the mask
  int64_t tokens = 0;
  int64_t width = 0;
  const int32_t* ids = nullptr;
  const void* table = nullptr;
  double scale = 1;
  const int32_t* positions = nullptr;
  const void* position_table = nullptr;
  const int32_t* types = nullptr;
  const void* type_table = nullptr;
  void* y = nullptr;
  DropoutMask mask{};
};

/// Some tokens of its gradient, in the order in which they are added; ids and dy are those of all tokens. No other
/// block has tokens of the same ids.
struct EmbeddingGradientBlock {
  DType dtype = DType::f32;
  const int32_t* order = nullptr;
  int64_t tokens = 0;
  int64_t width = 0;
  const int32_t* ids = nullptr;
  double scale = 1;
  const void* dy = nullptr;
  void* d_table = nullptr;
  DropoutMask mask{};
};

/// What cross-entropy finds out about a row.
struct RowLoss {
  double loss = 0;
  double negative_log_likelihood = 0;
  bool correct = false;
};

/// Rows of a cross-entropy (kernels/cross_entropy.h); logits, targets and results are at the first of them.
struct CrossEntropyBlock {
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t vocab = 0;
  void* logits = nullptr;
  const int32_t* targets = nullptr;
  double smoothing = 0;
  double gradient_scale = 0;     ///< 0: the logits stay
  void* exponentials = nullptr;  ///< room for a row, f32 (f64); not used without gradient
  RowLoss* results = nullptr;
};

/// Rows of the gates of the gated delta rule (kernels/delta_gates.h), alpha's columns before beta's; all pointers are
/// at the first of them. In the forward pass there are no gradients; d_a_log and d_dt_bias are the partial sums of a
/// block.
struct DeltaGatesBlock {
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t heads = 0;
  const void* z = nullptr;
  const void* a_log = nullptr;
  const void* dt_bias = nullptr;
  void* gates = nullptr;
  const void* d_gates = nullptr;
  void* dz = nullptr;
  void* d_a_log = nullptr;
  void* d_dt_bias = nullptr;
};

/// Elements of an Adam update (kernels/adam.h), with the factors of this step worked out.
struct AdamBlock {
  DType dtype = DType::f32;
  int64_t count = 0;
  void* weight = nullptr;
  const void* gradient = nullptr;
  void* m = nullptr;
  void* v = nullptr;
  double gradient_scale = 1;
  double beta1 = 0;
  double beta2 = 0;
  double keep = 1;       ///< what weight decay leaves of a weight
  double rate = 0;       ///< learning rate over the bias correction of m
  double deviation = 1;  ///< 1 / sqrt of the bias correction of v
  double epsilon = 0;
};

/// Rows of a rotary embedding (kernels/rotary.h); data and positions are at the first of them. `turns` holds, for every
/// hexadecimal digit d of place k, the cosines and then the sines of the angles of position d * 16^k: it is
/// [places, 16, 2, rotary / 2].
struct RotaryBlock {
  DType dtype = DType::f32;
  void* data = nullptr;
  int64_t rows = 0;
  int64_t stride = 0;
  int heads = 1;
  int d_head = 0;
  int rotary = 0;
  double scale = 1;
  bool inverse = false;
  const int32_t* positions = nullptr;
  const double* turns = nullptr;
};
constexpr int rotary_radix = 16;

}  // namespace rapt::kernels
