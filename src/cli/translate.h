#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt translate`: lines in, translations out, in order.
void add_translate(CLI::App& app);

}  // namespace rapt
