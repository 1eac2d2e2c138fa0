#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds the subcommand `rapt evaluate`: BLEU and chrF of translations against references.
void add_evaluate(CLI::App& app);

}  // namespace rapt
