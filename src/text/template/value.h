/// The values that templates compute with: those of Python, as far as chat templates need them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "formats/json.h"

namespace rapt::jinja {

class Value;
struct Statement;

/// The value of a name that nobody gave one.
struct Undefined {
  std::string name;
};
struct None {};
using List = std::vector<Value>;
/// A list that is written with parentheses and equals no other list; where Python gives one, as items() does.
struct Tuple {
  std::shared_ptr<const List> items;
};
/// In the order in which the keys were put in; keys are strings, numbers or None.
using Dict = std::vector<std::pair<Value, Value>>;
/// The one kind of value that templates can change, attribute by attribute.
using Namespace = std::map<std::string, Value, std::less<>>;

/// What Python gives out item by item and what is no list: of a dict a view of its keys, values or items, else an
/// iterator, as map() and select() make them, which is empty once somebody has taken the items.
struct Items {
  std::shared_ptr<List> left;
  const char* view = nullptr;  ///< "dict_keys", "dict_values" or "dict_items"; null for iterators
};

/// What can be called by its name: a built-in function, or a macro of the template.
struct Function {
  std::string name;
  const Statement* macro = nullptr;
};

/// The variable `loop` of a for statement.
struct Loop {
  std::shared_ptr<const List> items;
  std::size_t index = 0;
};

/// Immutable but for namespaces, and iterators, which are emptied; copies share what they hold.
class Value {
 public:
  using Data = std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
                            std::shared_ptr<const List>, Tuple, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            Function, Loop, Items>;

  Value() = default;
  Value(None none) : data_(none) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string text);
  Value(const char* text) : Value(std::string(text)) {}
  // Lists and dicts hold neither namespaces nor loops, so that no value can hold itself. These throw Error for such,
  // and for values that are nested deeper or larger than any template needs.
  Value(List list);
  Value(Tuple tuple);
  Value(Dict dict);
  Value(Items items);
  Value(std::shared_ptr<Namespace> space) : data_(std::move(space)) {}
  Value(Function function) : data_(std::move(function)) {}
  Value(Loop loop) : data_(std::move(loop)) {}

  static Value of(const OrderedJson& json);
  /// A text to which others are added with their HTML escaped: what the filters safe and escape make.
  static Value safe(std::string text);
  static Value iterator(List items) { return Items{std::make_shared<List>(std::move(items))}; }
  static Value tuple(List items) { return Tuple{std::make_shared<const List>(std::move(items))}; }

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(data_);
  }
  /// The value as one of the simple types; it must be of that type.
  template <typename T>
  const T& as() const {
    return std::get<T>(data_);
  }
  bool is_string() const { return is<std::shared_ptr<const std::string>>(); }
  /// A list or a tuple.
  bool is_list() const { return is<std::shared_ptr<const List>>() || is<Tuple>(); }
  bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
  bool is_safe() const { return safe_; }
  bool is_iterator() const { return is<Items>() && as<Items>().view == nullptr; }
  bool is_number() const { return is<bool>() || is<std::int64_t>() || is<double>(); }
  const std::string& text() const { return *as<std::shared_ptr<const std::string>>(); }
  const List& list() const { return is<Tuple>() ? *as<Tuple>().items : *as<std::shared_ptr<const List>>(); }
  const Dict& dict() const { return *as<std::shared_ptr<const Dict>>(); }
  /// bool, integer or float as a float.
  double number() const;
  /// bool or integer; nothing else.
  bool is_integer() const { return is<bool>() || is<std::int64_t>(); }
  std::int64_t integer() const { return is<bool>() ? as<bool>() : as<std::int64_t>(); }

  /// What `if` makes of it.
  bool truth() const;
  /// How many values it holds, those that it holds several times counted as often; a text counts with its length. What
  /// writing the value out or comparing it costs.
  std::size_t weight() const { return weight_; }
  /// "a string", "a list", ... for messages.
  std::string_view kind() const;

 private:
  void hold(const Value& part);

  Data data_;
  std::uint32_t weight_ = 1;
  std::uint32_t depth_ = 1;
  bool safe_ = false;
};

bool operator==(const Value& one, const Value& other);

/// The entry of a key; null if there is none.
const Value* find(const Dict& dict, const Value& key);
inline const Value* find(const Dict& dict, std::string_view key) {
  return find(dict, Value(std::string(key)));
}

/// Python's str().
std::string to_text(const Value& value);

struct JsonStyle {
  int indent = -1;  ///< spaces for each level; -1: all on one line
  bool ascii = false;
  bool sort_keys = false;
  std::string between = ", ";
  std::string after_key = ": ";
};

/// Python's json.dumps(). Throws Error for values that JSON does not have.
std::string to_json(const Value& value, const JsonStyle& style);

}  // namespace rapt::jinja
