/// What the benchmarks share: timing, and figures as text or JSON lines.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/output.h"

namespace rapt::bench {

/// Prints one figure.
inline void report(const nlohmann::ordered_json& row, bool json, const std::string& text) {
  cli::print(json ? row.dump() + "\n" : text + "\n");
  cli::flush();
}

inline double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The median seconds of each of several works, run in turn so that what slows the machine down meets them all, until
/// they have lasted `seconds` for each, at least three rounds, after one that does not count.
inline std::vector<double> median_seconds(double seconds, const std::vector<std::function<void()>>& works) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (const auto& work : works) work();
  std::vector<std::vector<double>> runs(works.size());
  const auto start = Clock::now();
  do {
    for (std::size_t i = 0; i < works.size(); ++i) {
      const auto begin = Clock::now();
      works[i]();
      runs[i].push_back(since(begin));
    }
  } while (runs[0].size() < 3 || since(start) < seconds * static_cast<double>(works.size()));
  std::vector<double> medians;
  for (auto& of_work : runs) medians.push_back(median(of_work));
  return medians;
}

inline double median_seconds(double seconds, const std::function<void()>& work) {
  return median_seconds(seconds, std::vector{work})[0];
}

}  // namespace rapt::bench
