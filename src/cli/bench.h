#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt bench`: figures with the machine's own ceiling beside them.
void add_bench(CLI::App& app);

}  // namespace rapt
