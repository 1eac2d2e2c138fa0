#include "text/template/interpreter.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "formats/printable.h"
#include "text/template/builtins.h"
#include "text/unicode.h"

namespace rapt::jinja {
namespace {

using Kind = Expression::Kind;

/// The variables of a part of a template, and of what it stands in.
struct Scope {
  Variables variables;
  const Scope* parent = nullptr;

  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
      if (const auto found = scope->variables.find(name); found != scope->variables.end()) return &found->second;
    }
    return nullptr;
  }
};

constexpr std::string_view kFunctions[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};

class Interpreter final : public Budget {
 public:
  Interpreter(const Variables& variables, const std::tm& now, const Limits& limits) : now_(now), limits_(limits) {
    top_.variables = variables;
  }

  std::string run(const Block& block) {
    std::string text;
    run_block(block, top_, text);
    return text;
  }

  void take_steps(std::size_t steps) override {
    steps_ += steps;
    require(steps_ <= limits_.steps, "the template takes more than {} steps", limits_.steps);
  }
  void take_bytes(std::size_t bytes) override {
    bytes_ += bytes;
    require(bytes_ <= limits_.bytes, "the template makes more than {} bytes of text", limits_.bytes);
  }

 private:
  /// How a statement ended: a loop looks at it.
  enum class Flow { next, broken, continued };

  // Statements.

