/// What the tests of this room share.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>

#include "rapt/error.h"

namespace rapt {

/// Where syncing costs nothing, if there is such a place: in memory.
inline std::filesystem::path fast_directory() {
  const std::filesystem::path memory = "/dev/shm";
  return access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

/// A directory that lives as long as a test.
class Scratch {
 public:
  explicit Scratch(const std::filesystem::path& where = fast_directory()) {
    std::string name = where / "rapt-test-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw Error("no temporary directory");
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Plain writing, so that what is tested does not test itself. A file that is truncated to be written again may be
/// flushed to the disk when it is closed, which takes long; so regular files are made anew.
inline void put(const std::filesystem::path& path, std::string_view bytes) {
  if (std::filesystem::is_regular_file(path)) std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string get(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// How many names a directory holds.
inline std::ptrdiff_t count_names(const std::filesystem::path& directory) {
  return std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator());
}

inline testing::AssertionResult refuses_with(const std::function<void()>& action,
                                             std::initializer_list<std::string_view> parts) {
  std::string message;
  try {
    action();
    return testing::AssertionFailure() << "nothing was thrown";
  } catch (const Error& error) {
    message = error.what();
  }
  const bool one_line = message.find_first_of("\n\r\x1b") == std::string::npos && message.size() < 2000;
  const bool found =
      std::ranges::all_of(parts, [&](std::string_view part) { return message.find(part) != std::string::npos; });
  return one_line && found ? testing::AssertionSuccess() : testing::AssertionFailure() << "message: " << message;
}

/// Whether `action` throws Error with a one-line message that holds every one of `parts`.
template <typename... Parts>
testing::AssertionResult refuses(const std::function<void()>& action, Parts... parts) {
  return refuses_with(action, {std::string_view(parts)...});
}

/// Seconds of processor time an action may take; sanitizers slow everything down several times.
inline constexpr double time_limit =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    10;
#else
    1;
#endif

template <typename Action>
double processor_seconds(Action action) {
  const std::clock_t start = std::clock();
  action();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

template <typename Action>
void expect_quick(Action action) {
  EXPECT_LT(processor_seconds(action), time_limit);
}

/// Runs `action` in a child process, which ends with the status it returns; gives the child's id.
template <typename Action>
pid_t in_child(Action action) {
  const pid_t child = fork();
  if (child != 0) return child;
  int status = 99;
  try {
    status = action();
  } catch (const std::exception&) {
    status = 98;
  }
  _exit(status);
}

/// Waits for a child; its exit status, or minus the signal that ended it.
inline int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace rapt
