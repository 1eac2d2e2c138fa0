// Lets the words of two tongue twisters look at one another: attention on a ragged batch, what it saw, its gradients.
#include <rapt/attention.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

using namespace rapt::attention;

constexpr int width = 64, top = 3;

float norm(const float* x) {
  return std::sqrt(std::inner_product(x, x + width, x, 0.0f));
}

// A word as a unit vector that counts its pairs of letters: words spelt alike point the same way.
void embed(const std::string& word, float* x) {
  const std::string framed = ' ' + word + ' ';
  for (std::size_t i = 1; i < framed.size(); ++i) x[(framed[i - 1] * 31 + framed[i]) % width] += 1;
  const float length = norm(x);
  for (int i = 0; i < width; ++i) x[i] /= length;
}

int main() {
  // A ragged batch: the words of all lines end to end, and where each line begins. Nothing is padded.
  std::vector<std::string> words;
  std::vector<Span> lines;
  for (const char* line : {"peter piper picked a peck of pickled peppers", "she sells sea shells by the sea shore"}) {
    const int begin = static_cast<int>(words.size());
    std::istringstream stream(line);
    for (std::string word; stream >> word;) words.push_back(word);
    const int count = static_cast<int>(words.size()) - begin;
    lines.push_back({.query_begin = begin, .query_count = count, .key_begin = begin, .key_count = count});
  }
  const std::size_t n = words.size();
  std::vector<float> x(n * width), out(n * width), log_sum_exp(n), entropy(n), weights(n * top);
  std::vector<std::int32_t> keys(n * top);
  for (std::size_t i = 0; i < n; ++i) embed(words[i], &x[i * width]);

  // Each word sees itself and the five before it. The forward pass says what it saw.
  const Problem problem{.sequences = lines,
                        .d_key = width,
                        .d_value = width,
                        .scale = 4,
                        .visibility = Visibility::causal() & Visibility::window(5, 0)};
  const auto rows = [](std::vector<float>& values) { return Rows{rapt::DType::f32, values.data(), width}; };
  const Inputs inputs{rows(x), rows(x), rows(x)};
  const Statistics saw{.entropy = entropy.data(), .top = top, .top_keys = keys.data(), .top_weights = weights.data()};
  const Outputs outputs{.out = rows(out), .log_sum_exp = log_sum_exp.data(), .statistics = &saw};
  forward(problem, inputs, outputs);

  // The gradient of |out|^2 / 2, which d_out = out gives.
  std::vector<float> dq(n * width), dk(n * width), dv(n * width);
  backward(problem, inputs, outputs, rows(out), {.q = rows(dq), .k = rows(dk), .v = rows(dv)});

  std::printf("visible: %s\n", problem.visibility.text().c_str());
  for (std::size_t i = 0; i < n; ++i) {
    const Span& line = lines[i < static_cast<std::size_t>(lines[1].query_begin) ? 0 : 1];
    std::printf("%8s looks at", words[i].c_str());
    for (std::size_t j = i * top; j < (i + 1) * top && keys[j] >= 0; ++j) {
      std::printf(" %2.0f %% %s", 100 * weights[j], words[static_cast<std::size_t>(line.key_begin + keys[j])].c_str());
    }
    std::printf(": %.1f words' worth; its value's gradient is %.2f\n", std::exp(entropy[i]), norm(&dv[i * width]));
  }
}
