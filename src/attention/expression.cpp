#include "attention/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace rapt::attention {
namespace {

bool is_of_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// The part of a text around a place that fits in a message.
std::string quote(std::string_view text, std::size_t place) {
  constexpr std::size_t most_quoted = 60;
  const std::size_t begin = text.size() <= most_quoted ? 0 : place - std::min(place, most_quoted / 2);
  const std::string_view part = text.substr(begin, most_quoted);
  return fmt::format("\"{}{}{}\"", begin > 0 ? "..." : "", part, begin + part.size() < text.size() ? "..." : "");
}

}  // namespace

bool ExpressionReader::at_end() {
  skip_spaces();
  return place_ == text_.size();
}

bool ExpressionReader::take(char symbol) {
  if (at_end() || text_[place_] != symbol) return false;
  ++place_;
  return true;
}

bool ExpressionReader::take_word(std::string_view word) {
  skip_spaces();
  const std::size_t end = end_of_word();
  if (text_.substr(place_, end - place_) != word) return false;
  place_ = end;
  return true;
}

std::string_view ExpressionReader::word() {
  skip_spaces();
  const std::size_t begin = place_;
  place_ = end_of_word();
  return text_.substr(begin, place_ - begin);
}

std::uint64_t ExpressionReader::number(std::uint64_t largest) {
  skip_spaces();
  const std::size_t begin = place_;
  const std::string_view digits = word();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc() && end == digits.data() + digits.size() && value <= largest) return value;
  place_ = begin;
  refuse(fmt::format("a number from 0 to {}", largest));
}

std::vector<std::size_t> ExpressionReader::arguments() {
  std::vector<std::size_t> places;
  if (!take('(')) return places;
  do {
    skip_spaces();
    places.push_back(place_);
    const std::string_view first = word();
    if (first.empty()) refuse("an argument");
    if (text_.substr(place_, 2) == "..") {
      place_ += 2;
      number();
    }
  } while (take(','));
  if (!take(')')) refuse("\",\" or \")\"");
  return places;
}

void ExpressionReader::refuse(std::string_view expected, std::string_view about_it) {
  skip_spaces();
  const std::size_t begin = place_;
  std::string_view found = word();
  if (found.empty() && begin < text_.size()) found = text_.substr(begin, 1);
  fail("{}: {}, column {}: expected {}, found {}{}", what_, quote(text_, begin), begin + 1, expected,
       found.empty() ? "the end" : fmt::format("\"{}\"", found.substr(0, 40)), about_it);
}

void ExpressionReader::skip_spaces() {
  while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\t')) ++place_;
}

std::size_t ExpressionReader::end_of_word() const {
  std::size_t end = place_;
  while (end < text_.size() && is_of_word(text_[end])) ++end;
  return end;
}

}  // namespace rapt::attention
