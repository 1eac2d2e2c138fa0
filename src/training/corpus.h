/// Corpora: text files into token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "formats/file.h"

namespace rapt::training {

/// Many sequences of token ids in one piece of memory.
class TokenLists {
 public:
  void add(std::span<const std::int32_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    offsets_.push_back(static_cast<std::int64_t>(ids_.size()));
  }
  std::size_t size() const { return offsets_.size() - 1; }
  std::int64_t length(std::size_t index) const { return offsets_[index + 1] - offsets_[index]; }
  std::span<const std::int32_t> operator[](std::size_t index) const {
    return std::span(ids_).subspan(static_cast<std::size_t>(offsets_[index]), static_cast<std::size_t>(length(index)));
  }
  std::int64_t tokens() const { return offsets_.back(); }

 private:
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> offsets_{0};
};

/// Pairs of sentences, each ended by its end-of-sentence token.
struct ParallelTokens {
  TokenLists source;
  TokenLists target;
  std::vector<std::int64_t> lines;  ///< of the files, from 1

  std::size_t size() const { return lines.size(); }
};

/// Line i of one file is the translation of line i of the other. Plain or gzip.
struct ParallelFiles {
  std::filesystem::path source;
  std::filesystem::path target;
};

struct CorpusOptions {
  bool skip_invalid = false;  ///< drop lines that are not UTF-8 (with their translations) instead of refusing the file
  std::int64_t max_length = 0;  ///< tokens of a sentence, its end included; longer ones are dropped; 0: no limit
};

/// What became of the lines of a corpus. lines = kept + empty + invalid + too_long.
struct CorpusReport {
  std::int64_t lines = 0;
  std::int64_t kept = 0;
  std::int64_t empty = 0;     ///< nothing but white space on one side or both
  std::int64_t invalid = 0;   ///< not UTF-8
  std::int64_t too_long = 0;  ///< longer than max_length
  /// Of the text, uncompressed, with "\n" at every end of line: what a resumed run must find again.
  std::vector<Digest> digests;
};

class TextLines;

/// Reads two files side by side, line by line.
class PairReader {
 public:
  /// Throws Error for a file that cannot be opened.
  PairReader(const ParallelFiles& files, const CorpusOptions& options);
  ~PairReader();

  /// Moves to the next pair of which neither side is empty or invalid; false at the end. Throws Error for invalid UTF-8
  /// (naming file and line) unless it is to be skipped, and at the end when the files have unequal numbers of lines
  /// (naming both) or there was no pair at all.
  bool next();
  std::int64_t line() const;
  const std::string& source() const;
  const std::string& target() const;
  /// Of what has been read; complete once next() has returned false.
  CorpusReport report() const;

 private:
  void finish();

  ParallelFiles files_;
  std::unique_ptr<TextLines> source_;
  std::unique_ptr<TextLines> target_;
  CorpusReport report_;
};

/// Text to ids, the end of the sentence included. Called by several threads at once.
using Encode = std::function<std::vector<std::int32_t>(std::string_view text)>;

struct PairEncoder {
  Encode source;
  Encode target;
};

struct ParallelCorpus {
  ParallelTokens tokens;
  CorpusReport report;
};

/// Reads and encodes; throws as PairReader does, and when no pair is short enough.
ParallelCorpus read_parallel_corpus(const Context& ctx, const ParallelFiles& files, const CorpusOptions& options,
                                    const PairEncoder& encoder);

struct PlainText {
  std::string text;  ///< "\n" at every end of line
  CorpusReport report;
};

/// A whole text file, plain or gzip; empty lines are part of it. Throws Error for a file that cannot be read, holds
/// nothing, or is not UTF-8 (unless such lines are to be skipped).
PlainText read_text(const std::filesystem::path& file, const CorpusOptions& options);

/// The first part of a text, and the last `fraction` of its characters (not bytes), as nanoGPT divides it. Views into
/// `text`. Throws Error when either is empty.
struct HeldOut {
  std::string_view training;
  std::string_view validation;
};
HeldOut hold_out(std::string_view text, double fraction);

}  // namespace rapt::training
