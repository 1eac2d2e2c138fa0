#include "text/template/lexer.h"

#include <algorithm>

#include "core/error.h"
#include "formats/printable.h"
#include "text/replace.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::jinja {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) {
      const std::size_t tag = find_tag();
      const bool found = tag < source_.size();
      add_text(tag, found);
      position_ = tag;
      if (found) read_tag();
    }
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  /// What a tag removes of the text before it, after "-", "+" or by default.
  char sign_at(std::size_t position) const { return position < source_.size() ? source_[position] : '\0'; }

  std::size_t find_tag() const {
    for (std::size_t at = source_.find('{', position_); at < source_.size(); at = source_.find('{', at + 1)) {
      const char next = sign_at(at + 1);
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return source_.size();
  }

  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void count_lines(std::string_view text) { line_ += static_cast<int>(std::ranges::count(text, '\n')); }

  /// The text up to a tag, which may take the white space before itself.
  void add_text(std::size_t end, bool before_tag) {
    std::string_view text = source_.substr(position_, end - position_);
    const std::string_view whole = text;
    if (strip_next_) {
      const std::string_view rest = strip(text);
      text.remove_prefix(rest.empty() ? text.size() : static_cast<std::size_t>(rest.data() - text.data()));
    }
    strip_next_ = false;
    if (before_tag) {
      const char sign = sign_at(end + 2);
      if (sign == '-') {
        text = strip_right(text);
      } else if (sign != '+' && source_[end + 1] != '{') {
        text = without_indentation(text);
      }
    }
    if (!text.empty()) add(Token::Kind::text, std::string(text));
    count_lines(whole);
  }

  /// lstrip_blocks: without the white space between the beginning of a line and its end.
  std::string_view without_indentation(std::string_view text) const {
    const std::size_t newline = text.rfind('\n');
    const std::string_view line = newline == text.npos ? text : text.substr(newline + 1);
    const bool begins_line = newline != text.npos || position_ == 0 || source_[position_ - 1] == '\n';
    return begins_line && strip(line).empty() ? text.substr(0, text.size() - line.size()) : text;
  }

  void read_tag() {
    const char kind = source_[position_ + 1];
    position_ += 2;
    if (const char sign = sign_at(position_); sign == '-' || sign == '+') ++position_;
    if (kind == '#') return skip_comment();
    const bool block = kind == '%';
    if (block && read_raw()) return;
    add(block ? Token::Kind::block_begin : Token::Kind::print_begin, "");
    const std::string_view closing = block ? "%}" : "}}";
    int open = 0;  // parentheses, brackets and braces
    while (true) {
      skip_space();
      require(position_ < source_.size(), "line {}: the tag is not closed; expected {}", line_, closing);
      if (open == 0 && at_end_of_tag(closing)) break;
      read_token(open);
    }
    const char sign = source_[position_];
    if (sign == '-' || sign == '+') ++position_;
    position_ += closing.size();
    add(block ? Token::Kind::block_end : Token::Kind::print_end, "");
    after_tag(sign, block);
  }

  bool at_end_of_tag(std::string_view closing) const {
    const std::string_view rest = source_.substr(position_);
    return rest.starts_with(closing) ||
           ((rest[0] == '-' || (rest[0] == '+' && closing == "%}")) && rest.substr(1).starts_with(closing));
  }

  /// "-" removes all white space that follows a tag; trim_blocks removes one line end after a block or comment.
  void after_tag(char sign, bool trims) {
    strip_next_ = sign == '-';
    if (trims && sign != '-' && sign != '+' && sign_at(position_) == '\n') {
      ++position_;
      ++line_;
    }
  }

  void skip_comment() {
    const std::size_t end = source_.find("#}", position_);
    require(end != source_.npos, "line {}: the comment is not closed; expected #}}", line_);
    const char sign = end > position_ ? source_[end - 1] : '\0';
    count_lines(source_.substr(position_, end - position_));
    position_ = end + 2;
    after_tag(sign, true);
  }

  /// {% raw %} ... {% endraw %}
  bool read_raw() {
    const std::size_t before = position_;
    const int line_before = line_;
    skip_space();
    const std::string_view rest = source_.substr(position_);
    std::size_t end = rest.starts_with("raw") ? 3 : 0;
    while (end > 0 && end < rest.size() && (rest[end] == ' ' || rest[end] == '-')) ++end;
    if (end == 0 || !rest.substr(end).starts_with("%}")) {
      position_ = before;
      line_ = line_before;
      return false;
    }
    fail("line {}: {{% raw %}} is not supported", line_);
  }

  void skip_space() {
    while (position_ < source_.size() && is_whitespace(utf8_step(source_, position_).code_point)) {
      const Utf8Step step = utf8_step(source_, position_);
      line_ += step.code_point == '\n';
      position_ += step.length;
    }
  }

  void read_token(int& open) {
    const char c = source_[position_];
    const std::size_t begin = position_;
    if (is_letter(c)) {
      while (position_ < source_.size() && (is_letter(source_[position_]) || is_digit(source_[position_]))) ++position_;
      add(Token::Kind::name, std::string(source_.substr(begin, position_ - begin)));
    } else if (is_digit(c)) {
      read_number();
    } else if (c == '"' || c == '\'') {
      read_string(c);
    } else {
      read_sign(open);
    }
  }

  void read_number() {
    const std::size_t begin = position_;
    bool real = false;
    const bool index = !tokens_.empty() && tokens_.back().kind == Token::Kind::sign && tokens_.back().text == ".";
    while (position_ < source_.size()) {
      const char c = source_[position_];
      const bool point = c == '.' && !real && !index && is_digit(sign_at(position_ + 1));
      if (!is_digit(c) && !point && c != '_') break;
      real |= point;
      ++position_;
    }
    if ((sign_at(position_) | 0x20) == 'e') {
      std::size_t digits = position_ + 1;
      if (sign_at(digits) == '-' || sign_at(digits) == '+') ++digits;
      if (is_digit(sign_at(digits))) {
        real = true;
        position_ = digits;
        while (is_digit(sign_at(position_))) ++position_;
      }
    }
    add(real ? Token::Kind::real : Token::Kind::integer,
        replace_all(source_.substr(begin, position_ - begin), "_", ""));
  }

  void read_string(char quote) {
    const int line = line_;
    std::string text;
    for (++position_;; ++position_) {
      require(position_ < source_.size(), "line {}: the string is not closed", line);
      const char c = source_[position_];
      if (c == quote) break;
      line_ += c == '\n';
      if (c != '\\') {
        text += c;
      } else {
        read_escape(text);
      }
    }
    ++position_;
    add(Token::Kind::string, std::move(text));
  }

  /// What a backslash in a string stands for; leaves the position at the last character read.
  void read_escape(std::string& text) {
    const char c = sign_at(++position_);
    constexpr std::string_view letters = "ntr\\'\"abfv0", meanings("\n\t\r\\'\"\a\b\f\v\0", 11);
    const std::size_t found = c == '\0' ? letters.npos : letters.find(c);
    const char next = sign_at(position_ + 1);
    require(c != 'N' && !(c >= '1' && c <= '7') && !(c == '0' && is_digit(next)),
            "line {}: escapes of characters by their octal number or name are not supported", line_);
    if (found != letters.npos) {
      text += meanings[found];
    } else if (c == '\n') {
      ++line_;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      append_utf8(text, read_hexadecimal(c == 'x' ? 2 : c == 'u' ? 4 : 8));
    } else {
      text += '\\';
      --position_;
    }
  }

  char32_t read_hexadecimal(std::size_t digits) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = sign_at(++position_);
      const std::size_t digit =
          c == '\0' ? 16 : std::string_view("0123456789abcdef").find(static_cast<char>(is_digit(c) ? c : c | 0x20));
      require(digit < 16, "line {}: the string has an escape with too few digits", line_);
      value = value << 4 | static_cast<char32_t>(digit);
    }
    require(value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF),
            "line {}: the string has an escape that stands for no character", line_);
    return value;
  }

  void read_sign(int& open) {
    constexpr std::string_view two[] = {"==", "!=", "<=", ">=", "//", "**"};
    const std::string_view rest = source_.substr(position_);
    const auto* found = std::ranges::find_if(two, [&](std::string_view sign) { return rest.starts_with(sign); });
    const std::string_view sign = found != std::end(two) ? *found : rest.substr(0, 1);
    constexpr std::string_view one = "+-*/%~<>=|.,:()[]{}";
    require(sign.size() == 2 || one.find(sign[0]) != one.npos, "line {}: unexpected \"{}\"", line_,
            printable(rest.substr(0, utf8_step(rest, 0).length)));
    if (sign == "(" || sign == "[" || sign == "{") ++open;
    if ((sign == ")" || sign == "]" || sign == "}") && open > 0) --open;
    position_ += sign.size();
    add(Token::Kind::sign, std::string(sign));
  }

  std::string_view source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool strip_next_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  std::string text = replace_all(replace_all(source, "\r\n", "\n"), "\r", "\n");
  if (text.ends_with('\n')) text.pop_back();
  return Lexer(text).run();
}

}  // namespace rapt::jinja
