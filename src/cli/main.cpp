#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "cli/bench.h"
#include "cli/chat.h"
#include "cli/command_line.h"
#include "cli/embed.h"
#include "cli/evaluate.h"
#include "cli/generate.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/pull.h"
#include "cli/train.h"
#include "cli/translate.h"
#include "formats/sigbus.h"

// NOLINTNEXTLINE(bugprone-exception-escape): what throws outside of try is a mistake in the declaration of options.
int main(int argc, char** argv) {
  rapt::cli::open_standard_streams();
  rapt::install_sigbus_message();
  CLI::App app{"rapt trains, runs and shows Transformers on CPUs"};
  rapt::cli::use_help_format(app);
  app.set_version_flag("--version", "rapt " RAPT_VERSION, "print the version");
  app.footer(
      "\n\"rapt COMMAND --help\" tells about a command. To begin with:\n"
      "  rapt pull smollm2\n"
      "  rapt chat smollm2");
  app.require_subcommand(1);
  rapt::add_train(app);
  rapt::add_translate(app);
  rapt::add_evaluate(app);
  rapt::add_generate(app);
  rapt::add_chat(app);
  rapt::add_embed(app);
  rapt::add_pull(app);
  rapt::add_inspect(app);
  rapt::add_bench(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return rapt::cli::answer(app, error);
  } catch (const std::bad_alloc&) {
    std::fputs("rapt: there is not enough memory left for this; free some, or give less at once\n", stderr);
    return 1;
  } catch (const rapt::cli::UsageError& error) {
    std::fprintf(stderr, "rapt: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rapt: %s\n", error.what());
    return 1;
  }
  return 0;
}
