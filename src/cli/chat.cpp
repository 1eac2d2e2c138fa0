#include "cli/chat.h"

#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cli/command_line.h"
#include "cli/line_editor.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/writing_options.h"
#include "core/error.h"
#include "decoding/conversation.h"
#include "formats/file.h"
#include "formats/json.h"
#include "text/utf8.h"
#include "training/signals.h"

namespace rapt {
namespace {

struct ChatCommand {
  std::string model;
  std::string system;
  std::int32_t context = 0;
  bool verbose = false;
  cli::ComputeOptions compute;
  GeneratorOptions generator;
  GenerateOptions generate{.max_tokens = 1024};
};

/// What tokens are drawn from where neither the command nor the model says anything.
constexpr SamplingChoices usual_sampling{.temperature = 0.7, .top_p = 0.95};

constexpr std::string_view kChatHelp =
    "/system TEXT  give the model instructions; without TEXT, none\n"
    "/undo         take back the last message and its answer\n"
    "/clear        begin a new conversation\n"
    "/save FILE    write the conversation as JSON\n"
    "/stats        show or hide how fast answers come\n"
    "/quit         end, as Ctrl-D does\n"
    "//...         a message that begins with a slash\n"
    "...\\          a line that the message goes on after\n"
    "Ctrl-C ends an answer; what was shown of it stays in the conversation.\n";

ChatTemplate chat_template_of(const std::string& model) {
  auto found = ChatTemplate::read(model);
  require(found.has_value(), "{}: the model has no chat template, so it was not made to chat; use rapt generate",
          model);
  return std::move(*found);
}

/// While it lives, the terminal does not show what is typed: keys pressed during an answer would stand in the middle of
/// it. They are not lost, but begin the next message. At most one lives at a time.
class Unseen {
 public:
  explicit Unseen(bool terminal) {
    if (!terminal || tcgetattr(STDIN_FILENO, &before_) != 0) return;
    hides_ = 1;
    termios hidden = before_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &hidden);
  }
  ~Unseen() { show_again(); }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;

  /// Also called by the handler of a signal that ends the process.
  static void show_again() {
    if (hides_ != 0) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    hides_ = 0;
  }

 private:
  static inline termios before_{};
  static inline volatile std::sig_atomic_t hides_ = 0;
};

/// Lines that are typed at a terminal, or that come from a file or a program.
class Lines {
 public:
  explicit Lines(bool terminal) {
    if (terminal) editor_.emplace("> ", cli::state_file("chat_history"));
  }

  std::optional<std::string> next() {
    if (editor_) return next_typed();
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    if (line.ends_with('\r')) line.pop_back();
    ++line_;
    if (first_invalid_utf8(line) != std::string::npos) {
      cli::warn("line {}: byte {} is not UTF-8; it is read as U+FFFD", line_, first_invalid_utf8(line) + 1);
      line = replace_invalid_utf8(line);
    }
    return line;
  }

 private:
  /// A line that ends with a backslash goes on with the next one.
  std::optional<std::string> next_typed() {
    std::optional<std::string> message = editor_->next_line();
    while (message && message->ends_with('\\')) {
      message->back() = '\n';
      *message += editor_->next_line().value_or("");
    }
    return message;
  }

  std::optional<cli::LineEditor> editor_;
  std::int64_t line_ = 0;
};

class Chat {
 public:
  explicit Chat(const ChatCommand& options)
      : options_(options),
        terminal_(isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0),
        stats_(options.verbose),
        model_(options.model, options.generator),
        conversation_(model_, chat_template_of(options.model), options.context) {
    cli::warn_of_ignored(options.model, model_.generation_config());
    const SamplingChoices said = decoding::merged(options.generate.sampling, model_.generation_config().sampling);
    options_.generate.sampling =
        said.temperature || said.top_k || said.top_p || said.min_p ? said : decoding::merged(said, usual_sampling);
    conversation_.set_system(options.system);
  }

  /// Whether every line was answered.
  bool run() {
    if (terminal_) note("/help shows commands, Ctrl-D ends");
    const std::int64_t positions = model_.model().config().max_positions;
    if (conversation_.context() > positions)
      note("the model was made for {} tokens; what it writes beyond them may make no sense", positions);
    if (options_.context == 0 && conversation_.context() < positions)
      note(
          "the model sees {} tokens of the conversation at most, not the {} it was made for, so that they take no more "
          "than half of the free memory; --context allows more",
          conversation_.context(), positions);
    Lines lines(terminal_);
    bool well = true;
    for (auto line = lines.next(); line; line = lines.next()) {
      if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
      try {
        if (!take(*line)) return well;
      } catch (const Error& error) {
        cli::warn("{}", error.what());
        well = false;
      }
    }
    if (terminal_) cli::print("\n");
    return well;
  }

 private:
  template <typename... Args>
  static void note(fmt::format_string<Args...> format, Args&&... args) {
    cli::flush();
    cli::erase_live_line();
    cli::say(fmt::format("({})\n", fmt::format(format, std::forward<Args>(args)...)));
  }

