#include "formats/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "formats/file.h"
#include "formats/foreign.h"
#include "formats/printable.h"

namespace rapt {
namespace {

/// Line and column, both from 1, of a byte of a text.
struct Place {
  std::size_t line = 1;
  std::size_t column = 1;
};

Place place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, byte);
  const std::size_t newline = before.rfind('\n');
  return {.line = static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')) + 1,
          .column = newline == std::string_view::npos ? byte + 1 : byte - newline};
}

/// The parser's own message without its prefix and without what it read, which may be megabytes.
std::string reason(std::string_view message) {
  message.remove_prefix(std::min(message.size(), message.find("] ") + 2));
  constexpr std::string_view at = "parse error at ";
  if (message.starts_with(at)) message.remove_prefix(std::min(message.size(), message.find(": ") + 2));
  return printable(message.substr(0, message.find("; last read")));
}

/// Receives the events of the parser, checks them and builds the value.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Builder(std::string_view text, const std::string& file, const JsonLimits& limits)
      : text_(text), file_(file), limits_(limits) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) { return add(value); }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) { return add(value); }
  bool string(string_t& value) { return add(std::move(value)); }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    Level& level = open_.back();
    auto& members = level.value->get_ref<Json::object_t&>();
    require(members.size() < limits_.members, "{}: an object holds more than {} keys", file_, limits_.members);
    const auto [member, is_new] = members.try_emplace(std::move(name));
    level.member = &member->second;
    level.key = &member->first;
    if (!is_new) fail("{}: \"{}\": the key is given twice in one object", file_, path());
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
    const Place place = place_of(text_, std::min(text_.size(), position > 0 ? position - 1 : 0));
    const std::string where = path();
    fail("{}: line {}, column {}{}: not valid JSON: {}", file_, place.line, place.column,
         where.empty() ? "" : fmt::format(", \"{}\"", where), reason(error.what()));
  }

  Json take() { return std::move(root_); }

 private:
  struct Level {
    Json* value = nullptr;
    Json* member = nullptr;            ///< of an object: where the value of the last key goes
    const std::string* key = nullptr;  ///< of an object: the last key
  };

  template <typename T>
  bool add(T&& value) {
    place(std::forward<T>(value));
    return true;
  }

  bool open(Json value) {
    if (open_.size() >= limits_.depth) {
      fail("{}: \"{}\": nested deeper than {} levels", file_, path(), limits_.depth);
    }
    open_.push_back({.value = place(std::move(value))});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  template <typename T>
  Json* place(T&& value) {
    require(++values_ <= limits_.values, "{}: holds more than {} values", file_, limits_.values);
    if (open_.empty()) {
      root_ = std::forward<T>(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.member != nullptr) {
      *level.member = std::forward<T>(value);
      return level.member;
    }
    level.value->push_back(std::forward<T>(value));
    return &level.value->back();
  }

  std::string path() const {
    std::string result;
    for (const Level& level : open_) {
      if (level.key != nullptr) {
        if (!result.empty()) result += '.';
        result += printable(*level.key);
      } else if (level.value->is_array() && !level.value->empty()) {
        result += fmt::format("[{}]", level.value->size() - 1);
      }
    }
    return printable(result, 300);
  }

  std::string_view text_;
  const std::string& file_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Level> open_;
  std::size_t values_ = 0;
};

const Json null_value;

std::string describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_string()) return fmt::format("\"{}\"", printable(value.get_ref<const std::string&>()));
  return value.is_null() ? "nothing" : value.dump();
}

std::string expected_integer(IntegerRange range) {
  const IntegerRange any;
  if (range.min != any.min && range.max != any.max)
    return fmt::format("an integer from {} to {}", range.min, range.max);
  if (range.min != any.min) return fmt::format("an integer >= {}", range.min);
  if (range.max != any.max) return fmt::format("an integer <= {}", range.max);
  return "an integer";
}

std::string expected_number(NumberRange range) {
  const NumberRange any;
  std::string result = "a number";
  if (range.min != any.min) result += fmt::format(" {} {}", range.exclude_min ? ">" : ">=", range.min);
  if (range.max != any.max) result += fmt::format("{} <= {}", range.min != any.min ? " and" : "", range.max);
  return result;
}

