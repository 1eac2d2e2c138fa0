#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds `rapt bench attention` to the subcommand `rapt bench`.
void add_bench_attention(CLI::App& bench);

}  // namespace rapt
