#include "text/template/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "formats/printable.h"
#include "text/template/lexer.h"

namespace rapt::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int kMaxExpressionDepth = 200;  // of expressions
constexpr int kMaxLevels = 400;           // of the parser's own functions, statements included

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Block run() {
    Block block = parse_block({});
    if (peek().kind != Token::Kind::end) refuse("unexpected tag");
    return block;
  }

 private:
  // Tokens.

  const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(position_ + ahead, tokens_.size() - 1)]; }
  const Token& take() {
    const Token& token = peek();
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  bool at_sign(std::string_view sign) const { return peek().kind == Token::Kind::sign && peek().text == sign; }
  bool at_name(std::string_view name, std::size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::name && peek(ahead).text == name;
  }
  bool take_sign(std::string_view sign) {
    if (!at_sign(sign)) return false;
    take();
    return true;
  }
  bool take_name(std::string_view name) {
    if (!at_name(name)) return false;
    take();
    return true;
  }
  void expect_sign(std::string_view sign) {
    if (!take_sign(sign)) refuse(fmt::format("expected \"{}\"", sign));
  }
  std::string expect_name() {
    if (peek().kind != Token::Kind::name) refuse("expected a name");
    return take().text;
  }
  void expect(Token::Kind kind, std::string_view what) {
    if (peek().kind != kind) refuse(fmt::format("expected {}", what));
    take();
  }
  void end_of_block() { expect(Token::Kind::block_end, "%}"); }

  [[noreturn]] void refuse(std::string_view problem) const {
    const Token& token = peek();
    const bool shown = token.kind == Token::Kind::name || token.kind == Token::Kind::string ||
                       token.kind == Token::Kind::sign || token.kind == Token::Kind::integer ||
                       token.kind == Token::Kind::real;
    if (shown) fail("line {}: {}, found \"{}\"", token.line, problem, printable(token.text));
    fail("line {}: {}, found the end of {}", token.line, problem,
         token.kind == Token::Kind::end ? "the template" : "the tag");
  }

  /// Counts how deep the parser is, for as long as it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      require(++parser.level_ <= kMaxLevels, "line {}: nested too deeply", parser.peek().line);
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --parser_.level_; }

   private:
    Parser& parser_;
  };

  // Statements.

  /// Statements up to a block tag with one of some names, which is left; all if there are no names.
  Block parse_block(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Block block;
    while (true) {
      const Token& token = peek();
      if (token.kind == Token::Kind::text) {
        block.push_back({.kind = Statement::Kind::text, .line = token.line, .name = token.text});
        take();
      } else if (token.kind == Token::Kind::print_begin) {
        const int line = take().line;
        block.push_back({.kind = Statement::Kind::print, .line = line, .expression = parse_expression()});
        expect(Token::Kind::print_end, "}}");
      } else if (token.kind == Token::Kind::block_begin) {
        if (std::ranges::any_of(ends, [&](std::string_view end) { return at_name(end, 1); })) return block;
        take();
        block.push_back(parse_statement());
      } else {
        if (ends.size() > 0) refuse(fmt::format("expected {{% {} %}}", *(ends.end() - 1)));
        return block;
      }
    }
  }

  Statement parse_statement() {
    const int line = peek().line;
    if (peek().kind != Token::Kind::name) refuse("expected the name of a statement");
    Statement statement;
    if (take_name("if")) {
      statement = parse_if();
    } else if (take_name("for")) {
      statement = parse_for();
    } else if (take_name("set")) {
      statement = parse_set();
    } else if (take_name("macro")) {
      statement = parse_macro();
    } else if (take_name("generation")) {
      end_of_block();
      statement = {.kind = Statement::Kind::group, .body = parse_block({"endgeneration"})};
      end_with("endgeneration");
    } else if (at_name("break") || at_name("continue")) {
      if (loops_ == 0) refuse("expected a statement that may stand outside of loops");
      statement.kind = take().text == "break" ? Statement::Kind::break_loop : Statement::Kind::continue_loop;
      end_of_block();
    } else {
      refuse("expected one of the statements that rapt supports (if, for, set, macro, break, continue, generation)");
    }
    statement.line = line;
    return statement;
  }

  /// The tag that ends a statement; parse_block() stopped in front of it.
  void end_with(std::string_view name) {
    expect(Token::Kind::block_begin, "{%");
    if (!take_name(name)) refuse(fmt::format("expected {}", name));
    end_of_block();
  }

  Statement parse_if() {
    Statement statement{.kind = Statement::Kind::condition, .line = peek().line, .expression = parse_expression()};
    end_of_block();
    statement.body = parse_block({"elif", "else", "endif"});
    take();
    if (take_name("elif")) {
      const Level level(*this);
      statement.otherwise.push_back(parse_if());
      return statement;
    }
    if (take_name("else")) {
      end_of_block();
      statement.otherwise = parse_block({"endif"});
      take();
    }
    if (!take_name("endif")) refuse("expected endif");
    end_of_block();
    return statement;
  }

  std::vector<std::string> parse_targets() {
    const bool parenthesis = take_sign("(");
    std::vector<std::string> targets{expect_name()};
    while (take_sign(",")) targets.push_back(expect_name());
    if (parenthesis) expect_sign(")");
    return targets;
  }

  Statement parse_for() {
    Statement statement{.kind = Statement::Kind::loop, .targets = parse_targets()};
    if (!take_name("in")) refuse("expected in");
    statement.expression = parse_disjunction();  // a condition would take the "if" of the filter
    if (take_name("if")) statement.filter = parse_expression();
    if (at_name("recursive")) refuse("recursive loops are not supported");
    end_of_block();
    ++loops_;
    statement.body = parse_block({"else", "endfor"});
    --loops_;
    take();
    if (take_name("else")) {
      end_of_block();
      statement.otherwise = parse_block({"endfor"});
      take();
    }
    if (!take_name("endfor")) refuse("expected endfor");
    end_of_block();
    return statement;
  }

  Statement parse_set() {
    Statement statement{.kind = Statement::Kind::assignment, .targets = parse_targets()};
    if (statement.targets.size() == 1 && take_sign(".")) statement.attribute = expect_name();
    if (take_sign("=")) {
      statement.expression = parse_tuple();
      end_of_block();
      return statement;
    }
    statement.kind = Statement::Kind::capture;
    if (at_sign("|")) {
      ExpressionPtr captured = make(Kind::name);
      captured->name = kCaptured;
      statement.expression = parse_filters(std::move(captured));
    }
    end_of_block();
    statement.body = parse_block({"endset"});
    end_with("endset");
    return statement;
  }

  Statement parse_macro() {
    // Such a macro would see the variables around it.
    if (loops_ > 0 || in_macro_) refuse("macros inside of loops and macros are not supported");
    in_macro_ = true;
    Statement statement{.kind = Statement::Kind::macro, .name = expect_name()};
    expect_sign("(");
    while (!take_sign(")")) {
      if (!statement.targets.empty()) expect_sign(",");
      statement.targets.push_back(expect_name());
      if (take_sign("=")) {
        statement.defaults.push_back(parse_expression());
      } else if (!statement.defaults.empty()) {
        refuse("expected a default, as the parameters before have one");
      }
    }
    end_of_block();
    statement.body = parse_block({"endmacro"});
    in_macro_ = false;
    end_with("endmacro");
    return statement;
  }

  // Expressions, from the loosest to the tightest.

  ExpressionPtr make(Kind kind) const {
    auto result = std::make_unique<Expression>();
    result->kind = kind;
    result->line = peek().line;
    return result;
  }

  /// Puts an expression into another one.
  void put(Expression& into, std::vector<ExpressionPtr>& place, ExpressionPtr part) const {
    if (part != nullptr) into.depth = std::max(into.depth, part->depth + 1);
    require(into.depth <= kMaxExpressionDepth, "line {}: an expression is nested deeper than {} levels", into.line,
            kMaxExpressionDepth);
    place.push_back(std::move(part));
  }

  template <typename... Parts>
  ExpressionPtr make(Kind kind, std::string name, Parts... parts) const {
    ExpressionPtr result = make(kind);
    result->name = std::move(name);
    (put(*result, result->parts, std::move(parts)), ...);
    return result;
  }

  /// Several expressions with commas between them are a tuple.
  ExpressionPtr parse_tuple() {
    ExpressionPtr first = parse_expression();
    if (!at_sign(",")) return first;
    ExpressionPtr list = make(Kind::tuple, "", std::move(first));
    while (take_sign(",")) put(*list, list->parts, parse_expression());
    return list;
  }

  ExpressionPtr parse_expression() {
    const Level level(*this);
    ExpressionPtr result = parse_disjunction();
    while (take_name("if")) {
      ExpressionPtr condition = parse_disjunction();
      ExpressionPtr otherwise = take_name("else") ? parse_expression() : nullptr;
      result = make(Kind::conditional, "", std::move(condition), std::move(result), std::move(otherwise));
    }
    return result;
  }

  ExpressionPtr parse_disjunction() {
    ExpressionPtr result = parse_conjunction();
    while (take_name("or")) result = make(Kind::disjunction, "", std::move(result), parse_conjunction());
    return result;
  }

  ExpressionPtr parse_conjunction() {
    ExpressionPtr result = parse_negation();
    while (take_name("and")) result = make(Kind::conjunction, "", std::move(result), parse_negation());
    return result;
  }

  ExpressionPtr parse_negation() {
    const Level level(*this);
    if (take_name("not")) return make(Kind::negation, "", parse_negation());
    return parse_comparison();
  }

  std::string take_comparison() {
    for (const char* sign : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_sign(sign)) return sign;
    }
    if (take_name("in")) return "in";
    if (!at_name("not") || !at_name("in", 1)) return "";
    take();
    take();
    return "not in";
  }

  ExpressionPtr parse_comparison() {
    ExpressionPtr result = parse_sum();
    std::string sign = take_comparison();
    if (sign.empty()) return result;
    result = make(Kind::comparison, std::move(sign), std::move(result), parse_sum());
    while (!(sign = take_comparison()).empty()) {
      std::vector<ExpressionPtr> operand;
      put(*result, operand, parse_sum());
      result->named.emplace_back(std::move(sign), std::move(operand.front()));
    }
    return result;
  }

  ExpressionPtr parse_sum() {
    ExpressionPtr result = parse_concatenation();
    while (at_sign("+") || at_sign("-")) {
      std::string sign = take().text;
      result = make(Kind::operation, std::move(sign), std::move(result), parse_concatenation());
    }
    return result;
  }

  ExpressionPtr parse_concatenation() {
    ExpressionPtr result = parse_product();
    while (take_sign("~")) result = make(Kind::operation, "~", std::move(result), parse_product());
    return result;
  }

  ExpressionPtr parse_product() {
    ExpressionPtr result = parse_power();
    while (at_sign("*") || at_sign("/") || at_sign("//") || at_sign("%")) {
      std::string sign = take().text;
      result = make(Kind::operation, std::move(sign), std::move(result), parse_power());
    }
    return result;
  }

  ExpressionPtr parse_power() {
    ExpressionPtr result = parse_unary(true);
    while (take_sign("**")) result = make(Kind::operation, "**", std::move(result), parse_unary(true));
    return result;
  }

  ExpressionPtr parse_unary(bool with_filters) {
    const Level level(*this);
    ExpressionPtr result;
    if (take_sign("-")) {
      result = make(Kind::minus, "", parse_unary(false));
    } else if (take_sign("+")) {
      result = make(Kind::plus, "", parse_unary(false));
    } else {
      result = parse_postfix(parse_primary());
    }
    return with_filters ? parse_filters(std::move(result)) : std::move(result);
  }

  ExpressionPtr make_literal(Value value) const {
    ExpressionPtr result = make(Kind::literal);
    result->value = std::move(value);
    return result;
  }

  ExpressionPtr parse_primary() {
    const Token& token = peek();
    if (token.kind == Token::Kind::string) {
      std::string text;
      while (peek().kind == Token::Kind::string) text += take().text;
      return make_literal(std::move(text));
    }
    if (token.kind == Token::Kind::integer) return parse_integer();
    if (token.kind == Token::Kind::real) return make_literal(std::strtod(take().text.c_str(), nullptr));
    if (token.kind == Token::Kind::name) return parse_name();
    if (take_sign("(")) return parse_parenthesis();
    if (take_sign("[")) return parse_list("]");
    if (take_sign("{")) return parse_dict();
    refuse("expected an expression");
  }

  ExpressionPtr parse_integer() {
    constexpr std::size_t digits = std::numeric_limits<std::int64_t>::digits10;
    if (peek().text.size() > digits) refuse("expected an integer that is not so large");
    return make_literal(std::int64_t{std::strtoll(take().text.c_str(), nullptr, 10)});
  }

  ExpressionPtr parse_name() {
    std::string name = take().text;
    if (name == "true" || name == "True") return make_literal(true);
    if (name == "false" || name == "False") return make_literal(false);
    if (name == "none" || name == "None") return make_literal(None{});
    return make(Kind::name, std::move(name));
  }

  ExpressionPtr parse_parenthesis() {
    if (take_sign(")")) return make(Kind::tuple);
    ExpressionPtr first = parse_expression();
    if (take_sign(")")) return first;
    expect_sign(",");
    ExpressionPtr rest = parse_list(")");
    rest->kind = Kind::tuple;
    rest->parts.insert(rest->parts.begin(), std::move(first));
    rest->depth = std::max(rest->depth, rest->parts.front()->depth + 1);
    return rest;
  }

  ExpressionPtr parse_list(std::string_view closing) {
    ExpressionPtr list = make(Kind::list);
    while (!take_sign(closing)) {
      put(*list, list->parts, parse_expression());
      if (!at_sign(closing)) expect_sign(",");
    }
    return list;
  }

  ExpressionPtr parse_dict() {
    ExpressionPtr dict = make(Kind::dict);
    while (!take_sign("}")) {
      put(*dict, dict->parts, parse_expression());
      expect_sign(":");
      put(*dict, dict->parts, parse_expression());
      if (!at_sign("}")) expect_sign(",");
    }
    return dict;
  }

  ExpressionPtr parse_postfix(ExpressionPtr result) {
    while (true) {
      if (take_sign(".")) {
        if (peek().kind == Token::Kind::integer) {
          ExpressionPtr index = parse_integer();
          result = make(Kind::item, "", std::move(result), std::move(index));
        } else {
          result = make(Kind::attribute, expect_name(), std::move(result));
        }
      } else if (take_sign("[")) {
        result = parse_subscript(std::move(result));
      } else if (at_sign("(")) {
        result = make(Kind::call, "", std::move(result));
        parse_arguments(*result);
      } else {
        return result;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr object) {
    ExpressionPtr bounds[3];
    std::size_t colons = 0;
    while (!at_sign("]")) {
      if (take_sign(":")) {
        if (++colons > 2) refuse("expected at most two colons");
      } else if (bounds[colons] == nullptr) {
        bounds[colons] = parse_expression();
      } else {
        refuse("expected \"]\"");
      }
    }
    if (colons == 0 && bounds[0] == nullptr) refuse("expected an expression");
    expect_sign("]");
    if (colons == 0) return make(Kind::item, "", std::move(object), std::move(bounds[0]));
    return make(Kind::slice, "", std::move(object), std::move(bounds[0]), std::move(bounds[1]), std::move(bounds[2]));
  }

  void parse_arguments(Expression& call) {
    expect_sign("(");
    while (!take_sign(")")) {
      if (peek().kind == Token::Kind::name && peek(1).kind == Token::Kind::sign && peek(1).text == "=") {
        std::string name = take().text;
        take();
        std::vector<ExpressionPtr> value;
        put(call, value, parse_expression());
        call.named.emplace_back(std::move(name), std::move(value.front()));
      } else {
        if (at_sign("*") || at_sign("**")) refuse("arguments taken from a list or dict are not supported");
        if (!call.named.empty()) refuse("expected an argument with a name");
        put(call, call.arguments, parse_expression());
      }
      if (!at_sign(")")) expect_sign(",");
    }
  }

  ExpressionPtr parse_filters(ExpressionPtr result) {
    while (true) {
      if (take_sign("|")) {
        result = make(Kind::filter, expect_name(), std::move(result));
        if (at_sign("(")) parse_arguments(*result);
      } else if (take_name("is")) {
        result = parse_test(std::move(result));
      } else {
        return result;
      }
    }
  }

  ExpressionPtr parse_test(ExpressionPtr object) {
    const bool negated = take_name("not");
    std::string name = at_sign("==") ? take().text : expect_name();
    ExpressionPtr test = make(Kind::test, std::move(name), std::move(object));
    const Token& next = peek();
    const bool word = next.kind == Token::Kind::name && next.text != "else" && next.text != "or" &&
                      next.text != "and" && next.text != "is" && next.text != "if" && next.text != "in" &&
                      next.text != "not";
    const bool literal =
        next.kind == Token::Kind::string || next.kind == Token::Kind::integer || next.kind == Token::Kind::real;
    if (at_sign("(")) {
      parse_arguments(*test);
    } else if (word || literal || at_sign("[") || at_sign("{")) {
      put(*test, test->arguments, parse_postfix(parse_primary()));
    }
    return negated ? make(Kind::negation, "", std::move(test)) : std::move(test);
  }

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int level_ = 0;
  int loops_ = 0;
  bool in_macro_ = false;
};

}  // namespace

Block parse_template(std::string_view source) {
  return Parser(tokenize(source)).run();
}

}  // namespace rapt::jinja
