#include "rapt/visibility.h"

#include <utility>

#include "attention/visibility_node.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

using Node = Visibility::Node;
using Range = Node::Range;
using NodePointer = std::shared_ptr<const Node>;

/// Nodes call each other: the stack limits how deep they may be nested.
constexpr int max_depth = 1000;

class Combination : public Node {
 public:
  Combination(NodePointer a, NodePointer b)
      : a_(std::move(a)), b_(std::move(b)), depth_(std::max(a_->depth(), b_->depth()) + 1) {
    require(depth_ <= max_depth,
            "visibility: more than {} operators inside each other; describe the pattern with Visibility::blocks or a "
            "longer list of positions",
            max_depth);
  }
  int depth() const override { return depth_; }
  Visibility::Dependence dependence() const override { return std::max(a_->dependence(), b_->dependence()); }
  void check(std::span<const Span> sequences) const override {
    a_->check(sequences);
    b_->check(sequences);
  }

 protected:
  const Node& a() const { return *a_; }
  const Node& b() const { return *b_; }

 private:
  NodePointer a_, b_;
  int depth_;
};

class Intersection final : public Combination {
 public:
  using Combination::Combination;
  Range bounds(const Span& sequence, Range queries) const override {
    return intersection(a().bounds(sequence, queries), b().bounds(sequence, queries));
  }
  Tile classify(const Span& sequence, Range queries, Range keys) const override {
    const Tile first = a().classify(sequence, queries, keys);
    if (first == Tile::empty) return Tile::empty;
    const Tile second = b().classify(sequence, queries, keys);
    return first == Tile::full || second == Tile::empty ? second : Tile::partial;
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const override {
    return a().bits(sequence, query, first_key) & b().bits(sequence, query, first_key);
  }
  std::string text() const override { return a().operand() + " & " + b().operand(); }
};

class Union final : public Combination {
 public:
  using Combination::Combination;
  Range bounds(const Span& sequence, Range queries) const override {
    return hull(a().bounds(sequence, queries), b().bounds(sequence, queries));
  }
  Tile classify(const Span& sequence, Range queries, Range keys) const override {
    const Tile first = a().classify(sequence, queries, keys);
    if (first == Tile::full) return Tile::full;
    const Tile second = b().classify(sequence, queries, keys);
    return first == Tile::empty || second == Tile::full ? second : Tile::partial;
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const override {
    return a().bits(sequence, query, first_key) | b().bits(sequence, query, first_key);
  }
  std::string text() const override { return a().text() + " | " + b().text(); }
  std::string operand() const override { return "(" + text() + ")"; }
};

Range queries_of(const Span& sequence) {
  return {0, sequence.query_count};
}

}  // namespace

Visibility operator&(const Visibility& a, const Visibility& b) {
  if (a.is_full() || a.node_ == b.node_) return b;
  if (b.is_full()) return a;
  return Visibility(std::make_shared<const Intersection>(a.node_, b.node_));
}

Visibility operator|(const Visibility& a, const Visibility& b) {
  if (a.is_full() || a.node_ == b.node_) return a;
  if (b.is_full()) return b;
  return Visibility(std::make_shared<const Union>(a.node_, b.node_));
}

bool Visibility::is_causal() const {
  return node_ != nullptr && node_->causal();
}

std::string Visibility::text() const {
  return is_full() ? "full" : node_->text();
}

Visibility::Dependence Visibility::dependence() const {
  return is_full() ? Dependence::none : node_->dependence();
}

void Visibility::check(std::span<const Span> sequences) const {
  if (!is_full()) node_->check(sequences);
}

Visibility::KeyRange Visibility::bounds(const Span& sequence, std::int32_t first_query, std::int32_t last_query) const {
  const Range queries = intersection({first_query, last_query}, queries_of(sequence));
  if (queries.empty() || keys_of(sequence).empty()) return {};
  const Range keys = is_full() ? keys_of(sequence) : node_->bounds(sequence, queries);
  if (keys.empty()) return {};
  return {static_cast<std::int32_t>(keys.begin), static_cast<std::int32_t>(keys.end)};
}

Tile Visibility::classify(const Span& sequence, std::int32_t first_query, std::int32_t last_query,
                          std::int32_t first_key, std::int32_t last_key) const {
  const Range queries = intersection({first_query, last_query}, queries_of(sequence));
  const Range keys = intersection({first_key, last_key}, keys_of(sequence));
  if (queries.empty() || keys.empty()) return Tile::empty;
  return is_full() ? Tile::full : node_->classify(sequence, queries, keys);
}

std::uint64_t Visibility::bits(const Span& sequence, std::int32_t query, std::int32_t first_key) const {
  const std::uint64_t inside = bits_of(keys_of(sequence), first_key);
  if (is_full() || inside == 0) return inside;
  return node_->bits(sequence, query, first_key) & inside;
}

}  // namespace rapt::attention
