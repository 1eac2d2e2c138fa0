#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt embed`: lines in, vectors or their similarities out, in order.
void add_embed(CLI::App& app);

}  // namespace rapt
