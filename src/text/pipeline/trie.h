/// Which of many strings a text begins with, in one walk.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rapt {

/// A set of strings, each with a value >= 0.
class Trie {
 public:
  struct Entry {
    std::string_view key;
    std::int32_t value;
  };
  using Node = std::uint32_t;
  static constexpr Node root = 0;
  static constexpr Node none = ~Node{0};

  Trie() = default;
  /// Of several entries with one key the last one counts.
  explicit Trie(std::vector<Entry> entries);

  /// The node after one more byte; none if no key goes on like that.
  Node next(Node node, char byte) const;
  /// The node after some bytes.
  Node walk(Node node, std::string_view bytes) const;
  /// The value of the key that ends at a node; -1 if none does.
  std::int32_t value(Node node) const { return nodes_[node].value; }

 private:
  struct State {
    Node first_child = 0;  // children lie side by side, in the order of their bytes
    std::uint32_t children = 0;
    std::int32_t value = -1;
    unsigned char byte = 0;  // that leads here
  };

  std::vector<State> nodes_{State{}};
};

}  // namespace rapt
