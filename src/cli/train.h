#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt train`: a translation or language model from text files.
void add_train(CLI::App& app);

}  // namespace rapt
