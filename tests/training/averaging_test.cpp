#include "training/averaging.h"

#include <gtest/gtest.h>

#include <vector>

#include "formats/scratch.h"

namespace rapt::training {
namespace {

Tensor of(Shape shape, const std::vector<float>& values) {
  return Tensor::of<float>(shape, values);
}

TEST(Averaging, IsTheMeanOfEveryElement) {
  const Scratch scratch;
  const std::vector<std::filesystem::path> files{scratch / "1", scratch / "2", scratch / "3"};
  save_safetensors(files[0], std::vector<NamedTensor>{{"w", of({2, 2}, {1, 2, 3, 4})}, {"b", of({1}, {0.1f})}});
  save_safetensors(files[1], std::vector<NamedTensor>{{"w", of({2, 2}, {4, 2, 0, -4})}, {"b", of({1}, {0.1f})}});
  save_safetensors(files[2], std::vector<NamedTensor>{{"w", of({2, 2}, {1, 2, 0, 1e8f})}, {"b", of({1}, {0.1f})}});
  const std::vector<NamedTensor> means = mean_of(files);
  ASSERT_EQ(means.size(), 2u);
  EXPECT_EQ(means[0].first, "b");
  EXPECT_EQ(means[0].second.data<float>()[0], 0.1f) << "equal values stay as they are";
  const float* w = means[1].second.data<float>();
  EXPECT_EQ(w[0], 2);
  EXPECT_EQ(w[1], 2);
  EXPECT_EQ(w[2], 1);
  EXPECT_EQ(w[3], static_cast<float>(1e8 / 3));
}

TEST(Averaging, RefusesCheckpointsOfDifferentModels) {
  const Scratch scratch;
  const std::vector<std::filesystem::path> files{scratch / "1", scratch / "2"};
  save_safetensors(files[0], std::vector<NamedTensor>{{"w", of({2}, {1, 2})}});
  save_safetensors(files[1], std::vector<NamedTensor>{{"w", of({1, 2}, {1, 2})}});
  EXPECT_TRUE(refuses([&] { mean_of(files); }, files[1].string(), "\"w\"", "[1, 2]", "[2]"));
  save_safetensors(files[1], std::vector<NamedTensor>{{"x", of({2}, {1, 2})}});
  EXPECT_TRUE(refuses([&] { mean_of(files); }, files[1].string(), "no tensor \"w\""));
  save_safetensors(files[1], std::vector<NamedTensor>{{"w", of({2}, {1, 2})}, {"x", of({2}, {1, 2})}});
  EXPECT_TRUE(refuses([&] { mean_of(files); }, "2 tensors"));
  EXPECT_TRUE(refuses([&] { mean_of({}); }, "no checkpoint"));
}

}  // namespace
}  // namespace rapt::training
