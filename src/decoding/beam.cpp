#include "decoding/beam.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "decoding/checks.h"
#include "decoding/logits.h"

namespace rapt::decoding {
namespace {

/// A live hypothesis and the token it might write next.
struct Extension {
  double log_probability = 0;   ///< of the hypothesis with the token
  std::int32_t hypothesis = 0;  ///< among the live ones of its sentence
  std::int32_t token = 0;
};

bool better(const Extension& a, const Extension& b) {
  if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
  return a.hypothesis != b.hypothesis ? a.hypothesis < b.hypothesis : a.token < b.token;
}

void check_options(const BeamOptions& options, std::int32_t vocab) {
  check_range("beam", options.beam, 1, 65536);
  require(options.nbest >= 1 && options.nbest <= options.beam, "nbest: expected 1 to {} (the beam), found {}",
          options.beam, options.nbest);
  check_range("alpha", options.alpha.value_or(0), -100, 100);
  if (options.eos != -1) check_token("eos", options.eos, vocab);
  for (const std::int32_t token : options.more_eos) check_token("more_eos", token, vocab);
  require(options.eos != -1 || (options.more_eos.empty() && !options.force_eos),
          "eos: must be set where more_eos or force_eos is");
  for (const std::int32_t token : options.forbidden) {
    check_token("forbidden", token, vocab);
    require(token != options.eos, "forbidden: token {} is EOS, without which no sentence ends", token);
  }
  check_range("repetition_penalty", options.repetition_penalty, 1e-6, 1e6);
  if (options.bos) check_token("bos", *options.bos, vocab);
  require(options.min_length >= 0, "min_length: expected at least 0, found {}", options.min_length);
  require(options.max_length >= 1, "max_length: expected at least 1, found {}", options.max_length);
  check_range("max_length_factor", options.max_length_factor, 0, 1e6);
}

void sort_unique(std::vector<std::int32_t>& tokens) {
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
}

/// The options, checked and worked out for one model.
class Rules {
 public:
  Rules(const BeamOptions& options, std::int32_t vocab) : options_(options) {
    check_options(options, vocab);
    alpha_ = options.alpha.value_or(options.length_penalty == LengthPenalty::average ? 1.0 : 0.6);
    eos_ = options.more_eos;
    if (options.eos != -1) eos_.push_back(options.eos);
    sort_unique(eos_);
    masked_ = options.forbidden;
    sort_unique(masked_);
    masked_and_eos_ = masked_;
    masked_and_eos_.insert(masked_and_eos_.end(), eos_.begin(), eos_.end());
    sort_unique(masked_and_eos_);
  }

  const BeamOptions& options() const { return options_; }
  /// Greedy search has no use for a second choice: its sentence is over when the first is EOS.
  std::int32_t width() const {
    const auto ends = std::max(1, static_cast<std::int32_t>(eos_.size()));
    return options_.beam == 1 ? 1 : (1 + ends) * options_.beam;
  }
  bool is_eos(std::int32_t token) const { return std::ranges::binary_search(eos_, token); }

  double score(double log_probability, std::int32_t length) const {
    const double base = options_.length_penalty == LengthPenalty::average ? length : (5.0 + length) / 6.0;
    return log_probability / std::pow(base, alpha_);
  }
  /// The best score that a hypothesis of `length` tokens can reach by writing up to `limit`: its log-probability can
  /// only fall, and the penalty is largest at the one end or the other.
  double best_score(double log_probability, std::int32_t length, std::int32_t limit) const {
    return score(log_probability, alpha_ > 0 ? limit : length);
  }

  std::span<const std::int32_t> masked(std::int32_t length) const {
    return length < options_.min_length ? masked_and_eos_ : masked_;
  }
  std::optional<std::int32_t> forced(std::int32_t length, std::int32_t limit) const {
    if (options_.force_eos && length + 1 == limit) return options_.eos;
    return length == 0 ? options_.bos : std::nullopt;
  }

 private:
  BeamOptions options_;
  double alpha_ = 1;
  std::vector<std::int32_t> eos_;
  std::vector<std::int32_t> masked_;
  std::vector<std::int32_t> masked_and_eos_;
};

/// The search of one sentence.
class Sentence {
 public:
  struct Live {
    std::vector<std::int32_t> tokens;
    std::vector<double> log_probabilities;  ///< of each token
    double log_probability = 0;
    std::int32_t parent = 0;  ///< which live hypothesis it continues
  };

  Sentence(const Rules& rules, std::int32_t index, std::span<const std::int32_t> first, std::int32_t limit)
      : rules_(&rules), index_(index), first_(first.begin(), first.end()), limit_(limit), live_(1) {}

  /// Best first; all of one length.
  const std::vector<Live>& live() const { return live_; }
  std::int32_t length() const { return static_cast<std::int32_t>(live_.front().tokens.size()); }
  bool done() const { return done_; }

