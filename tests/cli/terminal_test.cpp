// Commands on a terminal.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <initializer_list>
#include <string>

#include "decoding/tiny_language_model.h"

namespace rapt {
namespace {

using Clock = std::chrono::steady_clock;
/// So long that only what never comes takes it.
constexpr std::chrono::seconds patience(60);

/// A process on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::string& line) {
    pid_ = forkpty(&master_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      execl("/bin/sh", "sh", "-c", ("exec " + line).c_str(), nullptr);
      _exit(127);
    }
  }
  ~Terminal() {
    if (!ended_) kill(pid_, SIGKILL);
    if (!ended_) waitpid(pid_, nullptr, 0);
    close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) const {
    ASSERT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /// Has the process meet them all at once.
  void send(std::initializer_list<int> signals) const {
    kill(pid_, SIGSTOP);
    for (const int signal : signals) kill(pid_, signal);
    kill(pid_, SIGCONT);
  }

  /// Whether that appears behind what was waited for before.
  testing::AssertionResult shows(const std::string& text) {
    const auto found = [&] { return shown_.find(text, seen_) != std::string::npos; };
    if (!wait(found)) return testing::AssertionFailure() << "no " << text << " in " << shown_.substr(seen_);
    seen_ = shown_.find(text, seen_) + text.size();
    return testing::AssertionSuccess();
  }

  /// Waits until the terminal's flags are those of a line that is edited by the terminal, seen or not.
  bool becomes(bool canonical, bool echo) {
    return wait([&] {
      termios now{};
      tcgetattr(master_, &now);
      return ((now.c_lflag & ICANON) != 0) == canonical && ((now.c_lflag & ECHO) != 0) == echo;
    });
  }

  /// What the process ended with; -1: it did not end by itself.
  int ends() {
    int status = 0;
    ended_ = wait([&] { return waitpid(pid_, &status, WNOHANG) == pid_; });
    return ended_ && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& shown() const { return shown_; }

 private:
  bool wait(const std::function<bool()>& happened) {
    for (const auto begin = Clock::now(); Clock::now() - begin < patience;) {
      pollfd ready{master_, POLLIN, 0};
      char buffer[4096];
      if (poll(&ready, 1, 5) > 0 && (ready.revents & POLLIN) != 0) {
        const ssize_t got = read(master_, buffer, sizeof buffer);
        if (got > 0) shown_.append(buffer, static_cast<std::size_t>(got));
      }
      if (happened()) return true;
    }
    return false;
  }

  int master_ = -1;
  pid_t pid_ = -1;
  bool ended_ = false;
  std::string shown_;
  std::size_t seen_ = 0;
};

class ChatOnATerminal : public testing::Test {
 protected:
  ChatOnATerminal() {
    // It never writes the end of an answer.
    write_tiny_language_model(scratch_ / "model",
                              {.chat_template = tiny_chat_template, .every_byte = true, .cycle = "abcde "});
  }
  std::string command(const std::string& options) const {
    return "env TERM=xterm XDG_STATE_HOME=" + scratch_.path().string() + " " + RAPT_COMMAND + " chat " +
           (scratch_ / "model").string() + " --threads 1 --temperature 0 " + options;
  }

  Scratch scratch_;
};

TEST_F(ChatOnATerminal, AnswersAndEnds) {
  Terminal terminal(command("--max-tokens 12"));
  ASSERT_TRUE(terminal.shows("/help shows commands"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("hello\r");
  EXPECT_TRUE(terminal.shows("abcde abcde "));
  EXPECT_TRUE(terminal.shows("stopped after 12 tokens"));
  EXPECT_TRUE(terminal.shows("> "));
  ASSERT_TRUE(terminal.becomes(false, false)) << "the editor reads";
  terminal.type("\x04");
  EXPECT_EQ(terminal.ends(), 0);
}

TEST_F(ChatOnATerminal, ALineThatEndsWithABackslashGoesOn) {
  Terminal terminal(command("--max-tokens 12"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("one\\\rtwo\r");
  EXPECT_TRUE(terminal.shows("stopped after 12 tokens"));
  terminal.type("/save " + (scratch_ / "saved").string() + "\r");
  EXPECT_TRUE(terminal.shows("2 messages are in"));
  EXPECT_NE(get(scratch_ / "saved").find("one\\ntwo"), std::string::npos);
  terminal.type("/quit\r");
  EXPECT_EQ(terminal.ends(), 0);
}

/// To a shell with job control, since nobody could go on with a process that had none.
TEST_F(ChatOnATerminal, CtrlZGivesTheTerminalBack) {
  Terminal terminal("sh -c 'set -m; " + command("") + "; stty -a; echo it stopped; fg'");
  ASSERT_TRUE(terminal.shows("> "));
  ASSERT_TRUE(terminal.becomes(false, false)) << "the editor reads";
  terminal.type("half");
  ASSERT_TRUE(terminal.shows("half"));
  terminal.type("\x1a");
  ASSERT_TRUE(terminal.shows(" icanon ")) << "lines are the terminal's again";
  ASSERT_TRUE(terminal.shows("it stopped"));
  EXPECT_TRUE(terminal.shows("> half"));
  terminal.type("\x15/quit\r");
  EXPECT_EQ(terminal.ends(), 0);
}

/// A second Ctrl-C ends the process at once; keys are seen again behind it.
TEST_F(ChatOnATerminal, TheEndDuringAnAnswerLeavesATerminalThatShowsKeys) {
  Terminal terminal(command("--max-tokens 1000000 --use-attention 'window(15, 0)' --context 1000001"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("hello\r");
  ASSERT_TRUE(terminal.shows("abcde abcde "));
  ASSERT_TRUE(terminal.becomes(true, false)) << "keys are not seen";
  terminal.send({SIGINT, SIGTERM});
  EXPECT_EQ(terminal.ends(), -1);
  EXPECT_TRUE(terminal.becomes(true, true));
}

/// What is typed during an answer does not stand in it, and begins the next message.
TEST_F(ChatOnATerminal, KeysDuringAnAnswerWaitForTheNextMessage) {
  Terminal terminal(command("--max-tokens 30000 --use-attention 'window(15, 0)' --context 1000000"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("hello\r");
  ASSERT_TRUE(terminal.becomes(true, false));
  terminal.type("XYZ");
  ASSERT_TRUE(terminal.shows("stopped after 30000 tokens"));
  ASSERT_TRUE(terminal.shows("> "));
  EXPECT_TRUE(terminal.shows("XYZ"));
  EXPECT_GT(terminal.shown().find("XYZ"), terminal.shown().find("stopped after")) << "it stands in the answer";
  terminal.type("\x15/quit\r");
  EXPECT_EQ(terminal.ends(), 0);
}

const std::string translate = std::string(RAPT_COMMAND) + " translate " +
                              (std::filesystem::path(RAPT_TEST_DATA) / "gguf" / "t5-tiny.gguf").string();

TEST(TranslateOnATerminal, AnswersEachLine) {
  Terminal terminal(translate);
  for (const char* line : {"a b", "b a"}) {
    terminal.type(line + std::string("\r"));
    ASSERT_TRUE(terminal.shows(line)) << "the terminal's echo";
    ASSERT_TRUE(terminal.shows("\n"));
    EXPECT_TRUE(terminal.shows("\n")) << "the answer";
  }
  terminal.type("\x04");
  EXPECT_EQ(terminal.ends(), 0);
}

/// A line of many parts tells how far it has got.
TEST(TranslateOnATerminal, ShowsProgressWithinALine) {
  const Scratch scratch;
  put(scratch / "line", std::string(1 << 20, 'a'));
  Terminal terminal(translate + " --threads 1 --input " + (scratch / "line").string());
  ASSERT_TRUE(terminal.shows("line 1 is longer than the model reads at once"));
  EXPECT_TRUE(terminal.shows(" of 1 lines"));
  EXPECT_TRUE(terminal.shows(" left"));
}

}  // namespace
}  // namespace rapt
