/// JSON from files nobody vouches for. This is the only place that parses JSON from disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rapt {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

/// What a text may ask for before it is refused.
struct JsonLimits {
  std::size_t bytes = std::size_t{1} << 24;
  std::size_t depth = 64;                      ///< objects and arrays within each other
  std::size_t values = std::size_t{1} << 22;   ///< objects, arrays, strings, numbers, ...; each takes up to 100 bytes
  std::size_t members = std::size_t{1} << 22;  ///< of one object
};

/// Parses JSON strictly (RFC 8259, a byte order mark at the start allowed): throws Error that names `file`, the place
/// and the key for a syntax error, invalid UTF-8, a number beyond double, a key given twice in an object, or a limit
/// passed. Time and memory are linear in the text, and the depth of the stack does not depend on it.
Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits = {});
Json read_json(const std::filesystem::path& file, const JsonLimits& limits = {});

/// JSON to be written to a file: indented by two, a newline at the end. Throws Error for text that is not UTF-8.
std::string json_text(const OrderedJson& value);
/// The same on one line, without spaces and newline.
std::string json_line(const OrderedJson& value);

/// Allowed values of an integer, bounds included.
struct IntegerRange {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

/// Allowed values of a number, bounds included unless said otherwise.
struct NumberRange {
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  bool exclude_min = false;
};

/// An object of a JSON file, read key by key. It remembers which keys were asked for, so that the caller can demand at
/// the end that nothing was overlooked. Each getter throws Error naming file, key path, expected and found:
///   config.json: "d_model": expected an integer >= 1, found "abc"
/// The find_ getters give nothing for a key that is absent or null, the others insist on it. Copies are handles to the
/// same object, and remember together. Not thread-safe.
class JsonObject {
 public:
  /// Throws Error unless the whole text is one object.
  static JsonObject parse(std::string_view text, const std::string& file, const JsonLimits& limits = {});
  static JsonObject read(const std::filesystem::path& file, const JsonLimits& limits = {});

  /// Whether the key is there and not null. Does not count as reading it.
  bool has(std::string_view key) const;
  /// All keys, sorted.
  std::vector<std::string> keys() const;
  /// The file's name, for messages.
  const std::string& file() const;

  std::int64_t integer(std::string_view key, IntegerRange range = {}) const;
  std::optional<std::int64_t> find_integer(std::string_view key, IntegerRange range = {}) const;
  double number(std::string_view key, NumberRange range = {}) const;
  std::optional<double> find_number(std::string_view key, NumberRange range = {}) const;
  bool boolean(std::string_view key) const;
  std::optional<bool> find_boolean(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::optional<std::string> find_text(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key, IntegerRange range = {}) const;
  std::optional<std::vector<std::int64_t>> find_integers(std::string_view key, IntegerRange range = {}) const;
  std::vector<std::string> texts(std::string_view key) const;
  std::optional<std::vector<std::string>> find_texts(std::string_view key) const;
  /// An object within this one; its keys count as keys of this one ("rope_scaling.factor").
  JsonObject object(std::string_view key) const;
  std::optional<JsonObject> find_object(std::string_view key) const;
  std::vector<JsonObject> objects(std::string_view key) const;
  std::optional<std::vector<JsonObject>> find_objects(std::string_view key) const;
  /// The value as it is, for what the getters cannot express; read as a whole. Null when the key is absent. Lives as
  /// long as any handle to the file.
  const Json& value(std::string_view key) const;

  /// Throws Error: `file: "key": expected <expected>, found <the value>`.
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;

  /// The paths of the keys that nobody read, neither here nor in objects read from here, except those in `irrelevant`
  /// (paths from this object; one that names an object covers all of it).
  std::vector<std::string> unread(std::span<const std::string_view> irrelevant = {}) const;
  /// Throws Error naming the keys that unread() gives, unless there are none.
  void require_all_read(std::span<const std::string_view> irrelevant = {}) const;

 private:
  struct Node;
  explicit JsonObject(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  static JsonObject of(Json value, const std::string& file);

  const Json* find(std::string_view key) const;
  std::optional<JsonObject> child(const Json& value, const std::string& path) const;
  template <typename T, typename Convert>
  std::optional<std::vector<T>> find_list(std::string_view key, std::string_view expected_item, Convert convert) const;
  template <typename T>
  T demand(std::optional<T> value, std::string_view key, std::string_view expected) const;

  std::shared_ptr<Node> node_;
};

}  // namespace rapt
