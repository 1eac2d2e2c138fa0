#include "autograd/ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "autograd/gradient_check.h"

namespace rapt {
namespace {

using testing::check_gradients;
using testing::leaf;
using testing::random_input;
using testing::random_weight;

TEST(Gradients, Linear) {
  const Var x = random_input({5, 7}, 1);
  const WeightPtr w = random_weight({4, 7}, 2);
  const WeightPtr b = random_weight({4}, 3);
  for (const bool relu : {false, true}) {
    check_gradients({leaf("x", x), leaf("weight", w), leaf("bias", b)},
                    [&](Context& ctx) { return ops::linear(ctx, x, w, b, relu, DType::f64); });
  }
}

TEST(Gradients, LinearUsedTwiceAddsUp) {
  const Var x = random_input({3, 4}, 1);
  const WeightPtr w = random_weight({4, 4}, 2);
  check_gradients({leaf("x", x), leaf("weight", w)}, [&](Context& ctx) {
    const Var once = ops::linear(ctx, x, w, nullptr, false, DType::f64);
    return ops::add(ctx, ops::linear(ctx, once, w, nullptr, false, DType::f64), x, 0);
  });
}

TEST(Gradients, Activations) {
  for (const auto kind : {kernels::Activation::relu, kernels::Activation::gelu, kernels::Activation::gelu_tanh,
                          kernels::Activation::silu}) {
    for (const float dropout : {0.0f, 0.4f}) {
      const Var x = random_input({6, 33}, 4);
      check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::activation(ctx, kind, x, dropout); });
    }
  }
}

TEST(Gradients, Gated) {
  for (const auto kind : {kernels::Activation::relu, kernels::Activation::gelu_tanh, kernels::Activation::silu}) {
    for (const float dropout : {0.0f, 0.4f}) {
      const Var x = random_input({6, 34}, 4);
      check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::gated(ctx, kind, x, dropout); });
    }
  }
}

TEST(Gradients, DropoutScaleAndSoftCap) {
  const Var x = random_input({6, 40}, 5);
  check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::dropout(ctx, x, 0.3f); });
  check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::scale(ctx, x, -2.5); });
  check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::soft_cap(ctx, x, 1.5); });
}

TEST(Gradients, SelectRows) {
  const Var x = random_input({6, 5}, 6);
  check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::select_rows(ctx, x, {0, 3, 5}); });
  // Rows that are selected twice, once by each of two operations, receive both gradients.
  check_gradients({leaf("x", x)}, [&](Context& ctx) {
    return ops::add(ctx, ops::select_rows(ctx, x, {1, 2}), ops::select_rows(ctx, x, {2, 4}), 0);
  });
  Context ctx;
  EXPECT_THROW(ops::select_rows(ctx, x, {3, 3}), Error);
  EXPECT_THROW(ops::select_rows(ctx, x, {6}), Error);
  EXPECT_THROW(ops::select_rows(ctx, x, {-1, 2}), Error);
}

TEST(Gradients, AddWithDropout) {
  for (const float dropout : {0.0f, 0.3f}) {
    const Var x = random_input({6, 40}, 5);
    const Var s = random_input({6, 40}, 6);
    check_gradients({leaf("x", x), leaf("s", s)}, [&](Context& ctx) { return ops::add(ctx, x, s, dropout); });
  }
}

TEST(Gradients, LayerNorm) {
  const Var x = random_input({5, 19}, 7);
  const WeightPtr w = random_weight({19}, 8);
  const WeightPtr b = random_weight({19}, 9);
  check_gradients({leaf("x", x), leaf("weight", w), leaf("bias", b)},
                  [&](Context& ctx) { return ops::layer_norm(ctx, x, w, b, 1e-5); });
}

TEST(Gradients, RmsNorm) {
  const Var x = random_input({5, 19}, 7);
  const WeightPtr w = random_weight({19}, 8);
  check_gradients({leaf("x", x), leaf("weight", w)}, [&](Context& ctx) {
    return ops::rms_norm(ctx, x, {.weight = w, .weight_offset = 1, .epsilon = 1e-3});
  });
}

TEST(Gradients, NormOfHeadsLeavesTheOthersAlone) {
  const Var x = random_input({5, 2 * 6 + 6 + 6}, 7);
  const WeightPtr q = random_weight({6}, 8);
  const WeightPtr k = random_weight({6}, 9);
  check_gradients({leaf("x", x), leaf("query weight", q), leaf("key weight", k)}, [&](Context& ctx) {
    const ops::HeadsNorm parts[] = {{.heads = 2, .norm = {.weight = q}},
                                    {.begin = 12, .heads = 1, .norm = {.weight = k}}};
    return ops::norm_heads(ctx, x, parts);
  });
}

