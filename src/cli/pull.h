#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt pull`: fetches a model by name, or lists what can be fetched.
void add_pull(CLI::App& app);

}  // namespace rapt