  /// Whether the conversation goes on.
  bool take(const std::string& line) {
    const std::string_view text = std::string_view(line).substr(line.find_first_not_of(" \t\n"));
    if (!text.starts_with('/')) {
      answer(line);
    } else if (text.starts_with("//")) {
      answer(std::string(text.substr(1)));
    } else {
      return obey(std::string(text));
    }
    return true;
  }

  bool obey(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string command = line.substr(0, space);
    const std::size_t begin = space == std::string::npos ? space : line.find_first_not_of(' ', space);
    const std::string argument = begin == std::string::npos ? "" : line.substr(begin);
    if (command == "/quit" || command == "/exit") return false;
    if (command == "/help") {
      cli::say(kChatHelp);
    } else if (command == "/clear") {
      conversation_.clear();
      note("a new conversation");
    } else if (command == "/undo") {
      note("{}", conversation_.undo() ? "taken back" : "there is nothing to take back");
    } else if (command == "/system") {
      conversation_.set_system(argument);
      note("{}", argument.empty() ? "no instructions from now on" : "instructions taken");
    } else if (command == "/stats") {
      stats_ = !stats_;
      note("{}", stats_ ? "speed is shown" : "speed is not shown");
    } else if (command == "/save") {
      save(argument);
    } else {
      fail("{}: there is no such command; /help shows those there are, and // begins a message with a slash", command);
    }
    return true;
  }

  void answer(const std::string& message) {
    std::optional<training::StopSignals> signals;
    if (terminal_) signals.emplace(Unseen::show_again);
    const Unseen unseen(terminal_);
    cli::ProgressLine progress("tokens");
    const decoding::Reply reply = conversation_.send(
        message, options_.generate,
        [](std::string_view more) {
          cli::print(more);
          cli::flush();
        },
        [&] { return !signals || !signals->received(); },
        [&](std::int64_t done, std::int64_t all) {
          if (all > 1) progress.show(static_cast<double>(done), static_cast<double>(all));
        });
    cli::print(terminal_ && !reply.text.empty() && !reply.text.ends_with('\n') ? "\n\n" : "\n");
    cli::flush();
    tell(reply);
  }

  void tell(const decoding::Reply& reply) const {
    if (reply.messages_left_out > 0)
      note(
          "the conversation has outgrown the context of {} tokens: the model does not see its oldest {} messages any "
          "more",
          conversation_.context(), conversation_.left_out());
    if (reply.finish == FinishReason::length)
      note("stopped after {} tokens; --max-tokens allows more", reply.tokens_written);
    if (reply.finish == FinishReason::context)
      note("stopped: the context of {} tokens is full", conversation_.context());
    if (!stats_) return;
    const auto rate = [](std::int64_t tokens, double seconds) {
      return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
    };
    note("read {} of {} tokens at {:.0f} tokens/s, wrote {} at {:.1f} tokens/s", reply.tokens_read, reply.prompt_tokens,
         rate(reply.tokens_read, reply.seconds_to_read), reply.tokens_written,
         rate(reply.tokens_written - 1, reply.seconds_to_write));
  }

  void save(const std::string& file) const {
    require(!file.empty(), "/save: name a file");
    OrderedJson messages = OrderedJson::array();
    if (!conversation_.system().empty()) messages.push_back({{"role", "system"}, {"content", conversation_.system()}});
    for (const decoding::ChatMessage& message : conversation_.messages())
      messages.push_back({{"role", message.role}, {"content", message.content}});
    const OrderedJson all = {{"model", options_.model}, {"messages", messages}};
    write_file_durably(file, json_text(all));
    note("{} messages are in {}", messages.size(), file);
  }

  ChatCommand options_;
  bool terminal_;
  bool stats_;
  decoding::LanguageModel model_;
  decoding::Conversation conversation_;
};

}  // namespace

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatCommand>();
  CLI::App* command = app.add_subcommand("chat", "talk with a language model");
  cli::add_model_option(*command, options->model)->required();
  command->footer(
      "\nExamples:\n"
      "  rapt chat smollm2\n"
      "  rapt chat smollm2 --system \"You explain words briefly.\" --temperature 0\n"
      "  rapt chat smollm2 < questions > answers        # a message a line");
  command->add_option("--system", options->system, "instructions that the model gets first")->type_name("TEXT");
  command->add_option("--max-tokens", options->generate.max_tokens, "longest answer")
      ->capture_default_str()
      ->check(cli::between(1, 1 << 20));
  command
      ->add_option("--context", options->context,
                   "most tokens of the conversation that the model looks at (default: as many as it was made for)")
      ->type_name("TOKENS")
      ->check(cli::between(2, 1 << 24));
  cli::add_sampling_options(*command, options->generate, "0.7, with --top-p 0.95");
  command->add_flag("--verbose", options->verbose, "tell how fast answers come");
  cli::add_attention_option(*command, options->generator.attention);
  cli::add_compute_options(*command, options->compute);
  cli::add_cache_option(*command, options->generator);
  command->callback([options] {
    options->generator.threads = options->compute.threads;
    options->generator.precision = options->compute.precision;
    if (!Chat(*options).run()) throw CLI::RuntimeError(1);
  });
}

}  // namespace rapt