TEST(Gradients, HeadsOfLengthOne) {
  const Var x = random_input({5, 2 * 6 + 4}, 7);
  check_gradients({leaf("x", x)}, [&](Context& ctx) { return ops::normalize_heads(ctx, x, 2, 6); });
  Context ctx({.compute = DType::f64});
  const Tensor y = ops::normalize_heads(ctx, x, 2, 6).value();
  for (std::int64_t row = 0; row < 5; ++row) {
    const double* values = y.data<double>() + row * 16;
    for (int head = 0; head < 2; ++head) {
      double squares = 0;
      for (int i = 0; i < 6; ++i) squares += values[head * 6 + i] * values[head * 6 + i];
      EXPECT_NEAR(squares, 1, 1e-5);
    }
    for (int i = 12; i < 16; ++i) EXPECT_EQ(values[i], x.value().data<double>()[row * 16 + i]);
  }
}

TEST(Gradients, DeltaGates) {
  const Var z = random_input({5, 6}, 7);
  const WeightPtr a_log = random_weight({3}, 8);
  const WeightPtr dt_bias = random_weight({3}, 9);
  check_gradients({leaf("z", z), leaf("a_log", a_log), leaf("dt_bias", dt_bias)},
                  [&](Context& ctx) { return ops::delta_gates(ctx, z, a_log, dt_bias); });
}

TEST(Gradients, AddAndNorm) {
  for (const float dropout : {0.0f, 0.3f}) {
    const Var x = random_input({5, 19}, 7);
    const Var s = random_input({5, 19}, 10);
    const WeightPtr w = random_weight({19}, 8);
    const WeightPtr b = random_weight({19}, 9);
    check_gradients({leaf("x", x), leaf("s", s), leaf("weight", w), leaf("bias", b)},
                    [&](Context& ctx) { return ops::add_and_norm(ctx, x, s, dropout, w, b, 1e-5); });
  }
}

TEST(Gradients, AddAndNormWhenXIsUsedLaterToo) {
  const Var x = random_input({4, 8}, 7);
  const Var s = random_input({4, 8}, 10);
  const WeightPtr w = random_weight({8}, 8);
  const WeightPtr b = random_weight({8}, 9);
  check_gradients({leaf("x", x), leaf("s", s)},
                  [&](Context& ctx) { return ops::add(ctx, ops::add_and_norm(ctx, x, s, 0, w, b, 1e-5), x, 0); });
}

TEST(Gradients, Embedding) {
  const std::vector<std::int32_t> ids{3, 1, 3, 0, 3};
  const std::vector<std::int32_t> positions{0, 1, 2, 0, 1};
  const WeightPtr table = random_weight({5, 12}, 11);
  const WeightPtr learned = random_weight({4, 12}, 12);
  const std::vector<std::int32_t> types{0, 1, 1, 0, 1};
  const WeightPtr type_table = random_weight({2, 12}, 13);
  for (const float dropout : {0.0f, 0.3f}) {
    check_gradients({leaf("table", table), leaf("positions", learned), leaf("types", type_table)}, [&](Context& ctx) {
      return ops::embedding(ctx, ids, table,
                            {.scale = 3.5,
                             .positions = positions,
                             .learned_positions = learned,
                             .types = types,
                             .type_table = type_table,
                             .dropout = dropout});
    });
  }
}

TEST(Embedding, LooksUpTheRowsThatItsSourceGives) {
  const std::vector<std::int32_t> ids{3, 1, 3, 0};
  const auto table = std::make_shared<Weight>(Shape{5, 2}, DType::f32);
  const auto row = [](std::span<const std::int32_t> rows) {
    Tensor result = Tensor::empty({std::ssize(rows), 2}, DType::f32);
    for (std::size_t i = 0; i < 2 * rows.size(); ++i)
      result.write<float>()[i] = static_cast<float>(10 * rows[i / 2]) + static_cast<float>(i % 2);
    return result;
  };
  table->set_source([]() -> Tensor { fail("the whole table was read"); }, row);
  Context ctx;
  const Var y = ops::embedding(ctx, ids, table, {.scale = 2});
  const std::vector<float> expected{60, 62, 20, 22, 60, 62, 0, 2};
  EXPECT_TRUE(std::ranges::equal(y.value().values<float>(), expected));
}

