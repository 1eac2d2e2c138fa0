/// Linear attention: forms of attention whose time grows linearly with the length, because all that a query sees is
/// kept in a state of fixed size. A form in Problem::linear takes the place of softmax in every call of
/// rapt/attention.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

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

/// Which form, and what belongs to it. Sequences, operands, types and positions are those of rapt/attention.h. The
/// three ways of computing a form (from its definition, by chunks of tokens, token by token) are equal up to rounding.
///
/// What does not go with a form is refused: a visibility other than full() and causal(), pages, dropout, and what is
/// added to scores.
struct LinearForm {
  enum class Kind : std::uint8_t {
    /// out_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j) with phi(x) = elu(x) + 1 (Katharopoulos et al.,
    /// "Transformers are RNNs", 2020). A query whose denominator is 0 gives zeros. Problem::scale has no part in it.
    elu_plus_one,
    /// The same with phi(x) = max(x, 0).
    relu,
    /// The same with phi(x)_f = exp(w_f.x - |x|^2 / 2) of x = sqrt(scale) q and sqrt(scale) k for the random directions
    /// w_f: an estimate of softmax attention with Problem::scale, which must be positive (Choromanski et al. 2021,
    /// FAVOR+). Exponents are taken relative to their maxima, for keys per direction, which cancel in the quotient.
    /// What a causal query sees counts as nothing beside keys up to 63 later whose exponents are 87 larger in the same
    /// direction (708 in f64); queries and keys of moderate length, for which alone the estimate is a good one, are far
    /// from that.
    favor,
    /// out_i = scale * sum_j decay^(distance of i from j) (q_i.k_j) v_j over the keys at or before the query's position
    /// (Sun et al., "Retentive Network", 2023). Causal only.
    retention,
    /// S_t = alpha_t S_(t-1) (I - beta_t k_t k_t^T) + beta_t v_t k_t^T over the keys; out = S_t (scale q) for the query
    /// at key t (Yang et al., "Gated Delta Networks", 2024). Keys are taken as they come: for the state to stay bounded
    /// they should have |k| <= 1. Causal only.
    gated_delta,
  };
  /// How a forward pass computes a sequence.
  enum class Path : std::uint8_t {
    automatic,  ///< recurrent for up to 4 new keys of a sequence with a state, else chunked
    chunked,
    recurrent,
  };
  Kind kind = Kind::elu_plus_one;
  RandomFeatures features = {};  ///< of favor
  /// [heads] of type S, each in [0, 1]: of retention.
  const void* decays = nullptr;
  Rows alpha = {};  ///< [., kv_heads, 1] of type S, indexed like keys: of gated_delta
  Rows beta = {};   ///< likewise
  Path path = Path::automatic;

  /// Whether weights are divided by their sum (elu_plus_one, relu, favor), so that they are probabilities with a
  /// log_sum_exp and statistics. phi(q).phi(k) takes the place of exp(score) in all of them.
  bool is_normalised() const { return kind == Kind::elu_plus_one || kind == Kind::relu || kind == Kind::favor; }
};

/// "elu_plus_one", "relu", "favor", "retention", "gated_delta"
constexpr std::string_view name_of(LinearForm::Kind kind) {
  constexpr std::string_view names[] = {"elu_plus_one", "relu", "favor", "retention", "gated_delta"};
  return names[static_cast<int>(kind)];
}

/// Elements of type S in the state of one sequence; 0 for softmax, which keeps none.
///
/// A state is, for each key-value head (for retention: for each head, since decays differ), one after the other: the
/// matrix [features, d_value] whose row f is the (decayed) sum of phi(k)_f v; then, for elu_plus_one, relu and favor,
/// [features] sums of phi(k)_f; then, for favor, [features] maxima that exponents are relative to. features is
/// RandomFeatures::count() for favor and d_key for the others; for gated_delta the matrix is the transpose of S_t.
std::int64_t state_size(const Problem& problem);

}  // namespace rapt::attention
