#include "decoding/generate.h"

#include <algorithm>
#include <utility>

#include "decoding/checks.h"

namespace rapt::decoding {
namespace {

void check_options(const GenerationOptions& options, std::int32_t prompts, std::int32_t vocab) {
  check(options.sampling, vocab);
  for (const std::int32_t token : options.stop) check_token("stop", token, vocab);
  require(options.max_tokens >= 1, "max_tokens: expected at least 1, found {}", options.max_tokens);
  check_range("samples", options.samples, 1, 65536);
  const std::int64_t texts = std::int64_t{prompts} * options.samples;
  require(options.streams.empty() || std::ssize(options.streams) == texts,
          "streams: expected one for each of {} texts, found {}", texts, options.streams.size());
}

/// One text being written.
struct Text {
  Sampler sampler;
  std::vector<std::int32_t> tokens;  ///< prompt included
  std::size_t prompt = 0;
  std::size_t most = 0;  ///< tokens, prompt included
  std::optional<std::int32_t> end = std::nullopt;
  std::vector<double> log_probabilities = {};
  Finish finish = Finish::length;
  bool done = false;

  /// Takes the token drawn for it; whether the token belongs to the text.
  bool accept(std::int32_t token, const std::vector<std::int32_t>& stop) {
    if (std::ranges::find(stop, token) != stop.end()) {
      finish = Finish::stop;
      end = token;
      done = true;
      return false;
    }
    tokens.push_back(token);
    done = tokens.size() >= most;
    return true;
  }
  void cancel() {
    finish = Finish::cancelled;
    done = true;
  }
};

std::vector<Text> start(const Stepper& stepper, const RaggedTokens& prompts, const GenerationOptions& options) {
  std::vector<Text> texts;
  for (std::int32_t i = 0; i < prompts.sequences.count() * options.samples; ++i) {
    const std::int32_t prompt = i / options.samples;
    const auto begin = prompts.ids.begin() + prompts.sequences.begin(prompt);
    const std::int32_t length = prompts.sequences.length(prompt);
    const auto stream = static_cast<std::uint64_t>(i);
    texts.push_back({.sampler = Sampler(options.sampling, stepper.vocab(),
                                        options.streams.empty() ? stream : options.streams[stream]),
                     .tokens = {begin, begin + length},
                     .prompt = static_cast<std::size_t>(length),
                     .most = static_cast<std::size_t>(length) +
                             static_cast<std::size_t>(std::min(options.max_tokens, stepper.capacity() - length))});
  }
  return texts;
}

/// A text that is not done, and the row of the logits that continues it.
struct Live {
  std::size_t text = 0;
  std::int32_t row = 0;
};

/// Draws and delivers the next token of each live text, given the logits [rows, vocab].
void advance(const Context& ctx, const Tensor& logits, const GenerationOptions& options, const OnToken& on_token,
             const std::vector<Live>& live, std::vector<Text>& texts) {
  std::vector<std::int32_t> drawn(live.size());
  ctx.parallel_for(std::ssize(live), [&](std::int64_t i) {
    const auto [index, row] = live[static_cast<std::size_t>(i)];
    Text& text = texts[index];
    const std::int32_t token = text.sampler(row_of(logits, row), text.tokens);
    if (options.log_probabilities) text.log_probabilities.push_back(log_probability(row_of(logits, row), token));
    drawn[static_cast<std::size_t>(i)] = token;
  });
  for (std::size_t i = 0; i < live.size(); ++i) {
    Text& text = texts[live[i].text];
    const bool belongs = text.accept(drawn[i], options.stop);
    if (belongs && on_token && !on_token(static_cast<std::int32_t>(live[i].text), drawn[i])) text.cancel();
  }
}

/// Lets the texts that are done leave the batch and `live`; returns the last tokens of the others.
RaggedTokens regroup(Stepper& stepper, const std::vector<Text>& texts, std::vector<Live>& live) {
  std::erase_if(live, [&](const Live& l) { return texts[l.text].done; });
  std::vector<std::int32_t> from;
  RaggedTokens next;
  for (Live& l : live) {
    from.push_back(std::exchange(l.row, static_cast<std::int32_t>(from.size())));
    next.ids.push_back(texts[l.text].tokens.back());
  }
  next.sequences = Sequences::of_lengths(std::vector<std::int32_t>(live.size(), 1));
  if (!live.empty()) keep_hypotheses(stepper, from);
  return next;
}

}  // namespace

std::vector<Generation> generate(Context& ctx, Stepper& stepper, const RaggedTokens& prompts,
                                 const GenerationOptions& options, const OnToken& on_token) {
  check_options(options, prompts.sequences.count(), stepper.vocab());
  check_first_tokens(stepper, prompts);
  std::vector<Text> texts = start(stepper, prompts, options);
  std::vector<Live> live;
  for (std::size_t i = 0; i < texts.size(); ++i) live.push_back({i, static_cast<std::int32_t>(i) / options.samples});
  RaggedTokens tokens = new_tokens(stepper, prompts);
  while (!live.empty()) {
    advance(ctx, checked_step(ctx, stepper, tokens), options, on_token, live, texts);
    tokens = regroup(stepper, texts, live);
  }
  std::vector<Generation> result;
  result.reserve(texts.size());
  for (Text& text : texts) {
    result.push_back({.tokens = {text.tokens.begin() + static_cast<std::ptrdiff_t>(text.prompt), text.tokens.end()},
                      .end = text.end,
                      .log_probabilities = std::move(text.log_probabilities),
                      .finish = text.finish});
  }
  return result;
}

}  // namespace rapt::decoding
