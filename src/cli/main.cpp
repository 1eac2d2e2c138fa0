#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app{"rapt trains, runs and shows Transformers on CPUs"};
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
