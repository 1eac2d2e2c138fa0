// Operators and slices.

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "text/template/operands.h"

namespace rapt::jinja {

bool compare(std::string_view sign, const Value& left, const Value& right) {
  if (sign == "==") return left == right;
  if (sign == "!=") return !(left == right);
  if (sign == "not in") return !compare("in", left, right);
  if (sign == "in") {
    if (right.is_string())
      return right.text().find(text_of(left, "what is looked for in a string")) != std::string::npos;
    if (right.is_dict()) return find(right.dict(), left) != nullptr;
    if (right.is<Undefined>()) return false;
    if (right.is<Items>()) {
      List& items = *right.as<Items>().left;
      const auto found = std::ranges::find(items, left);
      const bool there = found != items.end();
      if (right.is_iterator()) items.erase(items.begin(), there ? found + 1 : found);
      return there;
    }
    require(right.is_list(), "{} has no items to look at", right.kind());
    return std::ranges::find(right.list(), left) != right.list().end();
  }
  if (left.is_list() && right.is_list() && left.is<Tuple>() == right.is<Tuple>()) {
    const auto [one, other] = std::ranges::mismatch(left.list(), right.list());
    const bool both = one != left.list().end() && other != right.list().end();
    if (both) return compare(sign, *one, *other);
    const auto rest = [](const Value& value, auto at) { return Value(std::int64_t{value.list().end() - at}); };
    return compare(sign, rest(left, one), rest(right, other));
  }
  const bool numbers = left.is_number() && right.is_number();
  require(numbers || (left.is_string() && right.is_string()), "{} and {} have no order", left.kind(), right.kind());
  const auto holds = [&](const auto& one, const auto& other) {
    return sign == "<" ? one < other : sign == "<=" ? one <= other : sign == ">" ? one > other : one >= other;
  };
  if (!numbers) return holds(left.text(), right.text());
  if (left.is_integer() && right.is_integer()) return holds(left.integer(), right.integer());
  return holds(left.number(), right.number());
}

namespace {

/// Where a Python slice goes on from a bound that may be missing or negative.
std::int64_t bound(const Value& value, std::int64_t size, std::int64_t absent, std::int64_t lowest,
                   std::int64_t highest) {
  if (value.is<None>()) return absent;
  std::int64_t at = integer_of(value, "the bound of a slice");
  if (at < 0) at = std::max<std::int64_t>(at, -size - 1) + size;
  return std::clamp(at, lowest, highest);
}

std::int64_t floor_quotient(std::int64_t left, std::int64_t right) {
  const std::int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

Value operate_on_integers(std::string_view sign, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  bool overflows = false;
  if (sign == "+") {
    overflows = __builtin_add_overflow(left, right, &result);
  } else if (sign == "-") {
    overflows = __builtin_sub_overflow(left, right, &result);
  } else if (sign == "*") {
    overflows = __builtin_mul_overflow(left, right, &result);
  } else if (sign == "**") {
    require(right >= 0 && right <= 63, "powers have exponents from 0 to 63 here");
    result = 1;
    for (; right > 0 && !overflows; --right) overflows = __builtin_mul_overflow(result, left, &result);
  } else {
    require(right != 0, "division by zero");
    if (sign == "/") return static_cast<double>(left) / static_cast<double>(right);
    overflows = right == -1 && left == std::numeric_limits<std::int64_t>::min();
    if (!overflows) result = sign == "//" ? floor_quotient(left, right) : left - floor_quotient(left, right) * right;
  }
  require(!overflows, "an integer is larger than 64 bits hold");
  return result;
}

Value operate_on_floats(std::string_view sign, double left, double right) {
  if (sign == "+") return left + right;
  if (sign == "-") return left - right;
  if (sign == "*") return left * right;
  if (sign == "**") return std::pow(left, right);
  require(right != 0, "division by zero");
  if (sign == "/") return left / right;
  const double floored = std::floor(left / right);
  return sign == "//" ? floored : left - floored * right;
}

/// A string or a list several times.
Value repeat(const Value& value, std::int64_t times, Budget& budget) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (value.is_string()) {
    const std::string& text = value.text();
    require(text.empty() || count < (std::size_t{1} << 40) / text.size(), "a string is repeated too often");
    budget.take_bytes(text.size() * count);
    std::string result;
    for (std::size_t i = 0; !text.empty() && i < count; ++i) result += text;
    return value.is_safe() ? Value::safe(std::move(result)) : Value(std::move(result));
  }
  const List& list = value.list();
  require(list.empty() || count < (std::size_t{1} << 40) / list.size(), "a list is repeated too often");
  budget.take_steps(list.size() * count);
  List result;
  for (std::size_t i = 0; !list.empty() && i < count; ++i) result.insert(result.end(), list.begin(), list.end());
  return result;
}

}  // namespace

Value operate(std::string_view sign, const Value& left, const Value& right, Budget& budget) {
  if (sign == "~") {
    budget.take_steps(left.weight() + right.weight());
    std::string text = to_text(left);
    return made(text += to_text(right), budget);
  }
  if (left.is_integer() && right.is_integer()) return operate_on_integers(sign, left.integer(), right.integer());
  if (left.is_number() && right.is_number()) return operate_on_floats(sign, left.number(), right.number());
  if (sign == "%" && left.is_string()) {
    require(!left.is_safe(), "\"%\" of a string that the filters safe and escape made is not supported");
    return format_signs(left.text(), right, budget);
  }
  if (sign == "+" && left.is_string() && right.is_string() && (left.is_safe() || right.is_safe())) {
    std::string text = escape_html(left) + escape_html(right);
    budget.take_bytes(text.size());
    return Value::safe(std::move(text));
  }
  if (sign == "+" && left.is_string() && right.is_string()) return made(left.text() + right.text(), budget);
  if (sign == "+" && left.is_list() && right.is_list()) {
    budget.take_steps(left.list().size() + right.list().size());
    List result = left.list();
    result.insert(result.end(), right.list().begin(), right.list().end());
    return result;
  }
  const auto repeats = [&](const Value& value, const Value& times) {
    return sign == "*" && (value.is_string() || value.is_list()) && times.is_integer();
  };
  if (repeats(left, right)) return repeat(left, right.integer(), budget);
  if (repeats(right, left)) return repeat(right, left.integer(), budget);
  fail("\"{}\" between {} and {} is not possible", sign, left.kind(), right.kind());
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& step, Budget& budget) {
  if (object.is<Undefined>()) return get_item(object, Value("slices"));
  if (!object.is_string() && !object.is_list()) return Undefined{"a slice"};
  const List items = items_of(object, budget);
  const auto size = static_cast<std::int64_t>(items.size());
  const std::int64_t by = step.is<None>() ? 1 : integer_of(step, "the step of a slice");
  require(by != 0, "the step of a slice is zero");
  const std::int64_t first = by > 0 ? bound(start, size, 0, 0, size) : bound(start, size, size - 1, -1, size - 1);
  const std::int64_t last = by > 0 ? bound(stop, size, size, 0, size) : bound(stop, size, -1, -1, size - 1);
  List result;
  for (std::int64_t at = first; by > 0 ? at < last : at > last;) {
    result.push_back(items[static_cast<std::size_t>(at)]);
    if (__builtin_add_overflow(at, by, &at)) break;
  }
  if (object.is<Tuple>()) return Value::tuple(std::move(result));
  if (object.is_list()) return result;
  const Value text = apply_filter("join", result, {}, budget);
  return object.is_safe() ? Value::safe(text.text()) : text;
}

}  // namespace rapt::jinja
