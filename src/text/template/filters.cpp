// Filters.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <span>

#include "core/error.h"
#include "formats/printable.h"
#include "text/template/operands.h"

namespace rapt::jinja {
namespace {

/// The value under a dotted path, as the filters map, selectattr, join and sort look it up.
Value get_path(Value value, const Value& path) {
  if (!path.is_string()) return get_item(value, path);
  std::string_view rest = path.text();
  while (true) {
    const std::size_t dot = rest.find('.');
    value = get_item(value, Value(std::string(rest.substr(0, dot))));
    if (dot == rest.npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

bool less(const Value& left, const Value& right) {
  return compare("<", left, right);
}

/// What items are compared by; either pointer may be null.
struct Key {
  const Value* case_sensitive;
  const Value* attribute;

  Value operator()(const Value& item) const {
    const Value value = attribute == nullptr || attribute->is<None>() ? item : get_path(item, *attribute);
    const bool folds = value.is_string() && (case_sensitive == nullptr || !case_sensitive->truth());
    return folds ? Value(to_lower(value.text())) : value;
  }
};

void sort_values(List& list, const Arguments& arguments, Budget& budget) {
  arguments.allow(3, {"reverse", "case_sensitive", "attribute"});
  const Value* reverse = arguments.find(0, "reverse");
  const Key key{arguments.find(1, "case_sensitive"), arguments.find(2, "attribute")};
  for (const Value& item : list) budget.take_steps(16 * item.weight());
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : list) keyed.emplace_back(key(item), item);
  const bool backwards = reverse != nullptr && reverse->truth();
  std::ranges::stable_sort(keyed, [&](const auto& one, const auto& other) {
    return backwards ? less(other.first, one.first) : less(one.first, other.first);
  });
  std::ranges::transform(keyed, list.begin(), [](const auto& entry) { return entry.second; });
}

/// select, reject, selectattr, rejectattr: the items for which a test holds, or does not.
List choose(std::string_view name, const List& items, const Arguments& arguments) {
  const bool wanted = name.starts_with("select");
  const bool by_attribute = name.ends_with("attr");
  std::span<const Value> rest = arguments.positional;
  require(!by_attribute || !rest.empty(), "{} needs the name of an attribute", name);
  const Value attribute = by_attribute ? rest.front() : Value();
  if (by_attribute) rest = rest.subspan(1);
  List result;
  for (const Value& item : items) {
    const Value value = by_attribute ? get_path(item, attribute) : item;
    const bool holds = rest.empty() ? value.truth()
                                    : apply_test(text_of(rest.front(), "a test"), value,
                                                 {.positional = {rest.begin() + 1, rest.end()}, .named = {}});
    if (holds == wanted) result.push_back(item);
  }
  return result;
}

List map_values(const List& items, const Arguments& arguments, Budget& budget) {
  List result;
  if (const Value* attribute = arguments.find(std::string_view::npos, "attribute")) {
    arguments.allow(0, {"attribute", "default"});
    const Value* otherwise = arguments.find(std::string_view::npos, "default");
    for (const Value& item : items) {
      Value value = get_path(item, *attribute);
      result.push_back(value.is<Undefined>() && otherwise != nullptr ? *otherwise : value);
    }
    return result;
  }
  require(!arguments.positional.empty(), "map needs an attribute or a filter");
  const std::string& filter = text_of(arguments.positional[0], "a filter");
  require(filter != "map", "map of map is not supported");
  const Arguments rest{.positional = {arguments.positional.begin() + 1, arguments.positional.end()},
                       .named = arguments.named};
  for (const Value& item : items) result.push_back(apply_filter(filter, item, rest, budget));
  return result;
}

std::string join_values(const List& items, const Arguments& arguments, Budget& budget) {
  arguments.allow(2, {"d", "attribute"});
  const Value* separator = arguments.find(0, "d");
  const Value* attribute = arguments.find(1, "attribute");
  const std::string between = separator == nullptr ? "" : to_text(*separator);
  std::string result;
  bool first = true;
  for (const Value& item : items) {
    const std::string part = to_text(attribute == nullptr ? item : get_path(item, *attribute));
    budget.take_bytes(part.size() + between.size());
    if (!first) result += between;
    first = false;
    result += part;
  }
  return result;
}

std::string indent_text(const std::string& text, const Arguments& arguments, Budget& budget) {
  arguments.allow(3, {"width", "first", "blank"});
  const Value* width = arguments.find(0, "width");
  const Value* first = arguments.find(1, "first");
  const Value* blank = arguments.find(2, "blank");
  const std::int64_t spaces = width == nullptr ? 4 : width->is_integer() ? width->integer() : -1;
  require(width == nullptr || width->is_string() || (spaces >= 0 && spaces <= 1000),
          "indent: the width must be 0 to 1000 or a string");
  const std::string space =
      width != nullptr && width->is_string() ? width->text() : std::string(static_cast<std::size_t>(spaces), ' ');
  std::string result = first != nullptr && first->truth() ? space : "";
  budget.take_bytes(text.size() + static_cast<std::size_t>(std::ranges::count(text, '\n')) * space.size());
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const bool wanted = begin > 0 && (end > begin || (blank != nullptr && blank->truth()));
    if (wanted) result += space;
    result += text.substr(begin, end - begin);
    if (end < text.size()) result += '\n';
    begin = end + 1;
  }
  return result;
}

/// Digits with underscores between them, as Python reads numbers; empty for other texts.
std::string without_underscores(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    if (text[i] != '_') {
      result += text[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return {};
    }
  }
  return result;
}

/// Python's float() of a text, which knows no hexadecimal digits.
std::optional<double> read_float(std::string_view given) {
  const std::string text = without_underscores(strip(given));
  if (text.empty() || text.find_first_of("xXpP(") != text.npos) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  return *end == '\0' ? std::optional(number) : std::nullopt;
}

Value to_integer(const Value& value, const Arguments& arguments) {
  arguments.allow(2, {"default", "base"});
  const Value* otherwise = arguments.find(0, "default");
  const Value* base = arguments.find(1, "base");
  require(base == nullptr || *base == Value(std::int64_t{10}), "int: bases other than 10 are not supported");
  Value fallback = otherwise == nullptr ? Value(std::int64_t{0}) : *otherwise;
  if (value.is_integer()) return value.integer();
  if (value.is<double>()) {
    const double number = value.as<double>();
    return std::abs(number) < 9e18 ? Value(static_cast<std::int64_t>(number)) : fallback;
  }
  if (!value.is_string()) return fallback;
  const std::optional<double> number = read_float(value.text());
  return number && std::abs(*number) < 9e15 ? Value(static_cast<std::int64_t>(*number)) : fallback;
}

Value to_float(const Value& value, const Value* otherwise) {
  if (value.is_number()) return value.number();
  if (value.is_string()) {
    if (const auto number = read_float(value.text())) return *number;
  }
  return otherwise == nullptr ? Value(0.0) : *otherwise;
}

Value round_number(const Value& value, const Arguments& arguments) {
  arguments.allow(2, {"precision", "method"});
  require(value.is_number(), "round needs a number, not {}", value.kind());
  const Value* precision = arguments.find(0, "precision");
  const Value* method = arguments.find(1, "method");
  const std::int64_t digits = precision == nullptr ? 0 : integer_of(*precision, "the precision");
  require(digits >= 0 && digits <= 15, "round: the precision must be 0 to 15");
  const std::string how = method == nullptr ? "common" : text_of(*method, "the method");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (how == "common" && value.is_integer()) return value.integer();
  if (how == "ceil") return std::ceil(value.number() * scale) / scale;
  if (how == "floor") return std::floor(value.number() * scale) / scale;
  require(how == "common", "round: unknown method \"{}\"", printable(how));
  return std::strtod(fmt::format("{:.{}f}", value.number(), digits).c_str(), nullptr);
}

Value sum_of(const List& items, const Arguments& arguments, Budget& budget) {
  arguments.allow(2, {"attribute", "start"});
  const Value* attribute = arguments.find(0, "attribute");
  const Value* start = arguments.find(1, "start");
  Value sum = start == nullptr ? Value(std::int64_t{0}) : *start;
  require(!sum.is_string(), "sum adds no strings; join does");
  for (const Value& item : items)
    sum = operate("+", sum, attribute == nullptr ? item : get_path(item, *attribute), budget);
  return sum;
}

Value extreme_of(std::string_view name, const List& items, const Arguments& arguments) {
  arguments.allow(2, {"case_sensitive", "attribute"});
  if (items.empty()) return Undefined{std::string(name)};
  const Key key{arguments.find(0, "case_sensitive"), arguments.find(1, "attribute")};
  // Of equal ones the first, in Python.
  const auto found =
      name == "min" ? std::ranges::min_element(items, less, key) : std::ranges::max_element(items, less, key);
  return *found;
}

List unique_values(const List& items, const Arguments& arguments, Budget& budget) {
  arguments.allow(2, {"case_sensitive", "attribute"});
  const Key key{arguments.find(0, "case_sensitive"), arguments.find(1, "attribute")};
  List result, keys;
  for (const Value& item : items) {
    budget.take_steps(result.size() * item.weight());
    const Value its = key(item);
    if (std::ranges::find(keys, its) != keys.end()) continue;
    keys.push_back(its);
    result.push_back(item);
  }
  return result;
}

List sorted_dict(const Value& value, const Arguments& arguments, Budget& budget) {
  arguments.allow(3, {"case_sensitive", "by", "reverse"});
  require(value.is_dict(), "dictsort needs a dict, not {}", value.kind());
  const Value* case_sensitive = arguments.find(0, "case_sensitive");
  const Value* by = arguments.find(1, "by");
  const Value* reverse = arguments.find(2, "reverse");
  const std::string which = by == nullptr ? "key" : text_of(*by, "what is sorted by");
  require(which == "key" || which == "value", "dictsort sorts by \"key\" or \"value\", not \"{}\"", printable(which));
  Arguments how{.positional = {}, .named = {{"attribute", Value(std::int64_t{which == "key" ? 0 : 1})}}};
  if (case_sensitive != nullptr) how.named.emplace_back("case_sensitive", *case_sensitive);
  if (reverse != nullptr) how.named.emplace_back("reverse", *reverse);
  List items = dict_list(value.dict(), "items");
  sort_values(items, how, budget);
  return items;
}

std::string json_of(const Value& value, const Arguments& arguments) {
  arguments.allow(4, {"ensure_ascii", "indent", "separators", "sort_keys"});
  const Value* indent = arguments.find(1, "indent");
  const Value* ascii = arguments.find(0, "ensure_ascii");
  const Value* sorted = arguments.find(3, "sort_keys");
  const Value* separators = arguments.find(2, "separators");
  JsonStyle style{.ascii = ascii != nullptr && ascii->truth(), .sort_keys = sorted != nullptr && sorted->truth()};
  if (indent != nullptr && !indent->is<None>()) {
    const std::int64_t spaces = integer_of(*indent, "the indentation");
    require(spaces >= 0 && spaces <= 100, "tojson: the indentation must be 0 to 100");
    style.indent = static_cast<int>(spaces);
    style.between = ",";
  }
  if (separators != nullptr && !separators->is<None>()) {
    require(separators->is_list() && separators->list().size() == 2, "tojson: separators are two strings");
    style.between = text_of(separators->list()[0], "a separator");
    style.after_key = text_of(separators->list()[1], "a separator");
  }
  return to_json(value, style);
}

/// Filters of texts.
std::optional<std::string> filter_text(std::string_view name, const Value& value, const Arguments& arguments,
                                       Budget& budget) {
  const auto text = [&] { return to_text(value); };
  if (name == "trim") return strip_text(text(), arguments.find(0, "chars"), true, true);
  if (name == "upper") return to_upper(text());
  if (name == "lower") return to_lower(text());
  if (name == "title") {
    return capitalize(text(), [](char32_t c) {
      return is_whitespace(c) || std::u32string_view(U"-({[<").find(c) != std::u32string_view::npos;
    });
  }
  if (name == "capitalize") return capitalize_first(text());
  if (name == "string") return text();
  if (name == "safe") return text();
  if (name == "escape" || name == "e") return escape_html(value);
  if (name == "format") {
    arguments.allow(arguments.positional.size(), {});
    return format_signs(to_text(value), Value::tuple(arguments.positional), budget);
  }
  if (name == "indent") return indent_text(text_of(value, "what is indented"), arguments, budget);
  if (name == "tojson") return json_of(value, arguments);
  if (name == "join") return join_values(items_of(value, budget), arguments, budget);
  if (name == "replace") {
    arguments.allow(3, {"old", "new", "count"});
    const Value* from = arguments.find(0, "old");
    const Value* to = arguments.find(1, "new");
    const Value* count = arguments.find(2, "count");
    require(from != nullptr && to != nullptr, "replace needs what is replaced and what is put in its place");
    Arguments rest{.positional = {Value(to_text(*from)), Value(to_text(*to))}, .named = {}};
    if (count != nullptr && !count->is<None>()) rest.positional.push_back(*count);
    return call_method(text(), "replace", rest, budget).text();
  }
  return std::nullopt;
}

/// Filters of lists.
std::optional<Value> filter_list(std::string_view name, const Value& value, const Arguments& arguments,
                                 Budget& budget) {
  static constexpr std::string_view names[] = {"first",  "last",   "list",       "reverse",    "sort", "unique", "map",
                                               "select", "reject", "selectattr", "rejectattr", "sum",  "min",    "max"};
  if (std::ranges::find(names, name) == std::end(names)) return std::nullopt;
  const bool nothing = !value.truth() && (name == "map" || name.starts_with("select") || name.starts_with("reject"));
  if (name == "last" && value.is_iterator()) fail("an iterator has no last item; make a list of it first");
  if (name == "first" && value.is_iterator() && value.as<Items>().left->size() > 1) {
    List& left = *value.as<Items>().left;
    const Value first = left.front();
    left.erase(left.begin());
    return first;
  }
  List items = nothing ? List{} : items_of(value, budget);
  if (name == "first") return items.empty() ? Value(Undefined{"first"}) : items.front();
  if (name == "last") return items.empty() ? Value(Undefined{"last"}) : items.back();
  if (name == "list") return items;
  if (name == "sum") return sum_of(items, arguments, budget);
  if (name == "min" || name == "max") return extreme_of(name, items, arguments);
  if (name == "unique") return Value::iterator(unique_values(items, arguments, budget));
  if (name == "map") return Value::iterator(map_values(items, arguments, budget));
  if (name == "sort") {
    sort_values(items, arguments, budget);
    return items;
  }
  if (name == "reverse") {
    std::ranges::reverse(items);
    if (value.is_iterator()) return items;
    if (!value.is_string()) return Value::iterator(std::move(items));
    return Value(join_values(items, {}, budget));
  }
  return Value::iterator(choose(name, items, arguments));
}

}  // namespace

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments, Budget& budget) {
  budget.take_steps(value.weight());
  if (name == "default" || name == "d") {
    arguments.allow(2, {"default_value", "boolean"});
    const Value* otherwise = arguments.find(0, "default_value");
    const Value* boolean = arguments.find(1, "boolean");
    const bool wanted = value.is<Undefined>() || (boolean != nullptr && boolean->truth() && !value.truth());
    if (!wanted) return value;
    return otherwise == nullptr ? Value("") : *otherwise;
  }
  if (name == "length" || name == "count") return static_cast<std::int64_t>(length_of(value));
  if (auto text = filter_text(name, value, arguments, budget)) {
    static constexpr std::string_view keeping[] = {"trim", "upper", "lower", "capitalize", "string", "indent"};
    const bool safe = name == "safe" || name == "escape" || name == "e" ||
                      (value.is_safe() && std::ranges::find(keeping, name) != std::end(keeping));
    budget.take_bytes(text->size());
    return safe ? Value::safe(*std::move(text)) : Value(*std::move(text));
  }
  if (auto result = filter_list(name, value, arguments, budget)) return *result;
  if (name == "items") {
    if (value.is<Undefined>()) return Value::iterator({});
    require(value.is_dict(), "items needs a dict, not {}", value.kind());
    budget.take_steps(value.dict().size());
    return Value::iterator(dict_list(value.dict(), "items"));
  }
  if (name == "dictsort") return sorted_dict(value, arguments, budget);
  if (name == "int") return to_integer(value, arguments);
  if (name == "float") return to_float(value, arguments.find(0, "default"));
  if (name == "round") return round_number(value, arguments);
  if (name == "abs") {
    require(value.is_number(), "abs needs a number, not {}", value.kind());
    if (value.is<double>()) return std::abs(value.as<double>());
    return value.integer() < 0 ? operate("-", std::int64_t{0}, value, budget) : Value(value.integer());
  }
  fail("the filter \"{}\" is not among those that rapt supports", printable(name));
}

}  // namespace rapt::jinja
