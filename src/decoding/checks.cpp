#include "decoding/checks.h"

#include <limits>

namespace rapt::decoding {

void check_range(std::string_view option, double value, double low, double high) {
  const bool open = high == std::numeric_limits<double>::max();
  require(value >= low && value <= high, "{}: expected a {}number {}{}, found {}", option, open ? "finite " : "",
          open ? "of at least " : "from ", open ? fmt::format("{}", low) : fmt::format("{} to {}", low, high), value);
}

void check_token(std::string_view option, std::int32_t token, std::int32_t vocab) {
  require(token >= 0 && token < vocab, "{}: expected a token from 0 to {}, found {}", option, vocab - 1, token);
}

void check_first_tokens(const Stepper& stepper, const RaggedTokens& first) {
  const std::int32_t count = first.sequences.count();
  require(count == stepper.hypotheses(), "first tokens of {} sequences were given to a model that holds {}", count,
          stepper.hypotheses());
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t length = first.sequences.length(i);
    require(length > 0, "sequence {} has no first token; begin it with the token that starts a text", i);
    require(length > stepper.length(i), "sequence {} of {} tokens has none that the model does not hold already", i,
            length);
    require(length < stepper.capacity(),
            "sequence {} begins with {} tokens, which leaves no room in a model that holds {}; shorten it", i, length,
            stepper.capacity());
  }
  for (const std::int32_t token : first.ids) check_token("first tokens", token, stepper.vocab());
}

RaggedTokens new_tokens(const Stepper& stepper, const RaggedTokens& first) {
  std::vector<std::vector<std::int32_t>> lists;
  for (std::int32_t i = 0; i < first.sequences.count(); ++i) {
    lists.emplace_back(first.ids.begin() + first.sequences.begin(i) + stepper.length(i),
                       first.ids.begin() + first.sequences.begin(i + 1));
  }
  return RaggedTokens::of(lists);
}

Tensor checked_step(Context& ctx, Stepper& stepper, const RaggedTokens& tokens) {
  Tensor logits = stepper.step(ctx, tokens);
  const Shape expected{tokens.sequences.count(), stepper.vocab()};
  require(logits.shape() == expected && logits.dtype() == DType::f32, "the model's logits are {} {}, expected f32 {}",
          name_of(logits.dtype()), logits.shape(), expected.text());
  return logits;
}

std::span<const float> row_of(const Tensor& logits, std::int64_t hypothesis) {
  return logits.rows(hypothesis, hypothesis + 1).values<float>();
}

void keep_hypotheses(Stepper& stepper, std::span<const std::int32_t> from) {
  bool same = static_cast<std::int32_t>(from.size()) == stepper.hypotheses();
  for (std::size_t i = 0; i < from.size() && same; ++i) same = from[i] == static_cast<std::int32_t>(i);
  if (!same) stepper.reorder(from);
}

}  // namespace rapt::decoding
