#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/evaluate.h"

int main(int argc, char** argv) {
  CLI::App app{"rapt trains, runs and shows Transformers on CPUs"};
  app.require_subcommand(1);
  rapt::add_evaluate(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rapt: %s\n", error.what());
    return 1;
  }
  return 0;
}
