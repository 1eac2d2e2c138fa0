#include "text/pipeline/trie.h"

#include <algorithm>

namespace rapt {

Trie::Trie(std::vector<Entry> entries) {
  std::ranges::stable_sort(entries, {}, &Entry::key);
  struct Range {
    std::size_t begin, end, depth;
  };
  std::vector<Range> ranges{{0, entries.size(), 0}};  // of the entries below each node
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    while (begin < end && entries[begin].key.size() == depth) nodes_[node].value = entries[begin++].value;
    nodes_[node].first_child = static_cast<Node>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].key[depth];
      std::size_t next = begin;
      while (next < end && entries[next].key[depth] == byte) ++next;
      nodes_.push_back({.byte = static_cast<unsigned char>(byte)});
      ranges.push_back({begin, next, depth + 1});
      ++nodes_[node].children;
      begin = next;
    }
  }
}

Trie::Node Trie::next(Node node, char byte) const {
  const auto first = nodes_.begin() + nodes_[node].first_child;
  const auto last = first + nodes_[node].children;
  const auto wanted = static_cast<unsigned char>(byte);
  const auto found =
      std::lower_bound(first, last, wanted, [](const State& state, unsigned char value) { return state.byte < value; });
  return found != last && found->byte == wanted ? static_cast<Node>(found - nodes_.begin()) : none;
}

Trie::Node Trie::walk(Node node, std::string_view bytes) const {
  for (const char byte : bytes) {
    if (node == none) break;
    node = next(node, byte);
  }
  return node;
}

}  // namespace rapt
