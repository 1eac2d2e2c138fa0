/// Linear attention on ragged batches: forms of attention whose time grows linearly with the length, because all that a
/// query sees is kept in a state of fixed size. Sequences, operands and types are those of rapt/attention.h; S is float
/// for f32 and bf16 and double for f64. The three ways of computing a form (from its definition, by chunks of tokens,
/// token by token) are equal up to rounding.
///
/// Everything here works on memory of the caller, throws rapt::Error for arguments that do not fit together before any
/// result is written, and gives the same bits for any number of threads and for a sequence alone or in a batch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "rapt/attention.h"

namespace rapt::attention {

/// Orthogonal random directions for LinearForm::Kind::favor: rows of length like those of standard normal vectors, any
/// d_key neighbours at right angles (Choromanski et al., "Rethinking Attention with Performers", 2021, 2.4). A function
/// of the arguments alone. Drawn once, immutable and cheap to copy.
class RandomFeatures {
 public:
  struct Directions;

  RandomFeatures() = default;
  /// count >= 1, d_key in 1..1024.
  RandomFeatures(int count, int d_key, std::uint64_t seed);

  int count() const;
  int d_key() const;
  /// What the kernels read; null for a default-constructed object.
  const Directions* directions() const { return directions_.get(); }

 private:
  std::shared_ptr<const Directions> directions_;
};

/// Which form, and what belongs to it. Key j precedes query i when it is visible under Visibility::causal(Align::end).
struct LinearForm {
  enum class Kind : std::uint8_t {
    /// out_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j) with phi(x) = elu(x) + 1 (Katharopoulos et al.,
    /// "Transformers are RNNs", 2020). A query whose denominator is 0 gives zeros.
    elu_plus_one,
    /// The same with phi(x) = max(x, 0).
    relu,
    /// The same with phi(x)_f = exp(w_f.x - |x|^2 / 2) for the random directions w_f: an estimate of softmax attention
    /// with LinearProblem::scale (Choromanski et al. 2021, FAVOR+). Exponents are taken relative to their maxima, for
    /// keys per direction, which cancel in the quotient. What a causal query sees counts as nothing beside keys up to
    /// 63 later whose exponents are 87 larger in the same direction (708 in f64); queries and keys of moderate length,
    /// for which alone the estimate is a good one, are far from that.
    favor,
    /// out_i = scale * sum_j decay^(distance of i from j) (q_i.k_j) v_j over preceding keys (Sun et al., "Retentive
    /// Network", 2023).
    retention,
    /// S_t = alpha_t S_(t-1) (I - beta_t k_t k_t^T) + beta_t v_t k_t^T over the keys; out = S_t (scale q) for the query
    /// at key t (Yang et al., "Gated Delta Networks", 2024). Keys are taken as they come: for the state to stay bounded
    /// they should have |k| <= 1.
    gated_delta,
  };
  Kind kind = Kind::elu_plus_one;
  bool causal = true;            ///< false: every query sees every key; not for retention and gated_delta
  RandomFeatures features = {};  ///< of favor
  /// [heads] of type S, each in [0, 1]: of retention.
  const void* decays = nullptr;
  Rows alpha = {};  ///< [., kv_heads, 1] of type S, indexed like keys: of gated_delta
  Rows beta = {};   ///< likewise
};

/// How a forward pass computes a sequence.
enum class LinearPath : std::uint8_t {
  automatic,  ///< recurrent for up to 4 new keys of a sequence with a state, else chunked
  chunked,
  recurrent,
};

/// What is computed. heads % kv_heads == 0; query head h uses key-value head h / (heads / kv_heads).
struct LinearProblem {
  std::span<const Span> sequences;
  int heads = 1;
  int kv_heads = 1;
  int d_key = 0;     ///< 1..1024
  int d_value = 0;   ///< 1..1024
  double scale = 1;  ///< has no part in elu_plus_one and relu; must be positive for favor
  LinearForm form = {};
  LinearPath path = LinearPath::automatic;
};

/// What sequences have seen before a call and after it: [sequences, linear_state_size(problem)] of type S, where zeros
/// have seen nothing. `before` null: nothing was seen. `after` null: not wanted; it may be `before`.
///
/// One sequence's state is, for each key-value head (for retention: for each head, since decays differ), one after the
/// other: the matrix [features, d_value] whose row f is the (decayed) sum of phi(k)_f v; then, for elu_plus_one, relu
/// and favor, [features] sums of phi(k)_f; then, for favor, [features] maxima that exponents are relative to. features
/// is RandomFeatures::count() for favor and d_key for the others; for gated_delta the matrix is the transpose of S_t.
struct LinearStates {
  const void* before = nullptr;
  void* after = nullptr;
};

/// Elements of type S in the state of one sequence.
std::int64_t linear_state_size(const LinearProblem& problem);

/// out from q, k and v. With a state, the keys of the call follow those of the state, and causal queries must not
/// outnumber the keys of the call.
void linear_forward(const LinearProblem& problem, const Inputs& inputs, const Rows& out,
                    const LinearStates& states = {}, int threads = 0);

/// Where gradients go. q, k and v, and alpha and beta where wanted (data not null), are overwritten in the rows that
/// the sequences name; decays, [heads] of type S or null, is overwritten whole.
struct LinearGradients {
  Rows q, k, v;
  Rows alpha = {};
  Rows beta = {};
  void* decays = nullptr;
};

/// The gradients given d_out, for sequences that start without a state. Everything is computed again from the inputs by
/// chunks; one state per chunk is held at a time for each sequence and head at work. No two sequences may share query
/// rows or key rows.
void linear_backward(const LinearProblem& problem, const Inputs& inputs, const Rows& d_out,
                     const LinearGradients& gradients, int threads = 0);

/// The attention weights that a form implies, for one sequence and one head: weights[query, key], row-major
/// [query_count, key_count], so that out = weights v. elu_plus_one, relu and favor: normalised, rows sum to 1 (or are
/// zeros). retention: scale * decay^distance * q.k, of either sign and not normalised. Exactly 0 where a key is not
/// visible. gated_delta is refused: later keys rewrite what earlier ones stored. inputs.v is not looked at.
void linear_weights(const LinearProblem& problem, const Inputs& inputs, int sequence, int head,
                    std::span<float> weights, int threads = 0);

}  // namespace rapt::attention
