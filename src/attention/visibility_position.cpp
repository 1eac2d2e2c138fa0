/// Sets that depend on the query's position and the number of the key: causal, window, prefix, strided, columns,
/// same_block, global_keys, global_queries.
#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "attention/visibility_node.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

using Node = Visibility::Node;
using Range = Node::Range;

/// The positions of consecutive queries.
Range positions_of(const Span& sequence, Range queries, Align align) {
  const std::int64_t shift = align == Align::end ? std::int64_t{sequence.key_count} - sequence.query_count : 0;
  return {queries.begin + shift, queries.end + shift};
}

std::int64_t position_of(const Span& sequence, std::int64_t query, Align align) {
  return positions_of(sequence, {query, query + 1}, align).begin;
}

/// a / b towards minus infinity, b > 0.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/// What floor_divide leaves: in [0, b).
std::int64_t floor_remainder(std::int64_t a, std::int64_t b) {
  return a - floor_divide(a, b) * b;
}

/// The end of an argument list.
std::string_view noted(Align align) {
  return align == Align::start ? ", start)" : ")";
}

/// Every query sees one range of keys. From query to query its ends never move back, and no key lies between the ranges
/// of neighbours: the ranges of the first and the last query say all about a rectangle.
class Ranges : public Node {
 public:
  Range bounds(const Span& sequence, Range queries) const final {
    const Range first = visible(sequence, queries.begin);
    const Range last = visible(sequence, queries.end - 1);
    return intersection({first.begin, last.end}, keys_of(sequence));
  }
  Tile classify(const Span& sequence, Range queries, Range keys) const final {
    const Range first = visible(sequence, queries.begin);
    const Range last = visible(sequence, queries.end - 1);
    if (intersection({first.begin, last.end}, keys).empty()) return Tile::empty;
    return Range{last.begin, first.end}.contains(keys) ? Tile::full : Tile::partial;
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const final {
    return bits_of(visible(sequence, query), first_key);
  }

 private:
  /// The keys that `query` sees; may reach beyond the sequence.
  virtual Range visible(const Span& sequence, std::int64_t query) const = 0;
};

class Window final : public Ranges {
 public:
  Window(std::int32_t left, std::int32_t right, Align align) : left_(left), right_(right), align_(align) {}
  Visibility::Dependence dependence() const override { return dependence_of(align_); }
  bool causal() const override { return left_ == Visibility::unlimited && right_ == 0 && align_ == Align::end; }
  std::string text() const override {
    if (causal()) return "causal";
    if (left_ == Visibility::unlimited && right_ == 0) return "causal(start)";
    return fmt::format("window({}, {}{}", side(left_), side(right_), noted(align_));
  }

 private:
  static std::string side(std::int32_t keys) {
    return keys == Visibility::unlimited ? "unlimited" : std::to_string(keys);
  }
  Range visible(const Span& sequence, std::int64_t query) const override {
    const std::int64_t position = position_of(sequence, query, align_);
    return {left_ == Visibility::unlimited ? 0 : position - left_,
            right_ == Visibility::unlimited ? sequence.key_count : position + right_ + 1};
  }

  std::int32_t left_, right_;
  Align align_;
};

class Prefix final : public Ranges {
 public:
  explicit Prefix(std::int32_t keys) : keys_(keys) {}
  Visibility::Dependence dependence() const override { return Visibility::Dependence::none; }
  std::string text() const override { return fmt::format("prefix({})", keys_); }

 private:
  Range visible(const Span& /*sequence*/, std::int64_t /*query*/) const override { return {0, keys_}; }

  std::int32_t keys_;
};

class SameBlock final : public Ranges {
 public:
  SameBlock(std::int32_t size, Align align) : size_(size), align_(align) {}
  Visibility::Dependence dependence() const override { return dependence_of(align_); }
  std::string text() const override { return fmt::format("same_block({}{}", size_, noted(align_)); }

 private:
  Range visible(const Span& sequence, std::int64_t query) const override {
    const std::int64_t begin = floor_divide(position_of(sequence, query, align_), size_) * size_;
    return {begin, begin + size_};
  }

  std::int32_t size_;
  Align align_;
};

class Strided final : public Node {
 public:
  Strided(std::int32_t stride, Align align) : stride_(stride), align_(align) {}