  /// The best ways to continue live hypothesis `hypothesis`, best first, given the logits [vocab] that follow it.
  std::vector<Extension> continuations(std::int32_t hypothesis, const LogitRow& row) const {
    const double so_far = live_[static_cast<std::size_t>(hypothesis)].log_probability;
    if (const auto token = rules_->forced(length(), limit_)) return {{so_far, hypothesis, *token}};
    const double log_sum_exp = row.log_sum_exp();
    const auto best_of = [&](const LogitRow& logits) {
      std::vector<Extension> result;
      for (const auto& [logit, token] : logits.top(rules_->width())) {
        result.push_back({so_far + (static_cast<double>(logit) - log_sum_exp), hypothesis, token});
      }
      return result;
    };
    if (rules_->options().repetition_penalty == 1) return best_of(row);
    const std::vector<float> penalised = penalised_logits(hypothesis, row.logits(), log_sum_exp);
    return best_of(LogitRow(penalised, rules_->masked(length())));
  }

  /// Takes one step, given the continuations of all live hypotheses.
  void advance(std::vector<Extension> continuations) {
    const BeamOptions& options = rules_->options();
    const std::int32_t length_now = length() + 1;
    const auto width = std::min<std::ptrdiff_t>(rules_->width(), std::ssize(continuations));
    std::partial_sort(continuations.begin(), continuations.begin() + width, continuations.end(), better);
    std::vector<Live> next;
    for (std::int32_t rank = 0; rank < width && std::ssize(next) < options.beam; ++rank) {
      Live live = continue_with(continuations[static_cast<std::size_t>(rank)]);
      if (!ends(live, length_now)) {
        next.push_back(std::move(live));
      } else if (rank < options.beam) {
        finish(std::move(live), length_now);
      }
    }
    live_ = std::move(next);
    done_ = live_.empty() || is_decided();
  }

  std::vector<Hypothesis> best() && {
    const auto nbest = static_cast<std::size_t>(rules_->options().nbest);
    if (finished_.size() > nbest) finished_.resize(nbest);
    return std::move(finished_);
  }

 private:
  Live continue_with(const Extension& continuation) const {
    Live result = live_[static_cast<std::size_t>(continuation.hypothesis)];
    result.tokens.push_back(continuation.token);
    result.log_probabilities.push_back(continuation.log_probability - result.log_probability);
    result.log_probability = continuation.log_probability;
    result.parent = continuation.hypothesis;
    return result;
  }

  /// The logits with those of the tokens that the hypothesis holds so much lower (or higher) that their
  /// log-probabilities, which are logits less `log_sum_exp`, are multiplied by the penalty.
  std::vector<float> penalised_logits(std::int32_t hypothesis, std::span<const float> logits,
                                      double log_sum_exp) const {
    std::vector<float> result(logits.begin(), logits.end());
    for (const auto* tokens : {&first_, &live_[static_cast<std::size_t>(hypothesis)].tokens}) {
      for (const std::int32_t token : *tokens) {
        const auto index = static_cast<std::size_t>(token);
        const double log_probability = static_cast<double>(logits[index]) - log_sum_exp;
        result[index] = static_cast<float>(log_sum_exp + log_probability * rules_->options().repetition_penalty);
      }
    }
    return result;
  }

  bool ends(const Live& live, std::int32_t length_now) const {
    const auto& is_complete = rules_->options().is_complete;
    return rules_->is_eos(live.tokens.back()) || length_now >= limit_ ||
           (is_complete && is_complete(index_, live.tokens));
  }

  /// Keeps the `beam` best hypotheses in order; among equals the earlier one goes first.
  void finish(Live live, std::int32_t length_now) {
    const double score = rules_->score(live.log_probability, length_now);
    const auto place =
        std::ranges::upper_bound(finished_, score, std::ranges::greater(), [](const Hypothesis& h) { return h.score; });
    if (place == finished_.end() && std::ssize(finished_) == rules_->options().beam) return;
    Hypothesis hypothesis{.tokens = std::move(live.tokens),
                          .score = score,
                          .log_probability = live.log_probability,
                          .log_probabilities = std::move(live.log_probabilities)};
    if (rules_->is_eos(hypothesis.tokens.back())) {
      hypothesis.end = hypothesis.tokens.back();
      hypothesis.tokens.pop_back();
    }
    finished_.insert(place, std::move(hypothesis));
    if (std::ssize(finished_) > rules_->options().beam) finished_.pop_back();
  }

  /// Whether the live hypotheses can be given up.
  bool is_decided() const {
    const BeamOptions& options = rules_->options();
    const std::int32_t needed = options.stopping == Stopping::exact ? options.nbest : options.beam;
    if (std::ssize(finished_) < needed) return false;
    const double worst = finished_[static_cast<std::size_t>(needed) - 1].score;
    const double best = live_.front().log_probability;
    switch (options.stopping) {
      case Stopping::first:
        return true;
      case Stopping::heuristic:
        return rules_->score(best, length()) <= worst;
      case Stopping::exact:
        return rules_->best_score(best, length(), limit_) <= worst;
    }
    return false;
  }

