#include "model/layer_attention.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace rapt {
namespace {

using Kind = attention::LinearForm::Kind;

/// More than any head has use for; they are drawn for every layer.
constexpr std::uint64_t most_features = 1 << 14;

LayerAttention of(Kind kind) {
  return {.linear = LayerAttention::Linear{.kind = kind}};
}

LayerAttention read_favor(attention::ExpressionReader& reader, std::size_t begin) {
  const std::vector<std::size_t> arguments = reader.arguments();
  const std::size_t end = reader.place();
  if (arguments.empty() || arguments.size() > 2) {
    reader.go_to(begin);
    reader.refuse("favor(FEATURES[, SEED])", fmt::format(" with {} arguments", arguments.size()));
  }
  LayerAttention::Linear favor{.kind = Kind::favor};
  reader.go_to(arguments[0]);
  favor.features = static_cast<int>(reader.number(most_features));
  if (favor.features == 0) {
    reader.go_to(arguments[0]);
    reader.refuse("at least one feature");
  }
  if (arguments.size() == 2) {
    reader.go_to(arguments[1]);
    favor.seed = reader.number(std::numeric_limits<std::uint64_t>::max());
  }
  reader.go_to(end);
  return {.linear = favor};
}

LayerAttention read_linear(attention::ExpressionReader& reader) {
  reader.at_end();
  const std::size_t begin = reader.place();
  const std::string_view form = reader.word();
  if (form == "elu") return of(Kind::elu_plus_one);
  if (form == "relu") return of(Kind::relu);
  if (form == "favor") return read_favor(reader, begin);
  reader.go_to(begin);
  reader.refuse("a linear form: elu, relu or favor(FEATURES)");
}

}  // namespace

ops::LinearAttention linear_attention(const LayerAttention::Linear& form, int heads, int d_head, bool causal) {
  ops::LinearAttention result{.kind = form.kind, .causal = causal};
  if (form.kind == Kind::favor) result.features = attention::RandomFeatures(form.features, d_head, form.seed);
  for (int head = 0; form.kind == Kind::retention && head < heads; ++head)
    result.decays.push_back(1 - std::exp2(-5.0 - head));
  return result;
}

LayerAttention read_layer_attention(attention::ExpressionReader& reader) {
  if (reader.take_word("linear")) return read_linear(reader);
  if (reader.take_word("retention")) return of(Kind::retention);
  if (reader.take_word("gated_delta")) return of(Kind::gated_delta);
  return {.visibility = read_visibility(reader)};
}

std::string LayerAttention::text() const {
  if (!linear) return visibility.text();
  switch (linear->kind) {
    case Kind::elu_plus_one:
      return "linear elu";
    case Kind::relu:
      return "linear relu";
    case Kind::favor:
      return linear->seed == Linear().seed ? fmt::format("linear favor({})", linear->features)
                                           : fmt::format("linear favor({}, {})", linear->features, linear->seed);
    case Kind::retention:
      return "retention";
    case Kind::gated_delta:
      break;
  }
  return "gated_delta";
}

LayerAttention LayerAttention::parse(std::string_view text) {
  attention::ExpressionReader reader("attention", text);
  LayerAttention result = read_layer_attention(reader);
  if (!reader.at_end()) reader.refuse("the end");
  return result;
}

}  // namespace rapt
