// Tests: what may follow "is".

#include "core/error.h"
#include "formats/printable.h"
#include "text/template/operands.h"

namespace rapt::jinja {

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
  if (name == "iterable") return is_sized(value) || value.is<Undefined>() || value.is<Items>();
  if (name == "escaped") return value.is_safe();
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

}  // namespace rapt::jinja