  const Rules* rules_;
  std::int32_t index_;
  std::vector<std::int32_t> first_;
  std::int32_t limit_;
  std::vector<Live> live_;
  std::vector<Hypothesis> finished_;
  bool done_ = false;
};

std::vector<Sentence> start(const Rules& rules, const Stepper& stepper, const RaggedTokens& first,
                            std::span<const std::int32_t> source_lengths) {
  const BeamOptions& options = rules.options();
  const std::int32_t count = first.sequences.count();
  require(std::ssize(source_lengths) == count || (source_lengths.empty() && options.max_length_factor == 0),
          "max_length_factor: the lengths of {} sources were given for {} sentences", source_lengths.size(), count);
  std::vector<Sentence> sentences;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t source = source_lengths.empty() ? 0 : source_lengths[static_cast<std::size_t>(i)];
    const double wanted = options.max_length_factor * source + options.max_length_offset;
    const std::int32_t most = std::min(options.max_length, stepper.capacity() - first.sequences.length(i));
    const std::span tokens = std::span(first.ids).subspan(static_cast<std::size_t>(first.sequences.begin(i)),
                                                          static_cast<std::size_t>(first.sequences.length(i)));
    sentences.emplace_back(rules, i, tokens, static_cast<std::int32_t>(std::clamp<double>(wanted, 1, most)));
  }
  return sentences;
}

/// Which sentence, and which of its live hypotheses, each row of a batch belongs to.
struct Row {
  std::size_t sentence = 0;
  std::int32_t hypothesis = 0;
};

/// The rows of the sentences that are not done.
std::vector<Row> rows_of(const std::vector<Sentence>& sentences) {
  std::vector<Row> rows;
  for (std::size_t s = 0; s < sentences.size(); ++s) {
    if (sentences[s].done()) continue;
    for (std::size_t h = 0; h < sentences[s].live().size(); ++h) rows.push_back({s, static_cast<std::int32_t>(h)});
  }
  return rows;
}

/// Lets each sentence that is not done take a step, given the logits [rows, vocab].
void advance(const Context& ctx, const Rules& rules, std::vector<Sentence>& sentences, const std::vector<Row>& rows,
             const Tensor& logits) {
  std::vector<std::vector<Extension>> found(rows.size());
  ctx.parallel_for(std::ssize(rows), [&](std::int64_t i) {
    const Row& row = rows[static_cast<std::size_t>(i)];
    const Sentence& sentence = sentences[row.sentence];
    const LogitRow values(row_of(logits, i), rules.masked(sentence.length()));
    require(values.defect().empty(),
            "step {}, sentence {}: the model's logits {}; its weights or its input are broken; rapt inspect --verify "
            "looks for broken weights",
            sentence.length() + 1, row.sentence, values.defect());
    found[static_cast<std::size_t>(i)] = sentence.continuations(row.hypothesis, values);
  });
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    std::vector<Extension> all;
    for (; end < rows.size() && rows[end].sentence == rows[begin].sentence; ++end) {
      all.insert(all.end(), found[end].begin(), found[end].end());
    }
    sentences[rows[begin].sentence].advance(std::move(all));
  }
}

/// Makes the stepper hold the live hypotheses of the sentences that are not done, where `before` are the rows it holds,
/// and returns their last tokens, one each.
RaggedTokens regroup(Stepper& stepper, const std::vector<Sentence>& sentences, const std::vector<Row>& before,
                     const std::vector<Row>& now) {
  std::vector<std::int32_t> first_row(sentences.size());
  for (std::size_t i = before.size(); i-- > 0;) first_row[before[i].sentence] = static_cast<std::int32_t>(i);
  std::vector<std::int32_t> from;
  RaggedTokens next;
  for (const Row& row : now) {
    const Sentence::Live& live = sentences[row.sentence].live()[static_cast<std::size_t>(row.hypothesis)];
    from.push_back(first_row[row.sentence] + live.parent);
    next.ids.push_back(live.tokens.back());
  }
  next.sequences = Sequences::of_lengths(std::vector<std::int32_t>(now.size(), 1));
  keep_hypotheses(stepper, from);
  return next;
}

}  // namespace

std::vector<std::vector<Hypothesis>> beam_search(Context& ctx, Stepper& stepper, const RaggedTokens& first,
                                                 std::span<const std::int32_t> source_lengths,
                                                 const BeamOptions& options) {
  const Rules rules(options, stepper.vocab());
  check_first_tokens(stepper, first);
  std::vector<Sentence> sentences = start(rules, stepper, first, source_lengths);
  RaggedTokens tokens = new_tokens(stepper, first);
  std::vector<Row> rows = rows_of(sentences);
  while (!rows.empty()) {
    advance(ctx, rules, sentences, rows, checked_step(ctx, stepper, tokens));
    std::vector<Row> next = rows_of(sentences);
    if (!next.empty()) tokens = regroup(stepper, sentences, rows, next);
    rows = std::move(next);
  }
  std::vector<std::vector<Hypothesis>> result;
  result.reserve(sentences.size());
  for (Sentence& sentence : sentences) result.push_back(std::move(sentence).best());
  return result;
}

}  // namespace rapt::decoding