TEST(Gradients, AttentionOverFusedProjections) {
  const Var x = random_input({7, 3 * 8}, 13);
  const std::vector<attention::Span> spans{{0, 3, 0, 3}, {3, 0, 3, 0}, {3, 4, 3, 4}};
  for (const bool causal : {false, true}) {
    for (const float dropout : {0.0f, 0.3f}) {
      check_gradients({leaf("x", x)}, [&](Context& ctx) {
        return ops::scaled_dot_product_attention(
            ctx, {x, 0}, {x, 8}, {x, 16}, spans,
            {.heads = 2,
             .kv_heads = 2,
             .d_head = 4,
             .visibility = causal ? attention::Visibility::causal() : attention::Visibility::full(),
             .dropout = dropout});
      });
    }
  }
}

TEST(Gradients, AttentionWithRelativePositionsSoftCapAndSharedKeys) {
  const Var x = random_input({9, (4 + 2 + 2) * 4}, 13);
  const WeightPtr relative = random_weight({6, 4}, 14);
  const std::vector<attention::Span> spans{{0, 3, 0, 3}, {3, 6, 3, 6}};
  for (const bool bidirectional : {false, true}) {
    check_gradients({leaf("x", x), leaf("relative", relative)}, [&](Context& ctx) {
      return ops::scaled_dot_product_attention(
          ctx, {x, 0}, {x, 16}, {x, 24}, spans,
          {.heads = 4,
           .kv_heads = 2,
           .d_head = 4,
           .scale = 0.7,
           .soft_cap = 2,
           .visibility = bidirectional ? attention::Visibility::full() : attention::Visibility::causal(),
           .relative_table = relative,
           .relative_max_distance = 5,
           .relative_bidirectional = bidirectional});
    });
  }
}

TEST(Gradients, CrossAttention) {
  const Var q = random_input({5, 8}, 14);
  const Var memory = random_input({6, 16}, 15);
  const std::vector<attention::Span> spans{{0, 2, 0, 4}, {2, 3, 4, 2}};
  check_gradients({leaf("q", q), leaf("memory", memory)}, [&](Context& ctx) {
    return ops::scaled_dot_product_attention(ctx, {q, 0}, {memory, 0}, {memory, 8}, spans,
                                             {.heads = 2, .kv_heads = 2, .d_head = 4});
  });
}

TEST(Gradients, Rotary) {
  const auto turns = std::make_shared<const kernels::RotaryTurns>(std::vector<double>{1, 0.3, 0.02});
  const std::vector<std::int32_t> positions{0, 1, 5};
  const Var x = random_input({3, 24}, 16);
  check_gradients({leaf("x", x)}, [&](Context& ctx) {
    // The operation takes its input's storage over, so it gets a copy, through a linear layer that is the identity.
    const Var copy = ops::add(ctx, x, Var(Tensor::zeros({3, 24}, DType::f64)), 0);
    return ops::rotary(ctx, copy,
                       {.begin = 8, .heads = 2, .d_head = 8, .turns = turns, .scale = 1.2, .positions = positions});
  });
}

TEST(Gradients, CrossEntropyWithLabelSmoothing) {
  const std::vector<std::int32_t> targets{2, 0, 6};
  const Tensor logits = Tensor::empty({3, 7}, DType::f64);
  testing::fill_random(logits, 17);
  const auto loss = [&](const Tensor& at) {
    Context ctx({.compute = DType::f64});
    return ops::cross_entropy(ctx, Var(at.clone()), targets, {.label_smoothing = 0.1}).loss;
  };
  Context ctx({.compute = DType::f64});
  Tape tape;
  ctx.tape = &tape;
  const Var at(logits.clone());
  ops::cross_entropy(ctx, at, targets, {.label_smoothing = 0.1, .gradient_scale = 0.25});
  tape.run_backward(ctx);
  for (std::int64_t i = 0; i < logits.count(); ++i) {
    const Tensor moved = logits.clone();
    moved.write<double>()[i] += 1e-5;
    const double above = loss(moved);
    moved.write<double>()[i] -= 2e-5;
    const double below = loss(moved);
    EXPECT_NEAR(at.gradient().data<double>()[i], 0.25 * (above - below) / 2e-5, 1e-7);
  }
}

}  // namespace
}  // namespace rapt
