#include "cli/bench_linear_attention.h"

#include <fmt/format.h>

#include <optional>

#include "cli/bench_report.h"
#include "rapt/linear_form.h"

namespace rapt::bench {
namespace {

using attention::LinearForm;

struct Form {
  std::string name;
  LinearForm::Kind kind;
  int features = 0;  ///< random ones, of favor
};
const Form forms[] = {{"elu + 1", LinearForm::Kind::elu_plus_one},
                      {"relu", LinearForm::Kind::relu},
                      {"favor 256", LinearForm::Kind::favor, 256},
                      {"retention", LinearForm::Kind::retention},
                      {"gated delta", LinearForm::Kind::gated_delta}};

/// Operands of one length, which all forms share.
class Inputs {
 public:
  Inputs(const Context& ctx, const Case& c) : ctx_(ctx), case_(c) {
    const std::int64_t tokens = c.query_tokens(), width = std::int64_t{c.heads} * c.d_head;
    q_ = random_values(ctx, tokens, width, c.dtype, 1);
    // Shorter than 1, as the delta rule wants them.
    k_ = random_values(ctx, tokens, width, c.dtype, 2, 0.5f / std::sqrt(static_cast<float>(c.d_head)));
    v_ = random_values(ctx, tokens, width, c.dtype, 3);
    out_ = Tensor::empty(q_.shape(), c.dtype);
    gates_ = Tensor::empty({tokens, c.heads}, DType::f32);
    std::fill_n(gates_.write<float>(), gates_.count(), 0.9f);
    for (int head = 0; head < c.heads; ++head) decays_.push_back(1 - std::exp2(-5.0f - static_cast<float>(head)));
  }

  void forward(const Form& form, const attention::RandomFeatures& features) const {
    const LinearForm linear{.kind = form.kind,
                            .features = features,
                            .decays = decays_.data(),
                            .alpha = rows_of(gates_),
                            .beta = rows_of(gates_)};
    attention::forward({.sequences = case_.sequences,
                        .heads = case_.heads,
                        .kv_heads = case_.kv_heads,
                        .d_key = case_.d_head,
                        .d_value = case_.d_head,
                        .scale = 1 / std::sqrt(static_cast<double>(case_.d_head)),
                        .visibility = case_.visibility,
                        .linear = &linear},
                       {rows_of(q_), rows_of(k_), rows_of(v_)}, {.out = rows_of(out_)}, ctx_.threads());
  }

 private:
  const Context& ctx_;
  const Case& case_;
  Tensor q_, k_, v_, out_, gates_;
  std::vector<float> decays_;
};

/// Where a form becomes faster than softmax attention for good, between two lengths that were measured, both times
/// taken to grow by a power of the length.
class Crossing {
 public:
  /// ratio: the form's time over softmax attention's.
  void add(int length, double ratio) {
    if (ratio >= 1) {
      at_ = std::nullopt;
    } else if (!at_) {
      at_ = length;
      if (previous_ratio_ >= 1) {
        const double step = std::log(previous_ratio_) / (std::log(previous_ratio_) - std::log(ratio));
        at_ = previous_length_ * std::pow(static_cast<double>(length) / previous_length_, step);
      }
    }
    previous_length_ = length;
    previous_ratio_ = ratio;
  }
  std::optional<double> at() const { return at_; }

 private:
  int previous_length_ = 0;
  double previous_ratio_ = 0;
  std::optional<double> at_;
};

class LinearBench {
 public:
  LinearBench(const Context& ctx, DType dtype, const AttentionOptions& options)
      : ctx_(ctx), dtype_(dtype), options_(options), crossings_(std::size(forms)) {}

  void run(int d_head) {
    features_.clear();
    for (const Form& form : forms) {
      features_.push_back(form.features > 0 ? attention::RandomFeatures(form.features, d_head, 1)
                                            : attention::RandomFeatures());
    }
    for (int length = 64; length <= longest; length *= 2) at_length(length, d_head);
    for (std::size_t i = 0; i < std::size(forms); ++i) report_crossing(i, d_head);
  }

 private:
  static constexpr int longest = 65536;
  static constexpr int longest_softmax = 16384;  ///< longer would take minutes

  void at_length(int length, int d_head) {
    const int heads = options_.heads > 0 ? options_.heads : 8;
    const Case c{.direction = "forward",
                 .dtype = dtype_,
                 .sequences = square(length),
                 .heads = heads,
                 .kv_heads = heads,
                 .d_head = d_head,
                 .visibility = attention::Visibility::causal()};
    const Inputs inputs(ctx_, c);
    const Operands softmax(ctx_, c);
    std::vector<std::function<void()>> works;
    for (std::size_t i = 0; i < std::size(forms); ++i) {
      works.emplace_back([&, i] { inputs.forward(forms[i], features_[i]); });
    }
    if (length <= longest_softmax) works.emplace_back([&] { softmax.forward(); });
    const std::vector<double> seconds = median_seconds(options_.seconds, works);
    for (std::size_t i = 0; i < std::size(forms); ++i) {
      report_time(forms[i].name, c, seconds[i]);
      if (length <= longest_softmax) crossings_[i].add(length, seconds[i] / seconds.back());
    }
    if (length <= longest_softmax) report_time("softmax", c, seconds.back());
  }

  void report_time(const std::string& form, const Case& c, double seconds) const {
    const double nanoseconds = 1e9 * seconds / static_cast<double>(c.query_tokens());
    report({{"what", "linear"},
            {"form", form},
            {"dtype", name_of(dtype_)},
            {"length", c.longest()},
            {"heads", c.heads},
            {"d_head", c.d_head},
            {"causal", true},
            {"threads", ctx_.threads()},
            {"seconds", seconds},
            {"ns_per_token", nanoseconds}},
           options_.json,
           fmt::format("linear   {:<4} {:>6} keys {:>2} heads x {:<3} {:<14} {:9.3f} ms  {:9.0f} ns a token",
                       name_of(dtype_), c.longest(), c.heads, c.d_head, form, 1e3 * seconds, nanoseconds));
  }

  void report_crossing(std::size_t form, int d_head) const {
    const std::optional<double> at = crossings_[form].at();
    nlohmann::ordered_json row{
        {"what", "linear"}, {"form", forms[form].name}, {"dtype", name_of(dtype_)}, {"d_head", d_head}};
    row["faster_than_softmax_from"] = at ? nlohmann::ordered_json(std::round(*at)) : nullptr;
    const std::string where =
        at ? fmt::format("faster than causal softmax attention from {:.0f} tokens", *at)
           : fmt::format("not faster than causal softmax attention up to {} tokens", longest_softmax);
    report(row, options_.json,
           fmt::format("linear   {:<4} {} wide {:<14} {}", name_of(dtype_), d_head, forms[form].name, where));
  }

  const Context& ctx_;
  DType dtype_;
  const AttentionOptions& options_;
  std::vector<attention::RandomFeatures> features_;
  std::vector<Crossing> crossings_;
};

}  // namespace

void linear_attention(const Context& ctx, DType dtype, const AttentionOptions& options) {
  for (const int d_head : options.widths) LinearBench(ctx, dtype, options).run(d_head);
}

}  // namespace rapt::bench