std::optional<std::int64_t> to_integer(const Json& value, IntegerRange range) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    return std::nullopt;
  }
  const auto result = value.get<std::int64_t>();
  if (result < range.min || result > range.max) return std::nullopt;
  return result;
}

std::optional<std::string> to_text(const Json& value) {
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

[[noreturn]] void refuse_value(const std::string& file, const std::string& path, std::string_view expected,
                               const Json& found) {
  fail("{}: \"{}\": expected {}, found {}", file, printable(path, 300), expected, describe(found));
}

std::string member_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string dump(const OrderedJson& value, int indent) {
  try {
    return value.dump(indent);
  } catch (const OrderedJson::type_error&) {
    fail("cannot write text that is not UTF-8 as JSON");
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits) {
  require(text.size() <= limits.bytes, "{}: {} bytes of JSON, where at most {} are allowed", file, text.size(),
          limits.bytes);
  const std::string_view advice = advice_about(text);
  if (!advice.empty()) fail("{}: not JSON{}", file, advice);
  // The parser takes NUL for the end of the text and would accept whatever follows it.
  require(text.find('\0') == std::string_view::npos, "{}: not valid JSON: holds a NUL byte", file);
  Builder builder(text, file, limits);
  Json::sax_parse(text, &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& file, const JsonLimits& limits) {
  return parse_json(read_file(file, limits.bytes), shown(file), limits);
}

std::string json_text(const OrderedJson& value) {
  return dump(value, 2) + "\n";
}

std::string json_line(const OrderedJson& value) {
  return dump(value, -1);
}

/// Shared by all handles to one object. `file_root` keeps the values alive.
struct JsonObject::Node {
  std::shared_ptr<const Json> file_root;
  const Json* value = nullptr;
  std::string file;
  std::string path;
  std::set<std::string, std::less<>> read;
  std::map<const Json*, std::shared_ptr<Node>> children;  // objects read from here

  void collect_unread(std::string_view prefix, std::span<const std::string_view> irrelevant,
                      std::vector<std::string>& result) const {
    for (const auto& [key, ignored] : value->items()) {
      const std::string full = member_path(path, key);
      const std::string_view relative = std::string_view(full).substr(prefix.size());
      if (!read.contains(key) && std::ranges::find(irrelevant, relative) == irrelevant.end()) {
        result.emplace_back(relative);
      }
    }
    for (const auto& [ignored, child] : children) child->collect_unread(prefix, irrelevant, result);
  }
};

JsonObject JsonObject::of(Json value, const std::string& file) {
  require(value.is_object(), "{}: expected a JSON object, found {}", file, describe(value));
  auto node = std::make_shared<Node>();
  node->file_root = std::make_shared<const Json>(std::move(value));
  node->value = node->file_root.get();
  node->file = file;
  return JsonObject(std::move(node));
}

JsonObject JsonObject::parse(std::string_view text, const std::string& file, const JsonLimits& limits) {
  return of(parse_json(text, file, limits), file);
}

JsonObject JsonObject::read(const std::filesystem::path& file, const JsonLimits& limits) {
  return of(read_json(file, limits), shown(file));
}

std::optional<JsonObject> JsonObject::child(const Json& value, const std::string& path) const {
  if (!value.is_object()) return std::nullopt;
  std::shared_ptr<Node>& node = node_->children[&value];
  if (node == nullptr) {
    node = std::make_shared<Node>();
    node->file_root = node_->file_root;
    node->value = &value;
    node->file = node_->file;
    node->path = path;
  }
  return JsonObject(node);
}

bool JsonObject::has(std::string_view key) const {
  const auto found = node_->value->find(key);
  return found != node_->value->end() && !found->is_null();
}

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> result;
  for (const auto& [key, ignored] : node_->value->items()) result.push_back(key);
  return result;
}

const std::string& JsonObject::file() const {
  return node_->file;
}

const Json& JsonObject::value(std::string_view key) const {
  node_->read.emplace(key);
  const auto found = node_->value->find(key);
  return found == node_->value->end() ? null_value : *found;
}

const Json* JsonObject::find(std::string_view key) const {
  const Json& found = value(key);
  return found.is_null() ? nullptr : &found;
}

void JsonObject::refuse(std::string_view key, std::string_view expected) const {
  refuse_value(node_->file, member_path(node_->path, key), expected, value(key));
}

template <typename T>
T JsonObject::demand(std::optional<T> found, std::string_view key, std::string_view expected) const {
  if (!found) refuse(key, expected);
  return *std::move(found);
}

std::optional<std::int64_t> JsonObject::find_integer(std::string_view key, IntegerRange range) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  return demand(to_integer(*found, range), key, expected_integer(range));
}

std::int64_t JsonObject::integer(std::string_view key, IntegerRange range) const {
  return demand(find_integer(key, range), key, expected_integer(range));
}

std::optional<double> JsonObject::find_number(std::string_view key, NumberRange range) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number()) refuse(key, expected_number(range));
  const auto result = found->get<double>();
  const bool inside = (range.exclude_min ? result > range.min : result >= range.min) && result <= range.max;
  if (!inside) refuse(key, expected_number(range));
  return result;
}

