/// The command line: what --help shows, what values options take, and what is said when something is wrong.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "formats/printable.h"
#include "rapt/error.h"

namespace rapt::cli {

/// Arguments that each may be right but not together, or not here. As for what the parser finds, the process ends
/// with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Throws UsageError with the formatted message unless `condition` holds.
template <typename... Args>
void require_usage(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

/// Has --help of `app`, and of the commands that are added to it afterwards, fit 80 columns.
void use_help_format(CLI::App& app);

/// Writes the help or the version that was asked for, or says in one line what is wrong with the arguments. The
/// result is what the process ends with: 2 for what is wrong.
int answer(const CLI::App& app, const CLI::ParseError& error);

/// Throws UsageError when more texts are to be written than a beam finds.
inline void require_nbest(int nbest, int beam) {
  require_usage(nbest <= beam, "--nbest {}: a beam of {} finds no more than {} texts", nbest, beam, beam);
}

/// Accepts numbers from `low` to `high`, both included.
template <typename T>
CLI::Validator between(T low, T high = std::numeric_limits<T>::max()) {
  const char* const kind = std::is_integral_v<T> ? "a whole number" : "a number";
  const std::string range =
      high == std::numeric_limits<T>::max() ? fmt::format("{} or more", low) : fmt::format("{} to {}", low, high);
  return {[=](const std::string& text) {
            T value{};
            // Text that begins with a minus sign would wrap around.
            const bool converted =
                !(std::is_unsigned_v<T> && text.starts_with('-')) && CLI::detail::lexical_cast(text, value);
            if (converted && value >= low && value <= high) return std::string();
            return fmt::format("expected {}, {}, found \"{}\"", kind, range, printable(text));
          },
          ""};
}

/// Accepts numbers above 0 and up to `high`.
CLI::Validator above_zero(double high = std::numeric_limits<double>::max());

/// Accepts the names of an enumeration's values, and makes numbers of them.
template <typename Enum>
CLI::Validator choice(const std::map<std::string, Enum>& choices) {
  std::string names;
  for (const auto& [name, value] : choices) names += (names.empty() ? "" : "|") + name;
  return {[=](std::string& text) {
            const auto found = choices.find(text);
            if (found == choices.end()) return fmt::format("expected {}, found \"{}\"", names, printable(text));
            text = std::to_string(static_cast<int>(found->second));
            return std::string();
          },
          names};
}

/// Accepts text that is not empty.
CLI::Validator some_text();

/// Accepts one of some words.
CLI::Validator word(const std::vector<std::string>& words);

}  // namespace rapt::cli
