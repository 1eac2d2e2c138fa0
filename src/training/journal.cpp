#include "training/journal.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace rapt::training {
namespace {

/// JSON has no NaN and no infinity; null stands for them.
OrderedJson number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

double per_second(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0.0;
}

}  // namespace

Journal::Journal(const std::filesystem::path& file, std::int64_t keep) : file_(file) {
  std::error_code error;
  if (std::filesystem::exists(file)) {
    bytes_ = std::min(keep, static_cast<std::int64_t>(std::filesystem::file_size(file)));
    std::filesystem::resize_file(file, static_cast<std::uintmax_t>(bytes_), error);
  }
  if (!error) stream_.open(file, std::ios::app);
  require(!error && stream_.is_open(), "{}: cannot be opened for writing", file.string());
}

void Journal::write(const StepRecord& r) {
  write_line({{"event", "step"},
              {"step", r.step},
              {"epoch", r.position.epoch + 1},
              {"batch", r.position.batch + 1},
              {"loss", number(r.loss)},
              {"nll", number(r.nll)},
              {"perplexity", number(std::exp(r.nll))},
              {"accuracy", number(r.accuracy)},
              {"learning_rate", r.learning_rate},
              {"gradient_norm", number(r.gradient_norm)},
              {"target_tokens", r.target_tokens},
              {"source_tokens", r.source_tokens},
              {"target_tokens_per_second", per_second(static_cast<double>(r.target_tokens), r.seconds)},
              {"gflops", per_second(r.flops * 1e-9, r.seconds)},
              {"skipped", r.skipped},
              {"skipped_so_far", r.skipped_so_far},
              {"seconds", r.seconds},
              {"total_seconds", r.total_seconds}});
}

void Journal::write(const ValidationRecord& r) {
  OrderedJson record{{"event", "validation"},
                     {"step", r.step},
                     {"model", r.model},
                     {"loss", number(r.score.loss)},
                     {"perplexity", number(r.score.perplexity())},
                     {"accuracy", number(r.score.accuracy)},
                     {"tokens", r.score.tokens}};
  if (r.score.bleu) record["bleu"] = *r.score.bleu;
  if (r.score.chrf) record["chrf"] = *r.score.chrf;
  record["best"] = r.best;
  record["seconds"] = r.seconds;
  record["total_seconds"] = r.total_seconds;
  write_line(record);
}

void Journal::write_line(const OrderedJson& record) {
  const std::string line = record.dump() + '\n';
  stream_ << line;
  require(stream_.good(), "{}: cannot be written; is the disk full?", file_.string());
  bytes_ += static_cast<std::int64_t>(line.size());
}

std::int64_t Journal::flush() {
  stream_.flush();
  require(stream_.good(), "{}: cannot be written; is the disk full?", file_.string());
  return bytes_;
}

}  // namespace rapt::training
