#include "kernels/embedding.h"

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

const Dropout dropout{.probability = 0.1f, .key = {.low = 5, .high = 6}};

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t rows, std::uint64_t seed) {
  RandomSequence random(seed);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(rows)));
  return ids;
}

TEST(Embedding, AddsScaledRowsAndPositions) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      for (const auto& [with_positions, with_types] :
           {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
        for (const Dropout& drop : {Dropout{}, dropout}) {
          const auto ids = random_ids(shape[0], 11, 1);
          const auto positions = random_ids(shape[0], 7, 2);
          const Tensor table = random_tensor({11, shape[1]}, accumulator(dtype), 3);
          const Tensor position_table = random_tensor({7, shape[1]}, accumulator(dtype), 4);
          const auto types = random_ids(shape[0], 2, 5);
          const Tensor type_table = random_tensor({2, shape[1]}, accumulator(dtype), 6);
          const Tensor y = Tensor::empty(shape, dtype);
          Embedding embedding{.ids = ids, .table = table, .scale = 3.5, .dropout = drop, .y = y};
          if (with_positions) {
            embedding.positions = positions;
            embedding.position_table = position_table;
          }
          if (with_types) {
            embedding.types = types;
            embedding.type_table = type_table;
          }
          embedding_forward(ctx, embedding);
          const Values rows = values_of(table);
          const Values added = values_of(position_table);
          const Values of_types = values_of(type_table);
          Values expected(static_cast<std::size_t>(shape.count()));
          const auto width = static_cast<std::size_t>(shape[1]);
          for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto id = static_cast<std::size_t>(ids[i / width]);
            const auto position = static_cast<std::size_t>(positions[i / width]);
            expected[i] = 3.5 * rows[id * width + i % width];
            if (with_positions) expected[i] += added[position * width + i % width];
            if (with_types) expected[i] += of_types[static_cast<std::size_t>(types[i / width]) * width + i % width];
            expected[i] *= dropout_factor(drop, static_cast<std::int64_t>(i));
          }
          const double wide = roundoff(accumulator(dtype));
          expect_close(y, expected, roundoff(dtype) + 2 * wide, 16 * wide);
        }
      }
    }
  }
}

TEST(Embedding, ATableOfSixteenBitsIsItsNumbersInF32) {
  const Context ctx;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Shape& shape : shapes) {
      const auto ids = random_ids(shape[0], 11, 1);
      const Tensor table = random_tensor({11, shape[1]}, DType::bf16, 3);
      const Tensor position_table = random_tensor({11, shape[1]}, DType::f32, 4);
      const Tensor y = Tensor::empty(shape, dtype);
      const Tensor expected = Tensor::empty(shape, dtype);
      for (const auto& [from, to] : {std::pair{table, y}, std::pair{table.to(DType::f32), expected}}) {
        embedding_forward(ctx, {.ids = ids,
                                .table = from,
                                .scale = 3.5,
                                .positions = ids,
                                .position_table = position_table,
                                .dropout = dropout,
                                .y = to});
      }
      expect_same_bits(y, expected);
    }
  }
}

TEST(Embedding, BackwardAddsTheGradientsOfEachId) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      for (const Dropout& drop : {Dropout{}, dropout}) {
        const auto ids = random_ids(shape[0], 11, 1);
        const Tensor dy = random_tensor(shape, dtype, 2);
        const Tensor d_table = random_tensor({11, shape[1]}, accumulator(dtype), 3);
        Values expected = values_of(d_table);
        const Values gradients = values_of(dy);
        const auto width = static_cast<std::size_t>(shape[1]);
        for (std::size_t i = 0; i < gradients.size(); ++i) {
          const auto id = static_cast<std::size_t>(ids[i / width]);
          expected[id * width + i % width] += 3.5 * gradients[i] * dropout_factor(drop, static_cast<std::int64_t>(i));
        }
        embedding_backward(ctx, ids, 3.5, drop, dy, d_table);
        expect_close(d_table, expected, 0, 1000 * roundoff(accumulator(dtype)));
      }
    }
  }
}

