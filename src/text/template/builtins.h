/// Filters, tests and methods of templates.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace rapt::jinja {

/// Counts what a template costs. Both throw Error at their limit.
class Budget {
 public:
  virtual ~Budget() = default;
  virtual void take_steps(std::size_t steps) = 0;
  virtual void take_bytes(std::size_t bytes) = 0;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at a place or of a name; null if there is neither.
  const Value* find(std::size_t index, std::string_view name) const;
  /// Throws Error unless there are at most so many in places, and only named ones of the given names.
  void allow(std::size_t count, std::initializer_list<std::string_view> names) const;
};

/// The items that a loop over a value sees: characters of a string, keys of a dict.
List items_of(const Value& value, Budget& budget);
/// The value of an attribute or item; undefined if there is none. Throws Error where Python does.
Value get_item(const Value& object, const Value& key);

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments, Budget& budget);
bool apply_test(std::string_view name, const Value& value, const Arguments& arguments);
Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget);
/// One of == != < <= > >= in, not in.
bool compare(std::string_view sign, const Value& left, const Value& right);
/// One of + - ~ * / // % **.
Value operate(std::string_view sign, const Value& left, const Value& right, Budget& budget);

/// Python's str.format(), without specifications behind a colon; and its operator % for texts, with %s, %d and %%.
std::string format_fields(std::string_view text, const Arguments& arguments, Budget& budget);
std::string format_signs(std::string_view text, const Value& values, Budget& budget);

/// The code points from `start` to `stop` in steps, or such items of a list, as Python slices them.
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step, Budget& budget);

}  // namespace rapt::jinja
