/// train.jsonl: every figure of a run, one JSON object a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "formats/json.h"
#include "training/records.h"

namespace rapt::training {

/// Appends to a file. A resumed run cuts the file back to what its checkpoint had seen, so that no step is told twice.
/// All calls throw Error when the file cannot be written.
class Journal {
 public:
  /// Keeps the first `keep` bytes of a file that is there.
  Journal(const std::filesystem::path& file, std::int64_t keep);

  void write(const StepRecord& record);
  void write(const ValidationRecord& record);
  /// Bytes so far; they are with the operating system when this returns.
  std::int64_t flush();

 private:
  void write_line(const OrderedJson& record);

  std::filesystem::path file_;
  std::ofstream stream_;
  std::int64_t bytes_ = 0;
};

}  // namespace rapt::training
