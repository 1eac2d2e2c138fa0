#include "cli/command_line.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <string_view>
#include <vector>

#include "cli/output.h"

namespace rapt::cli {
namespace {

constexpr std::size_t kColumns = 80;
/// Where the text beside the names begins.
constexpr std::size_t kTextColumn = 27;
constexpr int kWrongArguments = 2;

/// Words of one line of text over as many lines as they take; those after the first begin under its first word.
void append_wrapped(std::string_view line, std::size_t column, std::string& to) {
  const std::size_t indent = column + std::min(line.find_first_not_of(' '), line.size());
  std::size_t at = column;
  for (std::size_t begin = 0; begin < line.size();) {
    std::size_t end = line.find(' ', line.find_first_not_of(' ', begin));
    end = std::min(end, line.size());
    if (begin > 0 && at + (end - begin) > kColumns) {
      begin = line.find_first_not_of(' ', begin);
      to += "\n" + std::string(indent, ' ');
      at = indent;
    }
    to += line.substr(begin, end - begin);
    at += end - begin;
    begin = end;
  }
  to += '\n';
}

std::string entry(const std::string& names, const std::string& text) {
  std::string result = "  " + names;
  if (text.empty()) return result + "\n";
  if (result.size() + 2 > kTextColumn) {
    result += "\n" + std::string(kTextColumn, ' ');
  } else {
    result.resize(kTextColumn, ' ');
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (begin > 0) result += std::string(kTextColumn, ' ');
    append_wrapped(std::string_view(text).substr(begin, end - begin), kTextColumn, result);
    begin = end + 1;
  }
  return result;
}

/// "N" for a whole number, "X" for another, and what the option names otherwise.
std::string kind_of_value(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  const auto is = [&](std::string_view type) { return name == type || name.starts_with(std::string(type) + ":"); };
  if (is("INT") || is("UINT")) return "N";
  if (is("FLOAT") || is("NUMBER")) return "X";
  if (is("ENUM")) return name.substr(name.find(':') + 1);
  return name.substr(name.starts_with("TEXT:") ? 5 : 0);
}

class HelpFormat final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string /*name*/) const override {
    std::string names;
    for (const CLI::App* at = app; at != nullptr; at = at->get_parent())
      names = (at->get_parent() == nullptr ? "rapt" : at->get_name()) + (names.empty() ? "" : " ") + names;
    std::string arguments;
    for (const CLI::Option* option : app->get_options([](const CLI::Option* o) { return o->get_positional(); }))
      arguments += option->get_required() ? " " + kind_of_value(*option) : " [" + kind_of_value(*option) + "]";
    if (!app->get_subcommands([](const CLI::App*) { return true; }).empty()) arguments += " COMMAND";
    return "\nusage: " + names + arguments + " [OPTION ...]\n";
  }

  std::string make_description(const CLI::App* app) const override {
    std::string text;
    append_wrapped(app->get_description(), 0, text);
    return text;
  }

  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    if (is_positional) return entry(kind_of_value(*option), option->get_description());
    std::string names = option->get_name(false, true);
    for (std::size_t at = names.find(','); at != std::string::npos; at = names.find(',', at + 2))
      names.insert(at + 1, " ");
    if (option->get_type_size() != 0) names += " " + kind_of_value(*option);
    std::string text = option->get_description();
    for (const CLI::Option* needed : option->get_needs()) text += ", with " + needed->get_name();
    if (option->get_required()) text += " (required)";
    if (!option->get_default_str().empty()) text += " (default: " + option->get_default_str() + ")";
    return entry(names, text);
  }

  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    std::string text = "\n" + group + ":\n";
    for (const CLI::Option* option : options) text += make_option(option, is_positional);
    return text;
  }

  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string text = Formatter::make_help(app, std::move(name), mode);
    while (text.ends_with("\n\n")) text.pop_back();
    for (std::size_t at = text.find("\n\n\n"); at != std::string::npos; at = text.find("\n\n\n")) text.erase(at, 1);
    return text;
  }

  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode /*mode*/) const override {
    std::string text;
    for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; }))
      text += entry(command->get_name(), command->get_description());
    return text.empty() ? "" : "\nCommands:\n" + text;
  }

  std::string make_footer(const CLI::App* app) const override {
    return app->get_footer().empty() ? "" : app->get_footer() + "\n";
  }
};

/// Letters to change, to put in or to leave out, of which neighbours that are exchanged count as one.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

/// "; did you mean --prompt?", where something is near.
std::string suggestion(std::string_view found, const std::vector<std::string>& known) {
  constexpr std::size_t near = 2;
  constexpr std::size_t longest = 40;
  if (found.size() > longest) return "";
  const auto nearest = std::ranges::min_element(known, {}, [&](const std::string& k) { return distance(found, k); });
  if (nearest == known.end() || distance(found, *nearest) > std::min(near, found.size() / 2)) return "";
  return "; did you mean " + *nearest + "?";
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->nonpositional(); }))
    names.push_back(option->get_name());
  return names;
}

