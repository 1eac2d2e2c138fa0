/// What BLEU and chrF share: what a corpus to score must be, and how their signatures begin and end.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rapt {

/// Throws Error unless there are segments and references, every reference has as many segments as the hypotheses, and
/// all are valid UTF-8.
void require_scorable(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references);

/// A signature in sacreBLEU's form, "nrefs:1|case:mixed|<middle>|version:rapt-0.1.0".
std::string metric_signature(std::size_t references, bool lowercase, std::string_view middle);

}  // namespace rapt
