/// Templates as trees.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace rapt::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    literal,      // value
    name,         // name
    list,         // parts
    tuple,        // parts
    dict,         // parts: key, value, key, value, ...
    attribute,    // parts[0].name
    item,         // parts[0][parts[1]]
    slice,        // parts[0][parts[1]:parts[2]:parts[3]], any of the three may be null
    call,         // parts[0](arguments)
    filter,       // parts[0] | name(arguments)
    test,         // parts[0] is name(arguments)
    negation,     // not parts[0]
    conjunction,  // parts[0] and parts[1]
    disjunction,  // parts[0] or parts[1]
    comparison,   // parts[0] name parts[1], and in a chain named[0].first named[0].second and so on
    operation,    // parts[0] name parts[1]
    minus,        // -parts[0]
    plus,         // +parts[0]
    conditional,  // parts[1] if parts[0] else parts[2], which may be null
  };
  Kind kind = Kind::literal;
  int line = 0;
  int depth = 1;
  std::string name;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

/// The name under which a filter of {% set x | filter %} finds the text; no template can write it.
inline constexpr const char* kCaptured = "(captured)";

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind {
    text,        // name
    print,       // expression
    condition,   // if expression: body, else: otherwise
    loop,        // for targets in expression if filter: body, else: otherwise
    assignment,  // set targets = expression; target.attribute = expression
    capture,     // set targets[0]: body, through the filter in expression if there is one
    macro,       // name(targets with defaults): body
    group,       // body
    break_loop,
    continue_loop,
  };
  Kind kind = Kind::text;
  int line = 0;
  std::string name;
  std::vector<std::string> targets;
  std::string attribute;
  ExpressionPtr expression;
  ExpressionPtr filter;
  std::vector<ExpressionPtr> defaults;  // of the last parameters of a macro
  Block body;
  Block otherwise;
};

}  // namespace rapt::jinja
