#include "text/template/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::jinja {
namespace {

/// Python's repr() of a float: the shortest decimal that reads back.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  const bool plain = text.find('.') == text.npos && text.find('e') == text.npos;
  return plain ? text + ".0" : text;
}

void append_quoted(const std::string& text, std::string& result) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  result += quote;
  for (const char32_t c : to_code_points(text)) {
    if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\r') {
      result += "\\r";
    } else if (c == '\\' || c == static_cast<char32_t>(quote)) {
      result += '\\';
      append_utf8(result, c);
    } else if (is_control(c) || (is_whitespace(c) && c != ' ')) {
      const auto code = static_cast<unsigned>(c);
      result += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    } else {
      append_utf8(result, c);
    }
  }
  result += quote;
}

constexpr std::uint32_t kMaxValueDepth = 100;   // of lists and dicts within each other
constexpr std::uint32_t kMaxWeight = 1u << 20;  // of a value
constexpr std::size_t kWeightBytes = 64;        // of text that weigh as much as a value

/// Python's repr().
void append_repr(const Value& value, std::string& result) {
  if (value.is_string()) return append_quoted(value.text(), result);
  if (value.is_list()) {
    const bool tuple = value.is<Tuple>();
    result += tuple ? '(' : '[';
    for (const Value& item : value.list()) {
      if (&item != &value.list().front()) result += ", ";
      append_repr(item, result);
    }
    if (tuple && value.list().size() == 1) result += ',';
    result += tuple ? ')' : ']';
  } else if (value.is_dict()) {
    result += '{';
    for (const auto& [key, item] : value.dict()) {
      if (&item != &value.dict().front().second) result += ", ";
      append_repr(key, result);
      result += ": ";
      append_repr(item, result);
    }
    result += '}';
  } else if (value.is<Items>() && !value.is_iterator()) {
    result += value.as<Items>().view;
    result += '(';
    append_repr(*value.as<Items>().left, result);
    result += ')';
  } else {
    result += value.is<Undefined>() ? "Undefined" : to_text(value);
  }
}

void append_json_text(const std::string& text, bool ascii, std::string& result) {
  result += '"';
  for (const char32_t c : to_code_points(text)) {
    constexpr std::string_view escaped = "\"\\\n\r\t\b\f", letters = "\"\\nrtbf";
    const std::size_t found = c < 0x80 ? escaped.find(static_cast<char>(c)) : escaped.npos;
    if (found != escaped.npos) {
      result += '\\';
      result += letters[found];
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000 && c != 0x7F)) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else if (ascii && c >= 0x10000) {
      const unsigned rest = static_cast<unsigned>(c) - 0x10000;
      result += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      append_utf8(result, c);
    }
  }
  result += '"';
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int depth) {
    if (value.is_string()) {
      append_json_text(value.text(), style_.ascii, text);
    } else if (value.is<None>()) {
      text += "null";
    } else if (value.is<bool>()) {
      text += value.as<bool>() ? "true" : "false";
    } else if (value.is<double>()) {
      const double number = value.as<double>();
      text += std::isnan(number)   ? "NaN"
              : std::isinf(number) ? (number < 0 ? "-Infinity" : "Infinity")
                                   : float_text(number);
    } else if (value.is_number()) {
      text += to_text(value);
    } else if (value.is_list()) {
      write_items(value.list(), '[', ']', depth, [&](const Value& item) { write(item, depth + 1); });
    } else if (value.is_dict()) {
      write_dict(value.dict(), depth);
    } else {
      fail("{} cannot be written as JSON", value.kind());
    }
  }

  std::string text;

 private:
  void write_dict(Dict dict, int depth) {
    if (style_.sort_keys) {
      std::ranges::stable_sort(dict, {}, [](const auto& entry) { return to_text(entry.first); });
    }
    write_items(dict, '{', '}', depth, [&](const auto& entry) {
      if (entry.first.is_string()) {
        write(entry.first, depth + 1);
      } else {
        JsonWriter key(style_);
        key.write(entry.first, 0);
        text += '"' + key.text + '"';
      }
      text += style_.after_key;
      write(entry.second, depth + 1);
    });
  }

  template <typename Items, typename Write>
  void write_items(const Items& items, char open, char close, int depth, Write write_item) {
    text += open;
    bool first = true;
    for (const auto& item : items) {
      if (!first) text += style_.between;
      first = false;
      new_line(depth + 1);
      write_item(item);
    }
    if (!items.empty()) new_line(depth);
    text += close;
  }

  void new_line(int depth) {
    if (style_.indent < 0) return;
    text += '\n';
    text.append(static_cast<std::size_t>(style_.indent) * static_cast<std::size_t>(depth), ' ');
  }

  JsonStyle style_;
};

}  // namespace

