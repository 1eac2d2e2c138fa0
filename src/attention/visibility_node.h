/// What a Visibility is made of: one kind of node for each set of include/rapt/visibility.h, and their combinations.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rapt/visibility.h"

namespace rapt::attention {

/// A set of (query, key) pairs. Queries and keys count from 0 within the sequence; `queries` and `keys` are never empty
/// and lie within it. The first three methods are called for every tile: they allocate nothing.
class Visibility::Node {
 public:
  /// [begin, end) of queries, keys, positions, distances or rows: 64 bits, since a position can lie as far outside the
  /// keys as there are queries.
  struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    bool empty() const { return begin >= end; }
    std::int64_t size() const { return empty() ? 0 : end - begin; }
    bool contains(Range other) const { return begin <= other.begin && other.end <= end; }
  };

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  virtual ~Node() = default;
  /// Keys of the sequence outside of which no query of `queries` sees anything.
  virtual Range bounds(const Span& sequence, Range queries) const = 0;
  virtual Tile classify(const Span& sequence, Range queries, Range keys) const = 0;
  /// Bit b: key first_key + b. Bits of keys beyond the sequence may be anything.
  virtual std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const = 0;
  virtual std::string text() const = 0;
  virtual bool causal() const { return false; }
  virtual Dependence dependence() const = 0;
  /// text() as an operand of &.
  virtual std::string operand() const { return text(); }
  /// Operators above the deepest primitive.
  virtual int depth() const { return 0; }
  virtual void check(std::span<const Span> /*sequences*/) const {}
};

inline Visibility::Node::Range intersection(Visibility::Node::Range a, Visibility::Node::Range b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

/// The smallest range that contains both.
inline Visibility::Node::Range hull(Visibility::Node::Range a, Visibility::Node::Range b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

inline Visibility::Node::Range keys_of(const Span& sequence) {
  return {0, sequence.key_count};
}

/// The bits of the keys `visible`, counted from first_key.
inline std::uint64_t bits_of(Visibility::Node::Range visible, std::int64_t first_key) {
  const std::int64_t begin = std::clamp<std::int64_t>(visible.begin - first_key, 0, 64);
  const std::int64_t end = std::clamp<std::int64_t>(visible.end - first_key, 0, 64);
  return begin < end ? (~std::uint64_t{0} << begin) & (~std::uint64_t{0} >> (64 - end)) : 0;
}

inline Visibility::Dependence dependence_of(Align align) {
  return align == Align::end ? Visibility::Dependence::position : Visibility::Dependence::call;
}

/// Visibility::blocks under a name of its own; "": it is told by its mask.
std::shared_ptr<const Visibility::Node> make_blocks(std::int32_t size, std::int32_t query_blocks,
                                                    std::int32_t key_blocks, std::span<const std::uint8_t> visible,
                                                    std::string name);

/// What a rectangle of `size` pairs, or of `size` equal columns, shows when `visible` of them are.
inline Tile tile_of(std::int64_t visible, std::int64_t size) {
  if (visible == 0) return Tile::empty;
  return visible == size ? Tile::full : Tile::partial;
}

}  // namespace rapt::attention