TEST(Embedding, GradientsMatchDifferences) {
  const Context ctx;
  const auto ids = random_ids(9, 4, 1);
  const auto positions = random_ids(9, 3, 2);
  const Tensor table = random_tensor({4, 19}, DType::f64, 3);
  const Tensor position_table = random_tensor({3, 19}, DType::f64, 4);
  const Tensor y = Tensor::empty({9, 19}, DType::f64);
  const Tensor dy = random_tensor({9, 19}, DType::f64, 5);
  const Tensor d_table = Tensor::zeros(table.shape(), DType::f64);
  const Tensor d_position_table = Tensor::zeros(position_table.shape(), DType::f64);
  embedding_backward(ctx, ids, 2.5, dropout, dy, d_table);
  embedding_backward(ctx, positions, 1, dropout, dy, d_position_table);
  const auto loss = [&] {
    embedding_forward(ctx, {.ids = ids,
                            .table = table,
                            .scale = 2.5,
                            .positions = positions,
                            .position_table = position_table,
                            .dropout = dropout,
                            .y = y});
    return dot(y, dy);
  };
  expect_gradient(table, d_table, loss);
  expect_gradient(position_table, d_position_table, loss);
}

TEST(Embedding, SameBitsForAnyNumberOfThreads) {
  for (const DType dtype : floating) {
    for (const std::int64_t rows : {1, 3, 1000}) {  // ids seen often and seldom
      const Shape shape{600, 130};
      const auto ids = random_ids(shape[0], rows, 1);
      const Tensor table = random_tensor({rows, shape[1]}, accumulator(dtype), 2);
      const Tensor dy = random_tensor(shape, dtype, 3);
      expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
        const Tensor y = Tensor::empty(shape, dtype);
        embedding_forward(ctx, {.ids = ids, .table = table, .dropout = dropout, .y = y});
        const Tensor d_table = Tensor::zeros(table.shape(), table.dtype());
        embedding_backward(ctx, ids, 2, dropout, dy, d_table);
        return {y, d_table};
      });
    }
  }
}

TEST(Embedding, IdsOutsideTheTableAreErrors) {
  const Context ctx;
  const Tensor table = Tensor::zeros({4, 3}, DType::f32);
  const Tensor y = Tensor::zeros({3, 3}, DType::f32);
  for (const std::int32_t bad : {-1, 4}) {
    const std::vector<std::int32_t> ids = {0, 3, bad};
    const std::string message = "ids[2] is " + std::to_string(bad) + ", expected a row of a table of 4";
    expect_error(message, [&] { embedding_forward(ctx, {.ids = ids, .table = table, .y = y}); });
    expect_error(message, [&] { embedding_backward(ctx, ids, 1, {}, y, table); });
    const std::vector<std::int32_t> good = {0, 1, 2};
    expect_error("positions[2] is", [&] {
      embedding_forward(ctx, {.ids = good, .table = table, .positions = ids, .position_table = table, .y = y});
    });
  }
}

TEST(Embedding, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const std::vector<std::int32_t> ids = {0, 1};
  const Tensor table = Tensor::zeros({4, 3}, DType::f32);
  const Tensor wide = Tensor::zeros({2, 3}, DType::f64);
  const Tensor short_y = Tensor::zeros({1, 3}, DType::f32);
  const Tensor y = Tensor::zeros({2, 3}, DType::f32);
  expect_error("embedding_forward: y holds f64, expected f32 or bf16",
               [&] { embedding_forward(ctx, {.ids = ids, .table = table, .y = wide}); });
  expect_error("embedding_forward: y is [1, 3]",
               [&] { embedding_forward(ctx, {.ids = ids, .table = table, .y = short_y}); });
  expect_error("embedding_forward: 0 positions for 2 ids",
               [&] { embedding_forward(ctx, {.ids = ids, .table = table, .position_table = table, .y = y}); });
  expect_error("embedding_backward: d_table holds f64", [&] { embedding_backward(ctx, ids, 1, {}, y, wide); });
  expect_error("embedding_backward: dy is [1, 3]", [&] { embedding_backward(ctx, ids, 1, {}, short_y, table); });
}

}  // namespace
}  // namespace rapt::kernels
