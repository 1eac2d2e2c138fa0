#include <gtest/gtest.h>

#include "autograd/gradient_check.h"
#include "autograd/ops.h"

namespace rapt {
namespace {

using attention::LinearForm;
using testing::check_gradients;
using testing::leaf;
using testing::random_input;

ops::AttentionOptions options_of(LinearForm::Kind kind, bool causal) {
  ops::AttentionOptions options{
      .heads = 2, .kv_heads = 2, .d_head = 4, .linear = ops::LinearAttention{.kind = kind, .causal = causal}};
  if (kind == LinearForm::Kind::favor) options.linear->features = attention::RandomFeatures(6, 4, 3);
  if (kind == LinearForm::Kind::retention) options.linear->decays = {0.9, 0.5};
  return options;
}

constexpr LinearForm::Kind normalised[] = {LinearForm::Kind::elu_plus_one, LinearForm::Kind::relu,
                                           LinearForm::Kind::favor};

TEST(Gradients, LinearAttentionOverFusedProjections) {
  const Var x = random_input({7, 3 * 8}, 13);
  const std::vector<attention::Span> spans{{0, 3, 0, 3}, {3, 0, 3, 0}, {3, 4, 3, 4}};
  const auto check = [&](LinearForm::Kind kind, bool causal) {
    SCOPED_TRACE(static_cast<int>(kind));
    check_gradients({leaf("x", x)}, [&](Context& ctx) {
      return ops::attention(ctx, {x, 0}, {x, 8}, {x, 16}, spans, options_of(kind, causal));
    });
  };
  for (const LinearForm::Kind kind : normalised) {
    check(kind, true);
    check(kind, false);
  }
  check(LinearForm::Kind::retention, true);
}

TEST(Gradients, LinearAttentionOverSharedKeysAndValues) {
  const Var q = random_input({5, 8}, 14);
  const Var memory = random_input({6, 8}, 15);
  const std::vector<attention::Span> spans{{0, 2, 0, 4}, {2, 3, 4, 2}};
  for (const LinearForm::Kind kind : normalised) {
    ops::AttentionOptions options = options_of(kind, false);
    options.kv_heads = 1;
    check_gradients({leaf("q", q), leaf("memory", memory)}, [&](Context& ctx) {
      return ops::attention(ctx, {q, 0}, {memory, 0}, {memory, 4}, spans, options);
    });
  }
}

TEST(Gradients, GatedDeltaRule) {
  constexpr int heads = 4, kv_heads = 2, d_head = 4, tokens = 9;
  const Var x = random_input({tokens, (heads + 2 * kv_heads) * d_head}, 16);
  const Var z = random_input({tokens, 2 * kv_heads}, 17);
  const WeightPtr a_log = testing::random_weight({kv_heads}, 18);
  const WeightPtr dt_bias = testing::random_weight({kv_heads}, 19);
  const std::vector<attention::Span> spans{{0, 3, 0, 3}, {3, 0, 3, 0}, {3, 6, 3, 6}};
  ops::AttentionOptions options = options_of(LinearForm::Kind::gated_delta, true);
  options.heads = heads;
  check_gradients({leaf("x", x), leaf("z", z), leaf("a_log", a_log), leaf("dt_bias", dt_bias)}, [&](Context& ctx) {
    const Var y = ops::normalize_heads(ctx, x, heads + kv_heads, d_head);
    return ops::linear_attention(ctx, {y, 0}, {y, heads * d_head}, {y, (heads + kv_heads) * d_head}, spans, options,
                                 {.gates = ops::delta_gates(ctx, z, a_log, dt_bias)});
  });
}

TEST(LinearAttention, HasNoGradientsThroughAState) {
  Context ctx({.compute = DType::f64});
  Tape tape;
  ctx.tape = &tape;
  const Var x = random_input({2, 24}, 1);
  const auto options = options_of(LinearForm::Kind::elu_plus_one, true);
  const Tensor states = Tensor::zeros({1, ops::linear_state_size(options)}, DType::f64);
  const std::vector<attention::Span> spans{{0, 2, 0, 2}};
  EXPECT_THROW(ops::linear_attention(ctx, {x, 0}, {x, 8}, {x, 16}, spans, options, {.states = states}), Error);
}

}  // namespace
}  // namespace rapt
