/// rapt chat: talk with a language model.
#pragma once

namespace CLI {
class App;
}

namespace rapt {

void add_chat(CLI::App& app);

}  // namespace rapt
