/// The gated delta rule within a chunk: gates, and what keys write. Included by linear_*.isa.cpp only, everything has
/// internal linkage (see kernels/simd.h).
#pragma once

#include "attention/linear_chunk.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
RAPT_INLINE void load_gates(const Item& item, const Chunk& chunk, const Operand& operand, S* gates) {
  const long token = item.key_begin + chunk.first_key;
  const S* source = static_cast<const S*>(operand.data) + token * operand.stride + item.kv_head;
  for (long j = 0; j < chunk.keys; ++j) gates[j] = source[j * operand.stride];
}

/// Products of alpha, by multiplication alone: a gate of 0 is as good as any.
template <typename S>
RAPT_INLINE void multiply_gates(const Chunk& chunk, Buffers<S>& b) {
  const long columns = padded(chunk.keys);
  S product = 1;
  for (long i = 0; i < chunk.keys; ++i) {
    S* row = b.ratios + i * b.ld_chunk;
    if (i == 0) {
      clear(row, columns);
    } else {
      scale_into(row - b.ld_chunk, b.alpha[i], columns, row);
    }
    row[i] = 1;
    b.gamma[i] = product *= b.alpha[i];
  }
  const S* last = b.ratios + (chunk.keys - 1) * b.ld_chunk;
  for (long j = 0; j < chunk.keys; ++j) b.tail[j] = last[j];
}

/// alpha, beta, gamma, tail, ratios, products and minus_low of the chunk's keys.
template <typename S>
RAPT_INLINE void load_delta(const Call& call, const Item& item, const Chunk& chunk, Buffers<S>& b) {
  load_gates(item, chunk, call.alpha, b.alpha);
  load_gates(item, chunk, call.beta, b.beta);
  multiply_gates(chunk, b);
  multiply_by_keys(call, chunk, b, b.keys, chunk.keys, 0, b.products);
  for (long i = 0; i < chunk.keys; ++i) {
    S* product = b.products + i * b.ld_chunk;
    each_vector<S>(chunk.keys, [&](long j) {
      const Vector<S> below = keep_below<S>(load(product + j), at_least(0, i - j));
      store(below, product + j);
      store(below * load(b.ratios + i * b.ld_chunk + j) * -b.beta[i], b.minus_low + i * b.ld_chunk + j);
    });
  }
}

/// Rows that are solved for together.
constexpr long solve_rows = 8;

/// x = (1 - minus_low)^-1 x in place, for `columns` columns: every row takes up what the rows before it have become
/// (the UT transform of Yang et al., "Parallelizing Linear Transformers with the Delta Rule", 2024, applied directly).
template <typename S>
RAPT_INLINE void solve(const Buffers<S>& b, long rows, S* x, long columns) {
  for (long first = 0; first < rows; first += solve_rows) {
    const long count = at_most(solve_rows, rows - first);
    const S* low = b.minus_low + first * b.ld_chunk;
    S* block = x + first * b.ld_value;
    if (first > 0) {
      multiply(Product<S>{.a = {low, b.ld_chunk},
                          .b = {x, b.ld_value},
                          .c = {block, b.ld_value},
                          .rows = count,
                          .depth = first,
                          .columns = columns,
                          .accumulate = true});
    }
    for (long i = 1; i < count; ++i) {
      for (long j = 0; j < i; ++j) {
        add_scaled(block + j * b.ld_value, low[i * b.ld_chunk + first + j], columns, block + i * b.ld_value);
      }
    }
  }
}

/// read and news of the chunk's keys given the state before it, for columns [first, last):
///   news_i = beta_i (v_i - gamma_i S^T k_i) - sum_(j<i) beta_i ratio_ij (k_i.k_j) news_j.
template <typename S>
RAPT_INLINE void write_news(const Call& call, const Chunk& chunk, const State<S>& before, const Buffers<S>& b,
                            long first, long last) {
  const long columns = last - first;
  if (before.sums != nullptr) {
    read_sums(call, b, b.keys, chunk.keys, before.sums + first, columns, b.read + first);
  } else {
    for (long j = 0; j < chunk.keys; ++j) clear(b.read + j * b.ld_value + first, padded(columns));
  }
  for (long j = 0; j < chunk.keys; ++j) {
    const long row = j * b.ld_value + first;
    each_vector<S>(columns, [&](long i) {
      store((load(b.values + row + i) - load(b.read + row + i) * b.gamma[j]) * b.beta[j], b.news + row + i);
    });
  }
  solve(b, chunk.keys, b.news + first, columns);
}

}  // namespace
}  // namespace rapt::attention::linear::RAPT_ISA