/// Accounts for a part of a list or dict.
void Value::hold(const Value& part) {
  require(!part.is<std::shared_ptr<Namespace>>() && !part.is<Loop>(), "{} cannot be put into a list or dict",
          part.kind());
  depth_ = std::max(depth_, part.depth_ + 1);
  require(depth_ <= kMaxValueDepth, "a value is nested deeper than {} levels", kMaxValueDepth);
  weight_ += part.weight_;
  require(weight_ <= kMaxWeight, "a value holds more than {} others", kMaxWeight);
}

Value::Value(std::string text) {
  const std::size_t weight = 1 + text.size() / kWeightBytes;
  require(weight <= kMaxWeight, "a text has {} bytes, more than templates may make", text.size());
  weight_ = static_cast<std::uint32_t>(weight);
  data_ = std::make_shared<const std::string>(std::move(text));
}

Value::Value(List list) {
  for (const Value& item : list) hold(item);
  data_ = std::make_shared<const List>(std::move(list));
}

Value::Value(Tuple tuple) {
  for (const Value& item : *tuple.items) hold(item);
  data_ = std::move(tuple);
}

Value::Value(Dict dict) {
  for (const auto& [key, item] : dict) {
    hold(key);
    hold(item);
  }
  data_ = std::make_shared<const Dict>(std::move(dict));
}

Value::Value(Items items) {
  for (const Value& item : *items.left) hold(item);
  data_ = std::move(items);
}

Value Value::safe(std::string text) {
  Value value(std::move(text));
  value.safe_ = true;
  return value;
}

Value Value::of(const OrderedJson& json) {
  switch (json.type()) {
    case OrderedJson::value_t::null:
      return None{};
    case OrderedJson::value_t::boolean:
      return json.get<bool>();
    case OrderedJson::value_t::string:
      return json.get<std::string>();
    case OrderedJson::value_t::number_float:
      return json.get<double>();
    case OrderedJson::value_t::array: {
      List list;
      for (const OrderedJson& item : json) list.push_back(of(item));
      return list;
    }
    case OrderedJson::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.emplace_back(key, of(item));
      return dict;
    }
    default:
      return json.get<std::int64_t>();
  }
}

double Value::number() const {
  return is<double>() ? as<double>() : static_cast<double>(integer());
}

bool Value::truth() const {
  if (is_integer()) return integer() != 0;
  if (is<double>()) return as<double>() != 0;
  if (is_string()) return !text().empty();
  if (is_list()) return !list().empty();
  if (is_dict()) return !dict().empty();
  if (is<Items>()) return is_iterator() || !as<Items>().left->empty();
  return !is<Undefined>() && !is<None>();
}

std::string_view Value::kind() const {
  constexpr std::string_view names[] = {"an undefined value", "None",   "a bool",     "an integer", "a float",
                                        "a string",           "a list", "a tuple",    "a dict",     "a namespace",
                                        "a function",         "a loop", "an iterator"};
  return names[data_.index()];
}

bool operator==(const Value& one, const Value& other) {
  if (one.is_integer() && other.is_integer()) return one.integer() == other.integer();
  if (one.is_number() && other.is_number()) return one.number() == other.number();
  if (one.is_string() && other.is_string()) return one.text() == other.text();
  if (one.is_list() && other.is_list()) return one.is<Tuple>() == other.is<Tuple>() && one.list() == other.list();
  if (one.is_dict() && other.is_dict()) {
    return one.dict().size() == other.dict().size() && std::ranges::all_of(one.dict(), [&](const auto& entry) {
             const Value* found = find(other.dict(), entry.first);
             return found != nullptr && *found == entry.second;
           });
  }
  if (one.is<Items>() && other.is<Items>()) return one.as<Items>().left == other.as<Items>().left;
  return (one.is<None>() && other.is<None>()) || (one.is<Undefined>() && other.is<Undefined>());
}

const Value* find(const Dict& dict, const Value& key) {
  const auto found = std::ranges::find_if(dict, [&](const auto& entry) { return entry.first == key; });
  return found == dict.end() ? nullptr : &found->second;
}

std::string to_text(const Value& value) {
  if (value.is<Undefined>()) return "";
  if (value.is<None>()) return "None";
  if (value.is<bool>()) return value.as<bool>() ? "True" : "False";
  if (value.is<std::int64_t>()) return std::to_string(value.as<std::int64_t>());
  if (value.is<double>()) return float_text(value.as<double>());
  if (value.is_string()) return value.text();
  if (value.is_list() || value.is_dict() || (value.is<Items>() && !value.is_iterator())) {
    std::string result;
    append_repr(value, result);
    return result;
  }
  fail("{} cannot be written out", value.kind());
}

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return std::move(writer.text);
}

}  // namespace rapt::jinja