/// "--prompt", "requires", "--beam" of "--prompt requires --beam".
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::string unexpected(const CLI::App& app) {
  const std::vector<std::string> remaining = app.remaining(true);
  const auto option = std::ranges::find_if(remaining, [](const std::string& text) { return text.starts_with('-'); });
  if (option != remaining.end()) {
    const std::string name = option->substr(0, option->find('='));
    return fmt::format("{}: there is no such option{}", printable(name), suggestion(name, options_of(app)));
  }
  return fmt::format("{}: one argument too many", printable(remaining.front()));
}

std::string missing(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> commands = commands_of(app);
  if (!commands.empty()) {
    const std::vector<std::string> remaining = app.remaining();
    return fmt::format("{}: there is no such command{}", printable(remaining.front()),
                       suggestion(remaining.front(), commands));
  }
  const std::string name = words_of(error.what()).front();
  if (name.starts_with('-')) return name + " is missing";
  const CLI::Option* const option = app.get_option_no_throw(name);
  return fmt::format("{} is missing{}", option != nullptr ? kind_of_value(*option) : name,
                     option != nullptr ? ": " + option->get_description() : "");
}

/// What is wrong, without CLI11's own words where they are unclear.
std::string message_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::string text = error.what();
  const auto is = [&](CLI::ExitCodes kind) { return error.get_exit_code() == static_cast<int>(kind); };
  const std::vector<std::string> words = words_of(text);
  if (is(CLI::ExitCodes::ExtrasError)) return unexpected(app);
  if (is(CLI::ExitCodes::RequiredError)) return missing(app, error);
  if (is(CLI::ExitCodes::ConversionError) && text.starts_with("Could not convert: ")) {
    const std::string of = text.substr(std::string_view("Could not convert: ").size());
    const std::size_t sign = of.find(" = ");
    return fmt::format("{}: expected a number, found \"{}\"", of.substr(0, sign),
                       printable(of.substr(std::min(sign + 3, of.size()))));
  }
  if (is(CLI::ExitCodes::ExcludesError) && words.size() == 3)
    return fmt::format("{} and {} do not go together", words[0], words[2]);
  if (is(CLI::ExitCodes::RequiresError) && words.size() == 3) return fmt::format("{} goes with {}", words[0], words[2]);
  if (is(CLI::ExitCodes::ArgumentMismatch) && text.ends_with(" missing")) return words[0] + " its value is missing";
  if (is(CLI::ExitCodes::ArgumentMismatch)) return words[0] + " more than one value";
  return text;
}

/// The command that was named, or one of its commands.
const CLI::App& innermost(const CLI::App& app) {
  const auto named = app.get_subcommands();
  return named.empty() ? app : innermost(*named.front());
}

std::string name_of(const CLI::App& app) {
  return app.get_parent() == nullptr ? "rapt" : name_of(*app.get_parent()) + " " + app.get_name();
}

}  // namespace

void use_help_format(CLI::App& app) {
  app.formatter(std::make_shared<HelpFormat>());
  app.set_help_flag("-h,--help", "print this");
  app.get_formatter()->label("Positionals", "Arguments");
}

int answer(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0 || error.get_name() == "RuntimeError") {
    const int status = app.exit(error);
    if (std::cout.flush()) return status;
    warn("standard output cannot be written to");
    return 1;
  }
  const CLI::App& command = innermost(app);
  if (!commands_of(command).empty() && command.remaining().empty()) {
    say(command.help());
    return kWrongArguments;
  }
  warn("{} ({} --help)", message_of(command, error), name_of(command));
  return kWrongArguments;
}

CLI::Validator above_zero(double high) {
  const std::string range = high == std::numeric_limits<double>::max() ? "" : fmt::format(" and up to {}", high);
  return {[=](const std::string& text) {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && value > 0 && value <= high) return std::string();
            return fmt::format("expected a number above 0{}, found \"{}\"", range, printable(text));
          },
          ""};
}

CLI::Validator some_text() {
  return {[](const std::string& text) { return text.empty() ? std::string("expected text, found none") : ""; }, ""};
}

CLI::Validator word(const std::vector<std::string>& words) {
  const std::string names = fmt::format("{}", fmt::join(words, "|"));
  return {[=](const std::string& text) {
            if (std::ranges::find(words, text) != words.end()) return std::string();
            return fmt::format("expected {}, found \"{}\"", names, printable(text));
          },
          names};
}

}  // namespace rapt::cli
