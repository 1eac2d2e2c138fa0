// Methods of strings and dicts.

#include <algorithm>

#include "core/error.h"
#include "formats/printable.h"
#include "text/replace.h"
#include "text/template/operands.h"

namespace rapt::jinja {
namespace {

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

/// Python's splitlines(), which knows more ends of lines than most do.
List split_lines(std::string_view text, bool keeps_ends) {
  List lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    const std::size_t end = at;
    at += step.length;
    constexpr std::u32string_view ends = U"\n\r\v\f\x1C\x1D\x1E\u0085\u2028\u2029";
    if (ends.find(step.code_point) == ends.npos) continue;
    if (step.code_point == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(std::string(text.substr(begin, (keeps_ends ? at : end) - begin)));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(std::string(text.substr(begin)));
  return lines;
}

/// partition() and rpartition(): what is before a separator, the separator, and what is behind it.
Value cut_in_three(std::string_view text, const std::string& by, bool from_right) {
  require(!by.empty(), "what splits a string must not be empty");
  const std::size_t found = from_right ? text.rfind(by) : text.find(by);
  std::string_view parts[] = {text, "", ""};
  if (found == text.npos && from_right) std::swap(parts[0], parts[2]);
  if (found != text.npos) {
    parts[0] = text.substr(0, found);
    parts[1] = by;
    parts[2] = text.substr(found + by.size());
  }
  List list;
  for (const std::string_view part : parts) list.emplace_back(std::string(part));
  return Value::tuple(std::move(list));
}

/// isalpha(), isupper() and the like: what holds for every character of a text that is not empty, or, of case, for
/// every letter that has one.
std::optional<bool> has_only(const std::string& text, std::string_view name) {
  const std::u32string points = to_code_points(text);
  const auto all = [&](auto holds) { return !points.empty() && std::ranges::all_of(points, holds); };
  if (name == "isdigit") return all([](char32_t c) { return c >= '0' && c <= '9'; });
  if (name == "isspace") return all([](char32_t c) { return is_whitespace(c); });
  if (name == "isalpha") return all([](char32_t c) { return (classes_of(c) & kLetter) != 0; });
  if (name == "isalnum") return all([](char32_t c) { return (classes_of(c) & (kLetter | kNumber)) != 0; });
  if (name == "isupper") return to_upper(text) == text && to_lower(text) != text;
  if (name == "islower") return to_lower(text) == text && to_upper(text) != text;
  return std::nullopt;
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
  if (name == "format") return format_fields(text, arguments, budget);
  const bool known_by_one = name == "startswith" || name == "endswith" || name == "find" || name == "rfind" ||
                            name == "index" || name == "count";
  arguments.allow(known_by_one ? 1 : 3, {"keepends"});
  if (name == "startswith") return has_affix(text, argument(0), true);
  if (name == "endswith") return has_affix(text, argument(0), false);
  if (name == "upper") return made(to_upper(text), budget);
  if (name == "lower") return made(to_lower(text), budget);
  if (name == "title") {
    const auto is_no_letter = [](char32_t c) { return (classes_of(c) & kLetter) == 0; };
    return made(capitalize(text, is_no_letter), budget);
  }
  if (name == "capitalize") return made(capitalize_first(text), budget);
  if (name == "splitlines") {
    const Value* keeps = arguments.find(0, "keepends");
    return made(split_lines(text, keeps != nullptr && keeps->truth()), budget);
  }
  if (name == "partition" || name == "rpartition")
    return cut_in_three(text, text_of(argument(0), "what splits a string"), name == "rpartition");
  if (name == "join") {
    const List items = items_of(argument(0), budget);
    for (const Value& item : items) text_of(item, "what is joined");
    return apply_filter("join", items, {.positional = {Value(text)}, .named = {}}, budget);
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
  if (name == "find" || name == "rfind" || name == "index") {
    const std::string& part = text_of(argument(0), "what is looked for");
    const std::size_t found = name == "rfind" ? text.rfind(part) : text.find(part);
    require(found != text.npos || name != "index", "index(): the string does not hold what is looked for");
    if (found == text.npos) return std::int64_t{-1};
    return static_cast<std::int64_t>(length_of(text.substr(0, found)));
  }
  if (name == "count") {
    const std::string& part = text_of(argument(0), "what is counted");
    require(!part.empty(), "what is counted must not be empty");
    return static_cast<std::int64_t>(split_text(text, &argument(0), -1).size()) - 1;
  }
  if (const auto holds = has_only(text, name)) return *holds;
  fail("strings have no method \"{}\" that rapt supports", printable(name));
}

Value dict_method(const Dict& dict, std::string_view name, const Arguments& arguments, Budget& budget) {
  budget.take_steps(dict.size() / 8);
  for (const char* view : {"dict_items", "dict_keys", "dict_values"}) {
    if (name != std::string_view(view).substr(5)) continue;
    budget.take_steps(dict.size());
    return Items{std::make_shared<List>(dict_list(dict, name)), view};
  }
  if (name == "copy") return dict;
  if (name == "get") {
    arguments.allow(2, {});
    require(!arguments.positional.empty(), "get() needs a key");
    if (const Value* found = find(dict, arguments.positional[0])) return *found;
    return arguments.positional.size() > 1 ? arguments.positional[1] : Value(None{});
  }
  fail("dicts have no method \"{}\" that rapt supports", printable(name));
}

/// Methods of texts that are marked as safe: what they make is safe, too, and what they are given would be escaped.
Value safe_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget) {
  for (const std::string_view same : {"strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize"}) {
    if (name == same) return Value::safe(string_method(object.text(), name, arguments, budget).text());
  }
  for (const std::string_view plain : {"startswith", "endswith", "find", "rfind", "index", "count"}) {
    if (name == plain) return string_method(object.text(), name, arguments, budget);
  }
  if (const auto holds = has_only(object.text(), name)) return *holds;
  fail("strings that the filters safe and escape make have no method \"{}\" that rapt supports", printable(name));
}

}  // namespace

Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget) {
  if (object.is_safe()) return safe_method(object, name, arguments, budget);
  if (object.is_string()) return string_method(object.text(), name, arguments, budget);
  if (object.is_list() && name == "copy") return object;
  if (object.is_dict()) return dict_method(object.dict(), name, arguments, budget);
  if (object.is<Undefined>())
    fail("\"{}\" is undefined, so that it has no {}()", printable(object.as<Undefined>().name), printable(name));
  fail("{} has no method \"{}\" that rapt supports", object.kind(), printable(name));
}

}  // namespace rapt::jinja
