#include "text/metric.h"

#include <fmt/core.h>

#include "core/error.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::string_view kVersion = "rapt-0.1.0";

void require_segments(std::span<const std::string> segments, std::string_view what) {
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (first_invalid_utf8(segments[i]) != std::string::npos)
      require_utf8(segments[i], fmt::format("{} {}", what, i + 1));
  }
}

}  // namespace

void require_scorable(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references) {
  require(!hypotheses.empty(), "there is no hypothesis to score");
  require(!references.empty(), "there is no reference to score against");
  require_segments(hypotheses, "hypothesis");
  for (const std::vector<std::string>& reference : references) {
    require(reference.size() == hypotheses.size(),
            "{} hypotheses cannot be scored against {} references; every segment needs one of each", hypotheses.size(),
            reference.size());
    require_segments(reference, "reference");
  }
}

std::string metric_signature(std::size_t references, bool lowercase, std::string_view middle) {
  return fmt::format("nrefs:{}|case:{}|{}|version:{}", references, lowercase ? "lc" : "mixed", middle, kVersion);
}

}  // namespace rapt
