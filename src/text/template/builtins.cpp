#include "text/template/builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>

#include "core/error.h"
#include "formats/printable.h"
#include "text/replace.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::jinja {
namespace {

/// The text of an argument that must be a string.
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
  const std::string& text = text_of(value, "what is asked for its length");
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

/// Each character that follows one for which `begins` holds in upper case, as the first one, the others in lower case.
template <typename Begins>
std::string capitalize(std::string_view text, Begins begins) {
  std::string result;
  bool at_beginning = true;
  for (const char32_t c : to_code_points(text)) {
    const std::string letter = to_utf8({&c, 1});
    result += at_beginning ? to_upper(letter) : to_lower_each(letter);
    at_beginning = begins(c);
  }
  return result;
}

std::string capitalize_first(std::string_view text) {
  return capitalize(text, [](char32_t) { return false; });
}

/// Python's strip(), lstrip() and rstrip(), of white space or of the characters in a set.
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

List split_text(std::string_view text, const Value* separator, std::int64_t at_most) {
  List parts;
  if (separator == nullptr || separator->is<None>()) {
    for (const std::string_view word : split_words(text)) {
      if (at_most >= 0 && static_cast<std::int64_t>(parts.size()) == at_most) {
        parts.emplace_back(std::string(text.substr(static_cast<std::size_t>(word.data() - text.data()))));
        return parts;
      }
      parts.emplace_back(std::string(word));
    }
    return parts;
  }
  const std::string& by = text_of(*separator, "what splits a string");
  require(!by.empty(), "what splits a string must not be empty");
  for (std::size_t found; at_most-- != 0 && (found = text.find(by)) != text.npos;
       text.remove_prefix(found + by.size())) {
    parts.emplace_back(std::string(text.substr(0, found)));
  }
  parts.emplace_back(std::string(text));
  return parts;
}

List split_from_right(std::string_view text, const Value* separator, std::int64_t at_most) {
  if (at_most < 0) return split_text(text, separator, -1);
  require(separator != nullptr && !separator->is<None>(), "rsplit() with a limit needs what splits the string");
  const std::string& by = text_of(*separator, "what splits a string");
  require(!by.empty(), "what splits a string must not be empty");
  List parts;
  for (std::size_t found; at_most-- > 0 && (found = text.rfind(by)) != text.npos; text = text.substr(0, found)) {
    parts.insert(parts.begin(), Value(std::string(text.substr(found + by.size()))));
  }
  parts.insert(parts.begin(), Value(std::string(text)));
  return parts;
}

List split_lines(std::string_view text) {
  List lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(std::string(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// startswith() and endswith(): one string, or any of several.
bool has_affix(const std::string& text, const Value& affix, bool start) {
  const auto has = [&](const Value& part) {
    const std::string& wanted = text_of(part, "what a string starts or ends with");
    return start ? text.starts_with(wanted) : text.ends_with(wanted);
  };
  return affix.is_list() ? std::ranges::any_of(affix.list(), has) : has(affix);
}

std::string replace_some(std::string_view text, const std::string& from, const std::string& to, std::int64_t times) {
  require(!from.empty(), "what is replaced must not be empty");
  if (times < 0) return replace_all(text, from, to);
  std::string result;
  for (std::size_t found; times-- > 0 && (found = text.find(from)) != text.npos;
       text.remove_prefix(found + from.size())) {
    result += text.substr(0, found);
    result += to;
  }
  return result += text;
}

Value string_method(const std::string& text, std::string_view name, const Arguments& arguments, Budget& budget) {
  budget.take_steps(text.size() / 64);
  const auto argument = [&](std::size_t index) -> const Value& {
    require(index < arguments.positional.size(), "{}() needs {} arguments", name, index + 1);
    return arguments.positional[index];
  };
  const Value* first = arguments.find(0, name.ends_with("split") ? "sep" : "");
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    return made(strip_text(text, first, name != "rstrip", name != "lstrip"), budget);
  }
  if (name == "split" || name == "rsplit") {
    const Value* limit = arguments.find(1, "maxsplit");
    const std::int64_t at_most = limit == nullptr ? -1 : integer_of(*limit, "maxsplit");
    List parts = name == "split" ? split_text(text, first, at_most) : split_from_right(text, first, at_most);
    budget.take_bytes(text.size());
    return made(std::move(parts), budget);
  }
  arguments.allow(3, {});
  if (name == "startswith") return has_affix(text, argument(0), true);
  if (name == "endswith") return has_affix(text, argument(0), false);
  if (name == "upper") return made(to_upper(text), budget);
  if (name == "lower") return made(to_lower(text), budget);
  if (name == "title") {
    const auto is_no_letter = [](char32_t c) { return (classes_of(c) & kLetter) == 0; };
    return made(capitalize(text, is_no_letter), budget);
  }
  if (name == "capitalize") return made(capitalize_first(text), budget);
  if (name == "splitlines") return made(split_lines(text), budget);
  if (name == "join") {
    return apply_filter("join", argument(0), {.positional = {Value(text)}, .named = {}}, budget);
  }
  if (name == "replace") {
    const std::string& from = text_of(argument(0), "what is replaced");
    const std::string& to = text_of(argument(1), "what is put in its place");
    const std::size_t growth = from.empty() ? 0 : text.size() / from.size() * to.size();
    budget.take_bytes(growth);
    const std::int64_t times =
        arguments.positional.size() > 2 ? integer_of(argument(2), "the number of replacements") : -1;
    return made(replace_some(text, from, to, times), budget);
  }
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string& affix = text_of(argument(0), "what is removed");
    const bool prefix = name == "removeprefix";
    if (!(prefix ? text.starts_with(affix) : text.ends_with(affix))) return text;
    return made(prefix ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size()), budget);
  }
  if (name == "find") {
    const std::size_t found = text.find(text_of(argument(0), "what is looked for"));
    if (found == text.npos) return std::int64_t{-1};
    return static_cast<std::int64_t>(length_of(text.substr(0, found)));
  }
  if (name == "count") {
    const std::string& part = text_of(argument(0), "what is counted");
    require(!part.empty(), "what is counted must not be empty");
    return static_cast<std::int64_t>(split_text(text, &argument(0), -1).size()) - 1;
  }
  if (name == "isdigit") {
    const std::u32string points = to_code_points(text);
    return !points.empty() && std::ranges::all_of(points, [](char32_t c) { return c >= '0' && c <= '9'; });
  }
  fail("strings have no method \"{}\" that rapt supports", printable(name));
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

Value dict_method(const Dict& dict, std::string_view name, const Arguments& arguments, Budget& budget) {
  budget.take_steps(dict.size() / 8);
  if (name == "items" || name == "keys" || name == "values") return made(dict_list(dict, name), budget);
  if (name == "get") {
    arguments.allow(2, {});
    require(!arguments.positional.empty(), "get() needs a key");
    if (const Value* found = find(dict, arguments.positional[0])) return *found;
    return arguments.positional.size() > 1 ? arguments.positional[1] : Value(None{});
  }
  fail("dicts have no method \"{}\" that rapt supports", printable(name));
}

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

void sort_values(List& list, const Arguments& arguments, Budget& budget) {
  arguments.allow(3, {"reverse", "case_sensitive", "attribute"});
  const Value* reverse = arguments.find(0, "reverse");
  const Value* case_sensitive = arguments.find(1, "case_sensitive");
  const Value* attribute = arguments.find(2, "attribute");
  for (const Value& item : list) budget.take_steps(16 * item.weight());
  const auto key = [&](const Value& item) -> Value {
    const Value value = attribute == nullptr ? item : get_path(item, *attribute);
    const bool folds = value.is_string() && (case_sensitive == nullptr || !case_sensitive->truth());
    return folds ? Value(to_lower(value.text())) : value;
  };
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

std::string escape_html(const std::string& text) {
  std::string result;
  for (const char c : text) {
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

Value to_integer(const Value& value, const Value* otherwise) {
  const Value fallback = otherwise == nullptr ? Value(std::int64_t{0}) : *otherwise;
  if (value.is_integer()) return value.integer();
  if (value.is<double>()) {
    const double number = value.as<double>();
    return std::abs(number) < 9e18 ? Value(static_cast<std::int64_t>(number)) : fallback;
  }
  if (!value.is_string()) return fallback;
  const std::string text(strip(value.text()));
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool whole = !text.empty() && *end == '\0' && std::abs(number) < 9e15;
  return whole ? Value(static_cast<std::int64_t>(number)) : fallback;
}

Value to_float(const Value& value, const Value* otherwise) {
  if (value.is_number()) return value.number();
  const std::string text(value.is_string() ? strip(value.text()) : "");
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0') return number;
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
  for (const Value& item : items)
    sum = operate("+", sum, attribute == nullptr ? item : get_path(item, *attribute), budget);
  return sum;
}

Value extreme_of(std::string_view name, const List& items) {
  if (items.empty()) return Undefined{std::string(name)};
  const auto found = name == "min" ? std::ranges::min_element(items, less) : std::ranges::max_element(items, less);
  return *found;
}

List unique_values(const List& items, Budget& budget) {
  List result;
  for (const Value& item : items) {
    budget.take_steps(result.size() * item.weight());
    const auto same = [&](const Value& other) {
      return other == item ||
             (item.is_string() && other.is_string() && to_lower(other.text()) == to_lower(item.text()));
    };
    if (std::ranges::none_of(result, same)) result.push_back(item);
  }
  return result;
}

List sorted_dict(const Value& value, const Arguments& arguments, Budget& budget) {
  arguments.allow(0, {});
  require(value.is_dict(), "dictsort needs a dict, not {}", value.kind());
  List items = dict_list(value.dict(), "items");
  sort_values(items, {.positional = {}, .named = {{"attribute", Value(std::int64_t{0})}}}, budget);
  return items;
}

std::string json_of(const Value& value, const Arguments& arguments) {
  arguments.allow(4, {"ensure_ascii", "indent", "separators", "sort_keys"});
  const Value* indent = arguments.find(1, "indent");
  const Value* ascii = arguments.find(0, "ensure_ascii");
  const Value* sorted = arguments.find(3, "sort_keys");
  require(arguments.find(2, "separators") == nullptr, "tojson: separators are not supported");
  JsonStyle style{.ascii = ascii != nullptr && ascii->truth(), .sort_keys = sorted != nullptr && sorted->truth()};
  if (indent != nullptr && !indent->is<None>()) {
    const std::int64_t spaces = integer_of(*indent, "the indentation");
    require(spaces >= 0 && spaces <= 100, "tojson: the indentation must be 0 to 100");
    style.indent = static_cast<int>(spaces);
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
  if (name == "escape" || name == "e") return escape_html(text());
  if (name == "indent") return indent_text(text(), arguments, budget);
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
    return string_method(text(), "replace", rest, budget).text();
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
  List items = nothing ? List{} : items_of(value, budget);
  if (name == "first") return items.empty() ? Value(Undefined{"first"}) : items.front();
  if (name == "last") return items.empty() ? Value(Undefined{"last"}) : items.back();
  if (name == "list") return items;
  if (name == "sum") return sum_of(items, arguments, budget);
  if (name == "min" || name == "max") return extreme_of(name, items);
  if (name == "unique") return unique_values(items, budget);
  if (name == "map") return map_values(items, arguments, budget);
  if (name == "sort") {
    sort_values(items, arguments, budget);
    return items;
  }
  if (name == "reverse") {
    std::ranges::reverse(items);
    if (!value.is_string()) return items;
    return Value(join_values(items, {}, budget));
  }
  return choose(name, items, arguments);
}

/// Where a Python slice goes on from a bound that may be missing or negative.
std::int64_t bound(const Value& value, std::int64_t size, std::int64_t absent, std::int64_t lowest,
                   std::int64_t highest) {
  if (value.is<None>()) return absent;
  std::int64_t at = integer_of(value, "the bound of a slice");
  if (at < 0) at = std::max<std::int64_t>(at, -size - 1) + size;
  return std::clamp(at, lowest, highest);
}

}  // namespace

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
      return to_utf8({&points[static_cast<std::size_t>(index)], 1});
    }
  }
  return Undefined{key.is_string() ? key.text() : to_text(key)};
}

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
  if (auto text = filter_text(name, value, arguments, budget)) return made(*std::move(text), budget);
  if (auto result = filter_list(name, value, arguments, budget)) return *result;
  if (name == "items") {
    if (value.is<Undefined>()) return List{};
    require(value.is_dict(), "items needs a dict, not {}", value.kind());
    return made(dict_list(value.dict(), "items"), budget);
  }
  if (name == "dictsort") return sorted_dict(value, arguments, budget);
  if (name == "int") return to_integer(value, arguments.find(0, "default"));
  if (name == "float") return to_float(value, arguments.find(0, "default"));
  if (name == "round") return round_number(value, arguments);
  if (name == "abs") {
    require(value.is_number(), "abs needs a number, not {}", value.kind());
    if (value.is<double>()) return std::abs(value.as<double>());
    return value.integer() < 0 ? operate("-", std::int64_t{0}, value, budget) : Value(value.integer());
  }
  fail("the filter \"{}\" is not among those that rapt supports", printable(name));
}

bool apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  const auto other = [&]() -> const Value& {
    require(arguments.positional.size() == 1, "the test \"{}\" needs one argument", name);
    return arguments.positional[0];
  };
  if (name == "defined") return !value.is<Undefined>();
  if (name == "undefined") return value.is<Undefined>();
  if (name == "none") return value.is<None>();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_dict();
  if (name == "sequence") return is_sized(value);
  if (name == "iterable") return is_sized(value) || value.is<Undefined>();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is<std::int64_t>();
  if (name == "float") return value.is<double>();
  if (name == "boolean") return value.is<bool>();
  if (name == "true") return value.is<bool>() && value.as<bool>();
  if (name == "false") return value.is<bool>() && !value.as<bool>();
  if (name == "callable") return value.is<Function>();
  if (name == "odd" || name == "even") return (integer_of(value, "what is odd or even") % 2 != 0) == (name == "odd");
  if (name == "divisibleby") {
    const std::int64_t divisor = integer_of(other(), "a divisor");
    require(divisor != 0, "division by zero");
    return divisor == -1 || integer_of(value, "what is divided") % divisor == 0;
  }
  if (name == "eq" || name == "equalto" || name == "==") return value == other();
  if (name == "sameas") return value.kind() == other().kind() && value == other();
  if (name == "ne") return !(value == other());
  if (name == "lt" || name == "lessthan") return compare("<", value, other());
  if (name == "le") return compare("<=", value, other());
  if (name == "gt" || name == "greaterthan") return compare(">", value, other());
  if (name == "ge") return compare(">=", value, other());
  if (name == "in") return compare("in", value, other());
  if (name == "lower") return to_lower(to_text(value)) == to_text(value) && to_upper(to_text(value)) != to_text(value);
  if (name == "upper") return to_upper(to_text(value)) == to_text(value) && to_lower(to_text(value)) != to_text(value);
  fail("the test \"{}\" is not among those that rapt supports", printable(name));
}

Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget) {
  if (object.is_string()) return string_method(object.text(), name, arguments, budget);
  if (object.is_dict()) return dict_method(object.dict(), name, arguments, budget);
  if (object.is<Undefined>())
    fail("\"{}\" is undefined, so that it has no {}()", printable(object.as<Undefined>().name), printable(name));
  fail("{} has no method \"{}\" that rapt supports", object.kind(), printable(name));
}

bool compare(std::string_view sign, const Value& left, const Value& right) {
  if (sign == "==") return left == right;
  if (sign == "!=") return !(left == right);
  if (sign == "not in") return !compare("in", left, right);
  if (sign == "in") {
    if (right.is_string())
      return right.text().find(text_of(left, "what is looked for in a string")) != std::string::npos;
    if (right.is_dict()) return find(right.dict(), left) != nullptr;
    if (right.is<Undefined>()) return false;
    require(right.is_list(), "{} has no items to look at", right.kind());
    return std::ranges::find(right.list(), left) != right.list().end();
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
    return result;
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
  if (object.is_list()) return result;
  return made(join_values(result, {}, budget), budget);
}

}  // namespace rapt::jinja
