#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt inspect`: what a model directory or a GGUF file holds.
void add_inspect(CLI::App& app);

}  // namespace rapt