  /// The first visible key is found counting from key 0 up to the position of a query, the last counting from the last
  /// key down; with as many queries as it takes to come back to the first remainder, it is the key itself.
  Range bounds(const Span& sequence, Range queries) const override {
    const Range positions = positions_of(sequence, queries, align_);
    const std::int64_t from_start = floor_remainder(positions.begin, stride_);
    const std::int64_t from_end = floor_remainder(sequence.key_count - positions.end, stride_);
    return {from_start + positions.size() > stride_ ? 0 : from_start,
            sequence.key_count - (from_end + positions.size() > stride_ ? 0 : from_end)};
  }
  /// Every distance between the smallest and the largest occurs.
  Tile classify(const Span& sequence, Range queries, Range keys) const override {
    const Range positions = positions_of(sequence, queries, align_);
    const Range distances{keys.begin - positions.end + 1, keys.end - positions.begin};
    const std::int64_t multiples =
        floor_divide(distances.end - 1, stride_) - floor_divide(distances.begin - 1, stride_);
    return tile_of(multiples, distances.size());
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const override {
    std::uint64_t result = 0;
    for (std::int64_t bit = floor_remainder(position_of(sequence, query, align_) - first_key, stride_); bit < 64;
         bit += stride_) {
      result |= std::uint64_t{1} << bit;
    }
    return result;
  }
  Visibility::Dependence dependence() const override { return dependence_of(align_); }
  std::string text() const override { return fmt::format("strided({}{}", stride_, noted(align_)); }

 private:
  std::int64_t stride_;
  Align align_;
};

class Columns final : public Node {
 public:
  Columns(std::int32_t period, std::int32_t first, std::int32_t last) : period_(period), first_(first), last_(last) {}

  Range bounds(const Span& sequence, Range /*queries*/) const override {
    if (visible_before(sequence.key_count) == 0) return {};
    const std::int64_t last_key = sequence.key_count - 1;
    const std::int64_t remainder = last_key % period_;
    const std::int64_t end = remainder < first_ ? last_ - period_ : std::min(remainder + 1, last_);
    return {first_, last_key - remainder + end};
  }
  Tile classify(const Span& /*sequence*/, Range /*queries*/, Range keys) const override {
    return tile_of(visible_before(keys.end) - visible_before(keys.begin), keys.size());
  }
  std::uint64_t bits(const Span& /*sequence*/, std::int64_t /*query*/, std::int64_t first_key) const override {
    std::uint64_t result = 0;
    for (std::int64_t start = first_key - first_key % period_; start < first_key + 64; start += period_) {
      result |= bits_of({start + first_, start + last_}, first_key);
    }
    return result;
  }
  Visibility::Dependence dependence() const override { return Visibility::Dependence::none; }
  std::string text() const override { return fmt::format("columns({}, {}, {})", period_, first_, last_); }

 private:
  /// How many of the keys [0, key) are visible.
  std::int64_t visible_before(std::int64_t key) const {
    return key / period_ * (last_ - first_) + std::clamp<std::int64_t>(key % period_ - first_, 0, last_ - first_);
  }

  std::int64_t period_, first_, last_;
};

/// A sorted set of numbers.
class Numbers {
 public:
  explicit Numbers(std::vector<std::int32_t> numbers) : numbers_(std::move(numbers)) {
    std::sort(numbers_.begin(), numbers_.end());
    numbers_.erase(std::unique(numbers_.begin(), numbers_.end()), numbers_.end());
  }
  std::span<const std::int32_t> within(Range range) const {
    const auto begin = std::lower_bound(numbers_.begin(), numbers_.end(), range.begin);
    return {begin, std::lower_bound(begin, numbers_.end(), range.end)};
  }
  std::string text() const {
    if (numbers_.empty()) return "none";
    std::string result;
    for (std::size_t first = 0, next; first < numbers_.size(); first = next) {
      for (next = first + 1; next < numbers_.size() && numbers_[next] - numbers_[next - 1] == 1;) ++next;
      if (next - first == 2) next = first + 1;
      result += fmt::format("{}{}", first > 0 ? ", " : "", numbers_[first]);
      if (next - first > 1) result += fmt::format("..{}", numbers_[next - 1]);
    }
    return result;
  }

 private:
  std::vector<std::int32_t> numbers_;
};

class GlobalKeys final : public Node {
 public:
  explicit GlobalKeys(Numbers positions) : positions_(std::move(positions)) {}

