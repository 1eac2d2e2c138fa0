/// `rapt` at the other end of two pipes.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>

namespace rapt {

class Piped {
 public:
  /// Runs `rapt ARGUMENTS`, words of the shell; standard error is the test's own.
  explicit Piped(const std::string& arguments) {
    int input[2];
    int output[2];
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) return;
    const std::string line = "exec " + std::string(RAPT_COMMAND) + " " + arguments;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(input[0], STDIN_FILENO);
      dup2(output[1], STDOUT_FILENO);
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    close(input[0]);
    close(output[1]);
    to_ = input[1];
    from_ = output[0];
  }
  ~Piped() {
    if (!ended_) kill(pid_, SIGKILL);
    if (!ended_) waitpid(pid_, nullptr, 0);
    end_input();
    close(from_);
  }
  Piped(const Piped&) = delete;
  Piped& operator=(const Piped&) = delete;

  void give(const std::string& text) const {
    ASSERT_EQ(write(to_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void end_input() {
    if (to_ >= 0) close(to_);
    to_ = -1;
  }
  void signal(int number) const { kill(pid_, number); }

  /// Whether so many whole lines, and no more, come out in all.
  bool answers(std::ptrdiff_t lines) {
    return wait([&] { return output_.ends_with('\n') && std::ranges::count(output_, '\n') == lines; });
  }
  /// Whether it reads all that it was given.
  bool reads() {
    return wait([&] {
      int left = -1;
      return ioctl(to_, FIONREAD, &left) == 0 && left == 0;
    });
  }
  /// What it ends with, or minus the signal that ends it.
  int ends() {
    int status = 0;
    ended_ = wait([&] { return waitpid(pid_, &status, WNOHANG) == pid_; });
    take();
    return !ended_ ? 1000 : WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  const std::string& output() const { return output_; }

 private:
  /// Takes what has come out.
  void take() {
    char buffer[65536];
    for (pollfd ready{from_, POLLIN, 0}; poll(&ready, 1, 0) > 0;) {
      const ssize_t got = read(from_, buffer, sizeof buffer);
      if (got <= 0) return;
      output_.append(buffer, static_cast<std::size_t>(got));
    }
  }
  bool wait(const std::function<bool()>& happened) {
    using Clock = std::chrono::steady_clock;
    // So long that only what never comes takes it.
    constexpr std::chrono::seconds patience(60);
    for (const auto begin = Clock::now(); Clock::now() - begin < patience; usleep(2000)) {
      take();
      if (happened()) return true;
    }
    return false;
  }

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  bool ended_ = false;
  std::string output_;
};

}  // namespace rapt