double JsonObject::number(std::string_view key, NumberRange range) const {
  return demand(find_number(key, range), key, expected_number(range));
}

std::optional<bool> JsonObject::find_boolean(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_boolean()) refuse(key, "true or false");
  return found->get<bool>();
}

bool JsonObject::boolean(std::string_view key) const {
  return demand(find_boolean(key), key, "true or false");
}

std::optional<std::string> JsonObject::find_text(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  return demand(to_text(*found), key, "a string");
}

std::string JsonObject::text(std::string_view key) const {
  return demand(find_text(key), key, "a string");
}

template <typename T, typename Convert>
std::optional<std::vector<T>> JsonObject::find_list(std::string_view key, std::string_view expected_item,
                                                    Convert convert) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_array()) refuse(key, "an array");
  std::vector<T> result;
  result.reserve(found->size());
  for (const Json& item : *found) {
    const std::string item_path = fmt::format("{}[{}]", member_path(node_->path, key), result.size());
    std::optional<T> converted = convert(item, item_path);
    if (!converted) refuse_value(node_->file, item_path, expected_item, item);
    result.push_back(*std::move(converted));
  }
  return result;
}

std::optional<std::vector<std::int64_t>> JsonObject::find_integers(std::string_view key, IntegerRange range) const {
  return find_list<std::int64_t>(key, expected_integer(range),
                                 [&](const Json& item, const std::string&) { return to_integer(item, range); });
}

std::vector<std::int64_t> JsonObject::integers(std::string_view key, IntegerRange range) const {
  return demand(find_integers(key, range), key, "an array");
}

std::optional<std::vector<std::string>> JsonObject::find_texts(std::string_view key) const {
  return find_list<std::string>(key, "a string", [](const Json& item, const std::string&) { return to_text(item); });
}

std::vector<std::string> JsonObject::texts(std::string_view key) const {
  return demand(find_texts(key), key, "an array");
}

std::optional<JsonObject> JsonObject::find_object(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  return demand(child(*found, member_path(node_->path, key)), key, "an object");
}

JsonObject JsonObject::object(std::string_view key) const {
  return demand(find_object(key), key, "an object");
}

std::optional<std::vector<JsonObject>> JsonObject::find_objects(std::string_view key) const {
  return find_list<JsonObject>(key, "an object",
                               [&](const Json& item, const std::string& path) { return child(item, path); });
}

std::vector<JsonObject> JsonObject::objects(std::string_view key) const {
  return demand(find_objects(key), key, "an array");
}

std::vector<std::string> JsonObject::unread(std::span<const std::string_view> irrelevant) const {
  std::vector<std::string> result;
  node_->collect_unread(member_path(node_->path, ""), irrelevant, result);
  std::ranges::sort(result);
  return result;
}

void JsonObject::require_all_read(std::span<const std::string_view> irrelevant) const {
  const std::vector<std::string> left = unread(irrelevant);
  if (left.empty()) return;
  std::string names;
  for (const std::string& key : left) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", printable(key));
  fail("{}: {} not understood: {}; ignoring could change the result", node_->file,
       left.size() == 1 ? "1 key is" : fmt::format("{} keys are", left.size()), printable(names, 400));
}

}  // namespace rapt
