// Texts with places to fill in.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "formats/printable.h"
#include "text/template/operands.h"

namespace rapt::jinja {
namespace {

bool is_place(std::string_view name) {
  return !name.empty() && name.size() < 6 && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_identifier(std::string_view name) {
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// Finds the argument of each field: by its name, by its place, or one after the other.
class Fields {
 public:
  explicit Fields(const Arguments& arguments) : arguments_(arguments) {}

  const Value& find(std::string_view name) {
    require(is_identifier(name), "format(): fields such as {{{}}} are not supported", printable(name));
    if (!name.empty() && !is_place(name)) {
      const Value* value = arguments_.find(std::string_view::npos, name);
      require(value != nullptr, "format() has no argument \"{}\"", printable(name));
      return *value;
    }
    (name.empty() ? counts_ : places_) = true;
    require(!counts_ || !places_, "format(): some fields have numbers and some have none");
    std::size_t index = next_;
    if (name.empty()) {
      ++next_;
    } else {
      std::from_chars(name.data(), name.data() + name.size(), index);
    }
    require(index < arguments_.positional.size(), "format() has no argument {}", index);
    return arguments_.positional[index];
  }

 private:
  const Arguments& arguments_;
  std::size_t next_ = 0;
  bool counts_ = false;
  bool places_ = false;
};

std::string whole_number(const Value& value) {
  if (value.is_integer()) return std::to_string(value.integer());
  require(value.is<double>() && std::abs(value.as<double>()) < 9e18, "%d needs a number, not {}", value.kind());
  return std::to_string(static_cast<std::int64_t>(value.as<double>()));
}

}  // namespace

std::string format_fields(std::string_view text, const Arguments& arguments, Budget& budget) {
  Fields fields(arguments);
  std::string result;
  while (!text.empty()) {
    const std::size_t brace = std::min(text.find_first_of("{}"), text.size());
    result += text.substr(0, brace);
    text.remove_prefix(brace);
    if (text.empty()) break;
    if (text.starts_with("{{") || text.starts_with("}}")) {
      result += text[0];
      text.remove_prefix(2);
      continue;
    }
    const std::size_t end = text.find('}');
    require(text[0] == '{' && end != text.npos, "format(): a brace has no counterpart");
    const Value& value = fields.find(text.substr(1, end - 1));
    budget.take_steps(value.weight());
    const std::string part = to_text(value);
    budget.take_bytes(part.size());
    result += part;
    text.remove_prefix(end + 1);
  }
  return result;
}

std::string format_signs(std::string_view text, const Value& values, Budget& budget) {
  const List items = values.is<Tuple>() ? values.list() : List{values};
  std::size_t next = 0;
  std::string result;
  while (!text.empty()) {
    const std::size_t sign = std::min(text.find('%'), text.size());
    result += text.substr(0, sign);
    text.remove_prefix(sign);
    if (text.empty()) break;
    const char conversion = text.size() > 1 ? text[1] : ' ';
    require(conversion == '%' || conversion == 's' || conversion == 'd',
            "of what may follow \"%\" in a format, rapt supports s, d and % alone");
    text.remove_prefix(2);
    if (conversion == '%') {
      result += '%';
      continue;
    }
    require(next < items.size(), "a format asks for more than {} values", items.size());
    budget.take_steps(items[next].weight());
    const std::string part = conversion == 's' ? to_text(items[next]) : whole_number(items[next]);
    ++next;
    budget.take_bytes(part.size());
    result += part;
  }
  require(next == items.size(), "a format uses {} of {} values", next, items.size());
  return result;
}

}  // namespace rapt::jinja