  Range bounds(const Span& sequence, Range /*queries*/) const override {
    const auto seen = positions_.within(keys_of(sequence));
    return seen.empty() ? Range{} : Range{seen.front(), std::int64_t{seen.back()} + 1};
  }
  Tile classify(const Span& /*sequence*/, Range /*queries*/, Range keys) const override {
    return tile_of(std::ssize(positions_.within(keys)), keys.size());
  }
  std::uint64_t bits(const Span& /*sequence*/, std::int64_t /*query*/, std::int64_t first_key) const override {
    std::uint64_t result = 0;
    for (const std::int64_t key : positions_.within({first_key, first_key + 64})) {
      result |= std::uint64_t{1} << (key - first_key);
    }
    return result;
  }
  Visibility::Dependence dependence() const override { return Visibility::Dependence::none; }
  std::string text() const override { return fmt::format("global_keys({})", positions_.text()); }

 private:
  Numbers positions_;
};

class GlobalQueries final : public Node {
 public:
  GlobalQueries(Numbers positions, Align align) : positions_(std::move(positions)), align_(align) {}

  Range bounds(const Span& sequence, Range queries) const override {
    return classify(sequence, queries, keys_of(sequence)) == Tile::empty ? Range{} : keys_of(sequence);
  }
  Tile classify(const Span& sequence, Range queries, Range /*keys*/) const override {
    return tile_of(std::ssize(positions_.within(positions_of(sequence, queries, align_))), queries.size());
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t /*first_key*/) const override {
    return positions_.within(positions_of(sequence, {query, query + 1}, align_)).empty() ? 0 : ~std::uint64_t{0};
  }
  Visibility::Dependence dependence() const override { return dependence_of(align_); }
  std::string text() const override { return fmt::format("global_queries({}{}", positions_.text(), noted(align_)); }

 private:
  Numbers positions_;
  Align align_;
};

void require_side(std::int32_t keys, const char* side) {
  require(keys >= 0 || keys == Visibility::unlimited,
          "visibility: window: {} is {}; give a number of keys, or Visibility::unlimited", side, keys);
}

Numbers checked_positions(std::vector<std::int32_t> positions, const char* set) {
  for (std::size_t i = 0; i < positions.size(); ++i) {
    require(positions[i] >= 0, "visibility: {}: position {} of the list is {}; positions count from 0", set, i,
            positions[i]);
  }
  return Numbers(std::move(positions));
}

}  // namespace

Visibility Visibility::causal(Align align) {
  return window(unlimited, 0, align);
}

Visibility Visibility::window(std::int32_t left, std::int32_t right, Align align) {
  require_side(left, "left");
  require_side(right, "right");
  if (left == unlimited && right == unlimited) return full();
  return Visibility(std::make_shared<const Window>(left, right, align));
}

Visibility Visibility::prefix(std::int32_t keys) {
  require(keys >= 0, "visibility: prefix: {} keys; give 0 or more", keys);
  return Visibility(std::make_shared<const Prefix>(keys));
}

Visibility Visibility::strided(std::int32_t stride, Align align) {
  require(stride >= 1, "visibility: strided: the stride is {}; give 1 or more", stride);
  if (stride == 1) return full();
  return Visibility(std::make_shared<const Strided>(stride, align));
}

Visibility Visibility::columns(std::int32_t period, std::int32_t first, std::int32_t last) {
  require(period >= 1, "visibility: columns: the period is {}; give 1 or more", period);
  require(0 <= first && first <= last && last <= period,
          "visibility: columns: [{}, {}) does not lie in the period [0, {}); give 0 <= first <= last <= period", first,
          last, period);
  if (last - first == period) return full();
  return Visibility(std::make_shared<const Columns>(period, first, last));
}

Visibility Visibility::same_block(std::int32_t size, Align align) {
  require(size >= 1, "visibility: same_block: the size is {}; give 1 or more", size);
  return Visibility(std::make_shared<const SameBlock>(size, align));
}

Visibility Visibility::global_keys(std::vector<std::int32_t> positions) {
  return Visibility(std::make_shared<const GlobalKeys>(checked_positions(std::move(positions), "global_keys")));
}

Visibility Visibility::global_queries(std::vector<std::int32_t> positions, Align align) {
  return Visibility(
      std::make_shared<const GlobalQueries>(checked_positions(std::move(positions), "global_queries"), align));
}

}  // namespace rapt::attention
