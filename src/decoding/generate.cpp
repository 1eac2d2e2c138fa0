#include "decoding/generate.h"

#include <algorithm>

#include "decoding/checks.h"

namespace rapt::decoding {
namespace {

void check_options(const GenerateOptions& options, std::int32_t sequences, std::int32_t vocab) {
  check(options.sampling, vocab);
  for (const std::int32_t token : options.stop) check_token("stop", token, vocab);
  require(options.max_tokens >= 1, "max_tokens: expected at least 1, found {}", options.max_tokens);
  require(options.streams.empty() || std::ssize(options.streams) == sequences,
          "streams: expected one for each of {} texts, found {}", sequences, options.streams.size());
}

/// One text being written.
struct Text {
  Sampler sampler;
  std::vector<std::int32_t> tokens;  ///< prompt included
  std::size_t prompt = 0;
  std::size_t most = 0;  ///< tokens, prompt included
  Finish finish = Finish::length;
  bool done = false;

  /// Takes the token drawn for it; whether the token belongs to the text.
  bool accept(std::int32_t token, const std::vector<std::int32_t>& stop) {
    if (std::ranges::find(stop, token) != stop.end()) {
      finish = Finish::stop;
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

std::vector<Text> start(const Stepper& stepper, const RaggedTokens& prompts, const GenerateOptions& options) {
  std::vector<Text> texts;
  for (std::int32_t i = 0; i < prompts.sequences.count(); ++i) {
    const auto begin = prompts.ids.begin() + prompts.sequences.begin(i);
    const std::int32_t length = prompts.sequences.length(i);
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

/// Draws and delivers the next token of each live text, given the logits [live, vocab].
void advance(const Context& ctx, const Tensor& logits, const GenerateOptions& options, const OnToken& on_token,
             const std::vector<std::int32_t>& live, std::vector<Text>& texts) {
  std::vector<std::int32_t> drawn(live.size());
  ctx.parallel_for(std::ssize(live), [&](std::int64_t row) {
    Text& text = texts[static_cast<std::size_t>(live[static_cast<std::size_t>(row)])];
    drawn[static_cast<std::size_t>(row)] = text.sampler(row_of(logits, row), text.tokens);
  });
  for (std::size_t row = 0; row < live.size(); ++row) {
    Text& text = texts[static_cast<std::size_t>(live[row])];
    if (text.accept(drawn[row], options.stop) && on_token && !on_token(live[row], drawn[row])) text.cancel();
  }
}

/// Lets the texts that are done leave the batch and `live`; returns the last tokens of the others.
RaggedTokens regroup(Stepper& stepper, const std::vector<Text>& texts, std::vector<std::int32_t>& live) {
  std::vector<std::int32_t> from;
  std::vector<std::int32_t> remaining;
  RaggedTokens next;
  for (std::size_t row = 0; row < live.size(); ++row) {
    const Text& text = texts[static_cast<std::size_t>(live[row])];
    if (text.done) continue;
    from.push_back(static_cast<std::int32_t>(row));
    remaining.push_back(live[row]);
    next.ids.push_back(text.tokens.back());
  }
  next.sequences = Sequences::of_lengths(std::vector<std::int32_t>(remaining.size(), 1));
  live = std::move(remaining);
  if (!live.empty()) keep_hypotheses(stepper, from);
  return next;
}

}  // namespace

std::vector<Generation> generate(Context& ctx, Stepper& stepper, const RaggedTokens& prompts,
                                 const GenerateOptions& options, const OnToken& on_token) {
  check_options(options, prompts.sequences.count(), stepper.vocab());
  check_first_tokens(stepper, prompts);
  std::vector<Text> texts = start(stepper, prompts, options);
  std::vector<std::int32_t> live(texts.size());
  for (std::size_t i = 0; i < live.size(); ++i) live[i] = static_cast<std::int32_t>(i);
  RaggedTokens tokens = prompts;
  while (!live.empty()) {
    advance(ctx, checked_step(ctx, stepper, tokens), options, on_token, live, texts);
    tokens = regroup(stepper, texts, live);
  }
  std::vector<Generation> result;
  result.reserve(texts.size());
  for (const Text& text : texts) {
    result.push_back(
        {{text.tokens.begin() + static_cast<std::ptrdiff_t>(text.prompt), text.tokens.end()}, text.finish});
  }
  return result;
}

}  // namespace rapt::decoding