  Flow run_block(const Block& block, Scope& scope, std::string& text) {
    for (const Statement& statement : block) {
      const Flow flow = run_statement(statement, scope, text);
      if (flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Flow run_statement(const Statement& statement, Scope& scope, std::string& text) {
    take_steps(1);
    line_ = statement.line;
    switch (statement.kind) {
      case Statement::Kind::text:
        append(statement.name, text);
        break;
      case Statement::Kind::print:
        append(write_out(evaluate(*statement.expression, scope)), text);
        break;
      case Statement::Kind::condition:
        return run_block(evaluate(*statement.expression, scope).truth() ? statement.body : statement.otherwise, scope,
                         text);
      case Statement::Kind::loop:
        run_loop(statement, scope, text);
        break;
      case Statement::Kind::assignment:
        assign(statement, evaluate(*statement.expression, scope), scope);
        break;
      case Statement::Kind::capture:
        capture(statement, scope);
        break;
      case Statement::Kind::macro:
        scope.variables.insert_or_assign(statement.name, Function{statement.name, &statement});
        break;
      case Statement::Kind::group:
        return run_block(statement.body, scope, text);
      case Statement::Kind::break_loop:
        return Flow::broken;
      case Statement::Kind::continue_loop:
        return Flow::continued;
    }
    return Flow::next;
  }

  std::string write_out(const Value& value) {
    take_steps(value.weight());
    return to_text(value);
  }

  void append(std::string_view part, std::string& text) {
    take_bytes(part.size());
    text += part;
  }

  /// Gives names their values: one name the whole value, several names an item each.
  void bind(const std::vector<std::string>& names, const Value& value, Scope& scope) {
    if (names.size() == 1) {
      scope.variables.insert_or_assign(names.front(), value);
      return;
    }
    const List items = items_of(value, *this);
    require(items.size() == names.size(), "{} values for {} names", items.size(), names.size());
    for (std::size_t i = 0; i < names.size(); ++i) scope.variables.insert_or_assign(names[i], items[i]);
  }

  void assign(const Statement& statement, const Value& value, Scope& scope) {
    if (statement.attribute.empty()) return bind(statement.targets, value, scope);
    const Value* space = scope.find(statement.targets.front());
    require(space != nullptr && space->is<std::shared_ptr<Namespace>>(),
            "\"{}\" is no namespace, so that its attributes cannot be set", printable(statement.targets.front()));
    set(*space->as<std::shared_ptr<Namespace>>(), statement.attribute, value);
  }

  static void set(Namespace& space, const std::string& name, const Value& value) {
    require(!value.is<std::shared_ptr<Namespace>>() && !value.is<Loop>(), "{} cannot be put into a namespace",
            value.kind());
    space.insert_or_assign(name, value);
  }

  void capture(const Statement& statement, Scope& scope) {
    Scope inner{.variables = {}, .parent = &scope};
    std::string text;
    run_block(statement.body, inner, text);
    Value value = std::move(text);
    if (statement.expression != nullptr) {
      inner.variables.insert_or_assign(kCaptured, value);
      value = evaluate(*statement.expression, inner);
    }
    bind(statement.targets, value, scope);
  }

  void run_loop(const Statement& statement, Scope& scope, std::string& text) {
    List items = items_of(evaluate(*statement.expression, scope), *this);
    if (statement.filter != nullptr) {
      std::erase_if(items, [&](const Value& item) {
        Scope inner{.variables = {}, .parent = &scope};
        bind(statement.targets, item, inner);
        return !evaluate(*statement.filter, inner).truth();
      });
    }
    if (items.empty()) {
      Scope inner{.variables = {}, .parent = &scope};
      run_block(statement.otherwise, inner, text);
      return;
    }
    const auto shared = std::make_shared<const List>(std::move(items));
    for (std::size_t i = 0; i < shared->size(); ++i) {
      take_steps(1);
      Scope inner{.variables = {}, .parent = &scope};
      bind(statement.targets, (*shared)[i], inner);
      inner.variables.insert_or_assign("loop", Loop{shared, i});
      const Flow flow = run_block(statement.body, inner, text);
      if (flow == Flow::broken) break;
    }
  }

  // Expressions.

  Value evaluate(const Expression& expression, const Scope& scope) {
    take_steps(1);
    line_ = expression.line;
    const auto part = [&](std::size_t index) { return evaluate(*expression.parts[index], scope); };
    switch (expression.kind) {
      case Kind::literal:
        return expression.value;
      case Kind::name:
        return look_up(expression.name, scope);
      case Kind::list:
      case Kind::tuple: {
        List list;
        for (const ExpressionPtr& item : expression.parts) list.push_back(evaluate(*item, scope));
        return expression.kind == Kind::list ? Value(std::move(list)) : Value::tuple(std::move(list));
      }
      case Kind::dict:
        return make_dict(expression, scope);
      case Kind::attribute:
        return attribute_of(part(0), expression.name);
      case Kind::item:
        return item_of(expression, scope);
      case Kind::slice: {
        const auto bound = [&](std::size_t index) {
          return expression.parts[index] == nullptr ? Value(None{}) : part(index);
        };
        return slice(part(0), bound(1), bound(2), bound(3), *this);
      }
      case Kind::call:
        return call(expression, scope);
      case Kind::filter:
        return apply_filter(expression.name, part(0), arguments_of(expression, scope), *this);
      case Kind::test:
        return test(expression, scope);
      case Kind::negation:
        return !part(0).truth();
      case Kind::conjunction: {
        Value left = part(0);
        return left.truth() ? part(1) : left;
      }
      case Kind::disjunction: {
        Value left = part(0);
        return left.truth() ? left : part(1);
      }
      case Kind::comparison: {
        const Value left = part(0);
        const Value right = part(1);
        take_steps(left.weight() + right.weight());
        return compare(expression.name, left, right) && compare_on(expression, right, scope);
      }
      case Kind::operation: {
        const Value left = part(0);
        return operate(expression.name, left, part(1), *this);
      }
      case Kind::minus: {
        const Value value = part(0);
        return value.is<double>() ? Value(-value.as<double>()) : operate("-", std::int64_t{0}, value, *this);
      }
      case Kind::plus:
        return operate("+", std::int64_t{0}, part(0), *this);
      case Kind::conditional:
        if (part(0).truth()) return part(1);
        return expression.parts[2] == nullptr ? Value(Undefined{"the value of a condition without else"}) : part(2);
    }
    return {};
  }

  /// The comparisons of a chain behind the first, up to one that does not hold.
  bool compare_on(const Expression& chain, Value left, const Scope& scope) {
    for (const auto& [sign, operand] : chain.named) {
      Value right = evaluate(*operand, scope);
      take_steps(left.weight() + right.weight());
      if (!compare(sign, left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  bool test(const Expression& expression, const Scope& scope) {
    const Value value = evaluate(*expression.parts[0], scope);
    const Arguments arguments = arguments_of(expression, scope);
    for (const Value& argument : arguments.positional) take_steps(argument.weight());
    if (!arguments.positional.empty()) take_steps(value.weight());
    return apply_test(expression.name, value, arguments);
  }

  Value look_up(const std::string& name, const Scope& scope) const {
    if (const Value* found = scope.find(name)) return *found;
    if (std::ranges::find(kFunctions, name) != std::end(kFunctions)) return Function{name, nullptr};
    return Undefined{name};
  }

  Value make_dict(const Expression& expression, const Scope& scope) {
    Dict dict;
    for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
      put(dict, evaluate(*expression.parts[i], scope), evaluate(*expression.parts[i + 1], scope));
    }
    return dict;
  }

  void put(Dict& dict, const Value& key, Value value) {
    take_steps(1 + dict.size() / 8);
    require(key.is_string() || key.is_number() || key.is<None>(), "{} cannot be the key of a dict", key.kind());
    const auto found = std::ranges::find_if(dict, [&](const auto& entry) { return entry.first == key; });
    if (found != dict.end()) {
      found->second = std::move(value);
    } else {
      dict.emplace_back(key, std::move(value));
    }
  }

  Value item_of(const Expression& expression, const Scope& scope) {
    const Value object = evaluate(*expression.parts[0], scope);
    const Value key = evaluate(*expression.parts[1], scope);
    if (object.is_string()) take_steps(object.text().size() / 16);
    if (object.is_dict()) take_steps(object.dict().size() / 8);
    if (object.is<Loop>() && key.is_string()) return attribute_of(object, key.text());
    return get_item(object, key);
  }

  Value attribute_of(const Value& object, const std::string& name) {
    if (object.is<Loop>()) return loop_attribute(object.as<Loop>(), name);
    if (object.is_dict()) take_steps(object.dict().size() / 8);
    if (object.is<Function>()) fail("attributes of functions, such as \"{}\", are not supported", printable(name));
    if (name.starts_with("__"))
      fail("attributes with two underscores, such as \"{}\", are not accessible", printable(name));
    return get_item(object, Value(name));
  }

  static Value loop_attribute(const Loop& loop, std::string_view name) {
    const std::size_t size = loop.items->size();
    const auto number = [](std::size_t value) { return Value(static_cast<std::int64_t>(value)); };
    if (name == "index") return number(loop.index + 1);
    if (name == "index0") return number(loop.index);
    if (name == "revindex") return number(size - loop.index);
    if (name == "revindex0") return number(size - loop.index - 1);
    if (name == "first") return loop.index == 0;
    if (name == "last") return loop.index + 1 == size;
    if (name == "length") return number(size);
    if (name == "depth") return number(1);  // of recursion, which is not supported
    if (name == "depth0") return number(0);
    if (name == "previtem") return loop.index == 0 ? Value(Undefined{"loop.previtem"}) : (*loop.items)[loop.index - 1];
    if (name == "nextitem")
      return loop.index + 1 == size ? Value(Undefined{"loop.nextitem"}) : (*loop.items)[loop.index + 1];
    fail("loop.{} is not supported", printable(name));
  }

  Arguments arguments_of(const Expression& expression, const Scope& scope) {
    Arguments arguments;
    for (const ExpressionPtr& argument : expression.arguments)
      arguments.positional.push_back(evaluate(*argument, scope));
    for (const auto& [name, argument] : expression.named)
      arguments.named.emplace_back(name, evaluate(*argument, scope));
    line_ = expression.line;
    return arguments;
  }

  Value call(const Expression& expression, const Scope& scope) {
    const Expression& callee = *expression.parts[0];
    if (callee.kind == Kind::attribute) {
      const Value object = evaluate(*callee.parts[0], scope);
      const Arguments arguments = arguments_of(expression, scope);
      if (object.is<Loop>() && callee.name == "cycle") return cycle(object.as<Loop>(), arguments);
      return call_method(object, callee.name, arguments, *this);
    }
    const Value function = evaluate(callee, scope);
    if (function.is<Undefined>()) {
      fail("\"{}\" is not among the functions that rapt supports", printable(function.as<Undefined>().name));
    }
    require(function.is<Function>(), "{} cannot be called", function.kind());
    const Arguments arguments = arguments_of(expression, scope);
    const Function& called = function.as<Function>();
    return called.macro == nullptr ? call_function(called.name, arguments) : call_macro(*called.macro, arguments);
  }

  static Value cycle(const Loop& loop, const Arguments& arguments) {
    require(!arguments.positional.empty(), "loop.cycle() needs values");
    return arguments.positional[loop.index % arguments.positional.size()];
  }

  Value call_macro(const Statement& macro, const Arguments& arguments) {
    require(++depth_ <= limits_.depth, "macros call each other more than {} deep", limits_.depth);
    require(arguments.positional.size() <= macro.targets.size(), "the macro \"{}\" takes {} arguments, not {}",
            printable(macro.name), macro.targets.size(), arguments.positional.size());
    for (const auto& [name, value] : arguments.named) {
      require(std::ranges::find(macro.targets, name) != macro.targets.end(), "the macro \"{}\" has no parameter \"{}\"",
              printable(macro.name), printable(name));
    }
    Scope scope{.variables = {}, .parent = &top_};
    const std::size_t required = macro.targets.size() - macro.defaults.size();
    for (std::size_t i = 0; i < macro.targets.size(); ++i) {
      const std::string& name = macro.targets[i];
      const Value* given = arguments.find(i, name);
      Value value = given != nullptr ? *given
                    : i >= required  ? evaluate(*macro.defaults[i - required], scope)
                                     : Value(Undefined{name});
      scope.variables.insert_or_assign(name, std::move(value));
    }
    std::string text;
    run_block(macro.body, scope, text);
    --depth_;
    return text;
  }

  Value call_function(std::string_view name, const Arguments& arguments) {
    if (name == "raise_exception") {
      require(!arguments.positional.empty(), "raise_exception() needs a message");
      fail("the template refuses: {}", printable(to_text(arguments.positional.front()), 400));
    }
    if (name == "range") return range(arguments);
    if (name == "strftime_now") return format_time(arguments);
    if (name == "dict") {
      Dict dict;
      require(arguments.positional.empty(), "dict() takes named arguments alone");
      for (const auto& [key, value] : arguments.named) put(dict, Value(key), value);
      return dict;
    }
    auto space = std::make_shared<Namespace>();
    for (const Value& source : arguments.positional) {
      require(source.is_dict(), "namespace() takes dicts and named arguments");
      for (const auto& [key, value] : source.dict()) set(*space, to_text(key), value);
    }
    for (const auto& [key, value] : arguments.named) set(*space, key, value);
    return space;
  }

  Value range(const Arguments& arguments) {
    const std::size_t count = arguments.positional.size();
    require(count >= 1 && count <= 3 && std::ranges::all_of(arguments.positional, &Value::is_integer),
            "range() takes one to three integers");
    const std::int64_t start = count == 1 ? 0 : arguments.positional[0].integer();
    const std::int64_t stop = arguments.positional[count == 1 ? 0 : 1].integer();
    const std::int64_t step = count == 3 ? arguments.positional[2].integer() : 1;
    require(step != 0, "the step of range() is zero");
    List list;
    for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
      take_steps(1);
      list.emplace_back(at);
      if (__builtin_add_overflow(at, step, &at)) break;
    }
    return list;
  }

  /// The time that Python's now() tells is of no time zone.
  static std::string without_zone(std::string_view format) {
    std::string result;
    for (std::size_t i = 0; i < format.size(); ++i) {
      const bool sign = format[i] == '%' && i + 1 < format.size();
      if (!sign) {
        result += format[i];
      } else if (const char conversion = format[++i]; conversion != 'Z' && conversion != 'z') {
        result += {'%', conversion};
      }
    }
    return result;
  }

  Value format_time(const Arguments& arguments) {
    const bool sound = arguments.positional.size() == 1 && arguments.positional[0].is_string();
    require(sound, "strftime_now() takes a format");
    const std::string format = without_zone(arguments.positional[0].text()) + " ";  // so that no result is empty
    require(format.size() <= 1000, "strftime_now(): the format is too long");
    std::array<char, 8192> buffer;
    const std::size_t written = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now_);
    require(written > 0, "strftime_now(): the format cannot be used");
    return std::string(buffer.data(), written - 1);
  }

 public:
  /// Where the template is, for messages.
  int line() const { return line_; }

 private:
  std::tm now_;
  Limits limits_;
  Scope top_;
  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
  int depth_ = 0;
  int line_ = 0;
};

}  // namespace

std::string render(const Block& block, const Variables& variables, const std::tm& now, const Limits& limits) {
  Interpreter interpreter(variables, now, limits);
  try {
    return interpreter.run(block);
  } catch (const Error& error) {
    fail("line {}: {}", interpreter.line(), error.what());
  }
}

}  // namespace rapt::jinja
