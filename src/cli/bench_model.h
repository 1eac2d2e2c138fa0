#pragma once

namespace CLI {
class App;
}

namespace rapt {

/// Adds `rapt bench model`: how fast one model answers, and what it takes.
void add_bench_model(CLI::App& bench);

}  // namespace rapt
