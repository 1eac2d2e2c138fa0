#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt generate`: text from a language model.
void add_generate(CLI::App& app);

}  // namespace rapt
