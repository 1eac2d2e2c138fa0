/// How a layer of a Transformer attends: softmax over what a visibility shows, or a linear form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "attention/expression.h"
#include "autograd/ops.h"
#include "rapt/linear_form.h"
#include "rapt/visibility.h"

namespace rapt {

/// The attention of one layer. It adds no parameters, so a model trained with one can be run with any other; but for
/// the gated delta rule, which learns what gives the gates of a token (DeltaGates in model/layers.h), so that a model
/// must have been trained with it to be run with it.
struct LayerAttention {
  /// A linear form (rapt/linear_form.h). Retention decays by 1 - 2^(-5 - h) in head h (Sun et al., "Retentive
  /// Network", 2023, 2.2); its keys are turned where positions are rotary, and its output is not normalised. Queries
  /// and keys of the gated delta rule have length 1 (after they were turned), and products of them are not scaled.
  struct Linear {
    attention::LinearForm::Kind kind = attention::LinearForm::Kind::elu_plus_one;
    int features = 0;        ///< of favor
    std::uint64_t seed = 1;  ///< of favor's directions
  };
  attention::Visibility visibility = {};  ///< of softmax
  std::optional<Linear> linear = std::nullopt;

  /// "causal & window(255, 0)", "linear elu", "linear relu", "linear favor(FEATURES[, SEED])", "retention",
  /// "gated_delta".
  std::string text() const;
  /// The inverse of text(). Throws Error that says where, what was expected and what was found.
  static LayerAttention parse(std::string_view text);
  bool is_gated_delta() const { return linear && linear->kind == attention::LinearForm::Kind::gated_delta; }
};

/// What the operation needs of a linear form: favor's directions, retention's decays.
ops::LinearAttention linear_attention(const LayerAttention::Linear& form, int heads, int d_head, bool causal);

/// Reads one; what follows is left to the caller.
LayerAttention read_layer_attention(attention::ExpressionReader& reader);

}  // namespace rapt
