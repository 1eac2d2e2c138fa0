#include "text/template/operands.h"

#include <algorithm>

#include "core/error.h"
#include "formats/printable.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::jinja {

const std::string& text_of(const Value& value, std::string_view what) {
  require(value.is_string(), "{} must be a string, not {}", what, value.kind());
  return value.text();
}

std::int64_t integer_of(const Value& value, std::string_view what) {
  require(value.is_integer(), "{} must be an integer, not {}", what, value.kind());
  return value.integer();
}

Value made(std::string text, Budget& budget) {
  budget.take_bytes(text.size());
  return text;
}

Value made(List list, Budget& budget) {
  budget.take_steps(list.size());
  return list;
}

bool is_sized(const Value& value) {
  return value.is_string() || value.is_list() || value.is_dict();
}

std::size_t length_of(const Value& value) {
  if (value.is_list()) return value.list().size();
  if (value.is_dict()) return value.dict().size();
  if (value.is<Undefined>()) return 0;
  if (value.is<Items>() && !value.is_iterator()) return value.as<Items>().left->size();
  const std::string& text = text_of(value, "what is asked for its length");
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

std::string strip_text(std::string_view text, const Value* set, bool left, bool right) {
  if (set == nullptr || set->is<None>()) {
    const std::string_view stripped = left ? strip(text) : strip_right(text);
    return std::string(
        left && !right
            ? text.substr(stripped.empty() ? text.size() : static_cast<std::size_t>(stripped.data() - text.data()))
            : stripped);
  }
  const std::u32string characters = to_code_points(text_of(*set, "the characters to strip"));
  const std::u32string points = to_code_points(text);
  std::size_t begin = 0;
  std::size_t end = points.size();
  const auto inside = [&](char32_t c) { return characters.find(c) != characters.npos; };
  while (left && begin < end && inside(points[begin])) ++begin;
  while (right && end > begin && inside(points[end - 1])) --end;
  return to_utf8(std::u32string_view(points).substr(begin, end - begin));
}

std::string escape_html(const Value& text) {
  if (text.is_safe()) return text.text();
  std::string result;
  for (const char c : to_text(text)) {
    constexpr std::string_view signs = "&<>\"'";
    constexpr std::string_view names[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    const std::size_t found = signs.find(c);
    if (found == signs.npos) {
      result += c;
    } else {
      result += names[found];
    }
  }
  return result;
}

List dict_list(const Dict& dict, std::string_view name) {
  List result;
  for (const auto& [key, value] : dict) {
    if (name == "items") {
      result.push_back(Value::tuple({key, value}));
    } else {
      result.push_back(name == "keys" ? key : value);
    }
  }
  return result;
}

const Value* Arguments::find(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  const auto found = std::ranges::find(named, name, &std::pair<std::string, Value>::first);
  return found == named.end() ? nullptr : &found->second;
}

void Arguments::allow(std::size_t count, std::initializer_list<std::string_view> names) const {
  require(positional.size() <= count, "{} arguments, where at most {} are known", positional.size(), count);
  for (const auto& [name, value] : named) {
    require(std::ranges::find(names, name) != names.end(), "the argument \"{}\" is not known here", printable(name));
  }
}

List items_of(const Value& value, Budget& budget) {
  if (value.is<Undefined>()) return {};
  if (value.is<Items>()) {
    List& left = *value.as<Items>().left;
    budget.take_steps(left.size());
    return value.is_iterator() ? std::exchange(left, {}) : left;
  }
  require(is_sized(value), "{} has no items", value.kind());
  budget.take_steps(length_of(value));
  if (value.is_list()) return value.list();
  if (value.is_dict()) return dict_list(value.dict(), "keys");
  List characters;
  for (const char32_t c : to_code_points(value.text())) characters.emplace_back(to_utf8({&c, 1}));
  return characters;
}

Value get_item(const Value& object, const Value& key) {
  if (object.is<Undefined>()) {
    fail("\"{}\" is undefined, so that it has no {}", printable(object.as<Undefined>().name), printable(to_text(key)));
  }
  if (object.is_dict()) {
    if (const Value* found = find(object.dict(), key)) return *found;
  } else if (object.is<std::shared_ptr<Namespace>>() && key.is_string()) {
    const Namespace& space = *object.as<std::shared_ptr<Namespace>>();
    if (const auto found = space.find(key.text()); found != space.end()) return found->second;
  } else if ((object.is_list() || object.is_string()) && key.is_integer()) {
    const std::int64_t size = static_cast<std::int64_t>(length_of(object));
    const std::int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) {
      if (object.is_list()) return object.list()[static_cast<std::size_t>(index)];
      const std::u32string points = to_code_points(object.text());
      std::string character = to_utf8({&points[static_cast<std::size_t>(index)], 1});
      return object.is_safe() ? Value::safe(std::move(character)) : Value(std::move(character));
    }
  }
  return Undefined{key.is_string() ? key.text() : to_text(key)};
}

}  // namespace rapt::jinja
