#include "training/corpus.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "formats/line_reader.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::training {
namespace {

/// Pairs or lines that are encoded at once, by all threads.
constexpr std::size_t chunk_size = 4096;

struct Pair {
  std::int64_t line = 0;
  std::string source;
  std::string target;
};

/// Encodes the pairs of a chunk and appends those that are short enough.
void encode_chunk(const Context& ctx, std::vector<Pair>& chunk, const PairEncoder& encoder, std::int64_t max_length,
                  ParallelCorpus& corpus) {
  std::vector<std::vector<std::int32_t>> sources(chunk.size());
  std::vector<std::vector<std::int32_t>> targets(chunk.size());
  ctx.parallel_for(static_cast<std::int64_t>(chunk.size()), [&](std::int64_t index) {
    const auto i = static_cast<std::size_t>(index);
    sources[i] = encoder.source(chunk[i].source);
    targets[i] = encoder.target(chunk[i].target);
  });
  for (std::size_t i = 0; i < chunk.size(); ++i) {
    if (max_length > 0 && static_cast<std::int64_t>(std::max(sources[i].size(), targets[i].size())) > max_length) {
      ++corpus.report.too_long;
      continue;
    }
    corpus.tokens.source.add(sources[i]);
    corpus.tokens.target.add(targets[i]);
    corpus.tokens.lines.push_back(chunk[i].line);
  }
  chunk.clear();
}

std::size_t after_characters(std::string_view text, std::size_t characters) {
  std::size_t at = 0;
  for (; characters > 0 && at < text.size(); --characters) at += utf8_step(text, at).length;
  return at;
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_step(text, at).length) ++count;
  return count;
}

}  // namespace

/// A text file that keeps account of what it has read.
class TextLines {
 public:
  TextLines(const std::filesystem::path& file, bool skip_invalid) : reader_(open(file)), skip_invalid_(skip_invalid) {}

  bool next() {
    if (!reader_.next(line_)) return false;
    digest_.add(std::as_bytes(std::span(line_)));
    digest_.add(std::as_bytes(std::span("\n", 1)));
    return true;
  }
  /// Reads to the end of the file.
  void skip_rest() {
    while (next()) {
    }
  }
  /// Whether the line is UTF-8. Throws Error when it is not and may not be skipped.
  bool valid() const {
    const std::size_t place = first_invalid_utf8(line_);
    if (place == std::string::npos) return true;
    require(skip_invalid_,
            "{}: byte {} of the line is not UTF-8; convert the file (iconv -t UTF-8) or give --skip-invalid to drop "
            "such lines",
            reader_.where(), place + 1);
    return false;
  }
  bool blank() const { return strip(line_).empty(); }
  const std::string& line() const { return line_; }
  std::int64_t count() const { return reader_.lines(); }
  const Digest& digest() const { return digest_; }

 private:
  static const std::filesystem::path& open(const std::filesystem::path& file) {
    require(file != "-", "a corpus cannot come from standard input, because it is read more than once; give a file");
    return file;
  }

  LineReader reader_;
  bool skip_invalid_;
  std::string line_;
  Digest digest_;
};

PairReader::PairReader(const ParallelFiles& files, const CorpusOptions& options)
    : files_(files),
      source_(std::make_unique<TextLines>(files.source, options.skip_invalid)),
      target_(std::make_unique<TextLines>(files.target, options.skip_invalid)) {}

PairReader::~PairReader() = default;

std::int64_t PairReader::line() const {
  return source_->count();
}

const std::string& PairReader::source() const {
  return source_->line();
}

const std::string& PairReader::target() const {
  return target_->line();
}

CorpusReport PairReader::report() const {
  CorpusReport result = report_;
  result.lines = source_->count();
  result.digests = {source_->digest(), target_->digest()};
  return result;
}

bool PairReader::next() {
  while (true) {
    const bool more_source = source_->next();
    const bool more_target = target_->next();
    if (!more_source || !more_target) break;
    const bool valid_source = source_->valid();
    const bool valid_target = target_->valid();
    if (!valid_source || !valid_target) {
      ++report_.invalid;
    } else if (source_->blank() || target_->blank()) {
      ++report_.empty;
    } else {
      ++report_.kept;
      return true;
    }
  }
  finish();
  return false;
}

void PairReader::finish() {
  source_->skip_rest();
  target_->skip_rest();
  require(source_->count() == target_->count(),
          "{} has {} lines and {} has {}; line i of one must translate line i of the other", files_.source.string(),
          source_->count(), files_.target.string(), target_->count());
  require(report_.kept > 0, "{} and {}: no pair of sentences ({} lines, {} empty, {} not UTF-8)",
          files_.source.string(), files_.target.string(), source_->count(), report_.empty, report_.invalid);
}

ParallelCorpus read_parallel_corpus(const Context& ctx, const ParallelFiles& files, const CorpusOptions& options,
                                    const PairEncoder& encoder) {
  ParallelCorpus corpus;
  std::vector<Pair> chunk;
  PairReader reader(files, options);
  while (reader.next()) {
    chunk.push_back({reader.line(), reader.source(), reader.target()});
    if (chunk.size() == chunk_size) encode_chunk(ctx, chunk, encoder, options.max_length, corpus);
  }
  encode_chunk(ctx, chunk, encoder, options.max_length, corpus);
  const std::int64_t too_long = corpus.report.too_long;
  corpus.report = reader.report();
  corpus.report.too_long = too_long;
  corpus.report.kept -= too_long;
  require(corpus.report.kept > 0, "{} and {}: all {} pairs of sentences are longer than --max-length {}",
          files.source.string(), files.target.string(), too_long, options.max_length);
  return corpus;
}

PlainText read_text(const std::filesystem::path& file, const CorpusOptions& options) {
  TextLines lines(file, options.skip_invalid);
  PlainText result;
  while (lines.next()) {
    if (!lines.valid()) {
      ++result.report.invalid;
      continue;
    }
    ++result.report.kept;
    result.text += lines.line();
    result.text += '\n';
  }
  result.report.lines = lines.count();
  result.report.digests = {lines.digest()};
  require(!strip(result.text).empty(), "{}: no text ({} lines, {} not UTF-8)", file.string(), result.report.lines,
          result.report.invalid);
  return result;
}

HeldOut hold_out(std::string_view text, double fraction) {
  require(fraction > 0 && fraction < 1, "--dev-fraction is {}; it must lie between 0 and 1", fraction);
  const auto characters = static_cast<double>(count_characters(text));
  const std::size_t at = after_characters(text, static_cast<std::size_t>(characters * (1.0 - fraction)));
  const HeldOut result{.training = text.substr(0, at), .validation = text.substr(at)};
  require(!result.training.empty() && !result.validation.empty(),
          "--dev-fraction {} of a text of {} characters leaves nothing to {}", fraction, characters,
          result.training.empty() ? "train on" : "validate with");
  return result;
}

}  // namespace rapt::training
