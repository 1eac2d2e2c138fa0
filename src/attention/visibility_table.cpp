/// Sets given by a table: documents and blocks.
#include <bit>
#include <numeric>
#include <utility>

#include "attention/visibility_node.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

using Node = Visibility::Node;
using Range = Node::Range;
using Rows = std::span<const std::int64_t>;

/// The document of each row of a batch.
class Documents {
 public:
  explicit Documents(std::vector<std::int32_t> ids) : ids_(std::move(ids)), run_end_(ids_.size()) {
    for (std::size_t row = ids_.size(); row-- > 0;) {
      const bool goes_on = row + 1 < ids_.size() && ids_[row + 1] == ids_[row];
      run_end_[row] = goes_on ? run_end_[row + 1] : static_cast<std::int64_t>(row) + 1;
    }
  }
  std::int64_t rows() const { return std::ssize(ids_); }
  std::int32_t operator[](std::int64_t row) const { return ids_[static_cast<std::size_t>(row)]; }
  /// The first row after `row` that belongs to another document.
  std::int64_t run_end(std::int64_t row) const { return run_end_[static_cast<std::size_t>(row)]; }

 private:
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> run_end_;
};

class SameDocument final : public Node {
 public:
  SameDocument(std::vector<std::int32_t> of_queries, std::vector<std::int32_t> of_keys)
      : of_queries_(std::move(of_queries)), of_keys_(std::move(of_keys)) {
    sort_keys();
    find_keys();
  }

  Range bounds(const Span& sequence, Range queries) const override {
    const Range rows = query_rows(sequence, queries);
    const Range keys = key_rows(sequence, keys_of(sequence));
    Range result;
    for (std::int64_t row = rows.begin; row < rows.end; row = of_queries_.run_end(row)) {
      const Rows seen = seen_by(row, keys);
      if (!seen.empty()) result = hull(result, {seen.front(), seen.back() + 1});
    }
    return {result.begin - keys.begin, result.end - keys.begin};
  }
  Tile classify(const Span& sequence, Range queries, Range keys) const override {
    const Range rows = query_rows(sequence, queries);
    const Range columns = key_rows(sequence, keys);
    if (of_queries_.run_end(rows.begin) >= rows.end && of_keys_.run_end(columns.begin) >= columns.end) {
      return of_queries_[rows.begin] == of_keys_[columns.begin] ? Tile::full : Tile::empty;
    }
    for (std::int64_t row = rows.begin; row < rows.end; row = of_queries_.run_end(row)) {
      if (!seen_by(row, columns).empty()) return Tile::partial;
    }
    return Tile::empty;
  }
  std::uint64_t bits(const Span& sequence, std::int64_t query, std::int64_t first_key) const override {
    const std::int32_t document = of_queries_[sequence.query_begin + query];
    const Range keys = key_rows(sequence, intersection({first_key, first_key + 64}, keys_of(sequence)));
    std::uint64_t result = 0;
    for (std::int64_t row = keys.begin; row < keys.end; row = of_keys_.run_end(row)) {
      if (of_keys_[row] != document) continue;
      result |= bits_of({row, std::min(of_keys_.run_end(row), keys.end)}, keys.begin);
    }
    return result;
  }
  Visibility::Dependence dependence() const override { return Visibility::Dependence::call; }
  std::string text() const override { return "documents"; }

  void check(std::span<const Span> sequences) const override {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const Span& sequence = sequences[i];
      check_rows(query_rows(sequence, {0, sequence.query_count}), of_queries_.rows(), "queries", i);
      check_rows(key_rows(sequence, keys_of(sequence)), of_keys_.rows(), "keys", i);
    }
  }

 private:
  static Range query_rows(const Span& sequence, Range queries) {
    return {sequence.query_begin + queries.begin, sequence.query_begin + queries.end};
  }
  static Range key_rows(const Span& sequence, Range keys) {
    return {sequence.key_begin + keys.begin, sequence.key_begin + keys.end};
  }
  static void check_rows(Range rows, std::int64_t ids, const char* of, std::size_t sequence) {
    require(
        rows.empty() || Range{0, ids}.contains(rows),
        "visibility: documents: sequence {} has {} in rows [{}, {}) of the batch, there are ids of {} rows; give an "
        "id for every row",
        sequence, of, rows.begin, rows.end, ids);
  }

  void sort_keys() {
    keys_by_document_.resize(static_cast<std::size_t>(of_keys_.rows()));
    std::iota(keys_by_document_.begin(), keys_by_document_.end(), 0);
    std::stable_sort(keys_by_document_.begin(), keys_by_document_.end(),
                     [&](std::int64_t a, std::int64_t b) { return of_keys_[a] < of_keys_[b]; });
  }
  void find_keys() {
    keys_of_query_.resize(static_cast<std::size_t>(of_queries_.rows()));
    for (std::int64_t row = 0; row < of_queries_.rows(); row = of_queries_.run_end(row)) {
      std::fill(keys_of_query_.begin() + row, keys_of_query_.begin() + of_queries_.run_end(row),
                keys_with(of_queries_[row]));
    }
  }
  Rows keys_with(std::int32_t document) const {
    const auto before = [&](std::int64_t row, std::int32_t id) { return of_keys_[row] < id; };
    const auto after = [&](std::int32_t id, std::int64_t row) { return id < of_keys_[row]; };
    const auto begin = std::lower_bound(keys_by_document_.begin(), keys_by_document_.end(), document, before);
    return {begin, std::upper_bound(begin, keys_by_document_.end(), document, after)};
  }
  /// The key rows among `keys` that the query in `row` sees, ascending.
  Rows seen_by(std::int64_t row, Range keys) const {
    const Rows all = keys_of_query_[static_cast<std::size_t>(row)];
    const auto begin = std::lower_bound(all.begin(), all.end(), keys.begin);
    return {begin, std::lower_bound(begin, all.end(), keys.end)};
  }

  Documents of_queries_, of_keys_;
  std::vector<std::int64_t> keys_by_document_;  ///< key rows, sorted by document, then row
  std::vector<Rows> keys_of_query_;             ///< for each query row, its part of keys_by_document_
};

/// A matrix of bits.
class BitMatrix {
 public:
  BitMatrix(std::int64_t rows, std::int64_t columns, std::span<const std::uint8_t> values)
      : rows_(rows), columns_(columns), words_((columns + 63) / 64), bits_(static_cast<std::size_t>(rows * words_)) {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < columns; ++column) {
        if (values[static_cast<std::size_t>(row * columns + column)] == 0) continue;
        bits_[static_cast<std::size_t>(row * words_ + column / 64)] |= std::uint64_t{1} << column % 64;
      }
    }
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  /// The bits of [column, column + 64), 0 where the matrix ends.
  std::uint64_t bits(std::int64_t row, std::int64_t column) const {
    const std::uint64_t low = word(row, column / 64) >> column % 64;
    return column % 64 == 0 ? low : low | word(row, column / 64 + 1) << (64 - column % 64);
  }
  std::int64_t count(std::int64_t row, Range columns) const {
    std::int64_t result = 0;
    for (std::int64_t column = columns.begin; column < columns.end; column += 64) {
      result += std::popcount(bits(row, column) & bits_of(columns, column));
    }
    return result;
  }
  /// The smallest range with all bits of a row.
  Range extent(std::int64_t row) const {
    Range result;
    for (std::int64_t i = 0; i < words_; ++i) {
      const std::uint64_t bits = word(row, i);
      if (bits != 0) result = hull(result, {i * 64 + std::countr_zero(bits), (i + 1) * 64 - std::countl_zero(bits)});
    }
    return result;
  }
  /// ", 10, 11": each row.
  std::string text() const {
    std::string result;
    for (std::int64_t row = 0; columns_ > 0 && row < rows_; ++row) {
      result += ", ";
      for (std::int64_t column = 0; column < columns_; ++column) result += (bits(row, column) & 1) != 0 ? '1' : '0';
    }
    return result;
  }

 private:
  std::uint64_t word(std::int64_t row, std::int64_t i) const {
    return row < rows_ && i < words_ ? bits_[static_cast<std::size_t>(row * words_ + i)] : 0;
  }

  std::int64_t rows_, columns_, words_;
  std::vector<std::uint64_t> bits_;
};

class Blocks final : public Node {
 public:
  Blocks(std::int32_t size, BitMatrix mask, std::string name)
      : size_(size), mask_(std::move(mask)), name_(std::move(name)) {
    for (std::int64_t row = 0; row < mask_.rows(); ++row) extents_.push_back(mask_.extent(row));
  }

  Range bounds(const Span& sequence, Range queries) const override {
    const Range rows = intersection(blocks(queries), {0, mask_.rows()});
    Range result;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      result = hull(result, extents_[static_cast<std::size_t>(row)]);
    }
    return intersection({result.begin * size_, result.end * size_}, keys_of(sequence));
  }
  Tile classify(const Span& /*sequence*/, Range queries, Range keys) const override {
    const Range rows = blocks(queries);
    const Range columns = blocks(keys);
    std::int64_t visible = 0;
    for (std::int64_t row = rows.begin; row < std::min(rows.end, mask_.rows()); ++row) {
      visible += mask_.count(row, intersection(columns, {0, mask_.columns()}));
      // Neither empty nor full from here on.
      if (visible != 0 && visible != (row + 1 - rows.begin) * columns.size()) return Tile::partial;
    }
    return tile_of(visible, rows.size() * columns.size());
  }
  std::uint64_t bits(const Span& /*sequence*/, std::int64_t query, std::int64_t first_key) const override {
    const Range columns = blocks({first_key, first_key + 64});
    std::uint64_t result = 0;
    for (std::uint64_t visible = mask_.bits(query / size_, columns.begin) & bits_of(columns, columns.begin);
         visible != 0; visible &= visible - 1) {
      const std::int64_t key = (columns.begin + std::countr_zero(visible)) * size_;
      result |= bits_of({key, key + size_}, first_key);
    }
    return result;
  }
  Visibility::Dependence dependence() const override { return Visibility::Dependence::call; }
  std::string text() const override {
    return name_.empty() ? "blocks(" + std::to_string(size_) + mask_.text() + ")" : name_;
  }

 private:
  Range blocks(Range rows) const { return {rows.begin / size_, (rows.end - 1) / size_ + 1}; }

  std::int64_t size_;
  BitMatrix mask_;
  std::string name_;
  std::vector<Range> extents_;  ///< of each row of the mask
};

}  // namespace

Visibility Visibility::documents(std::vector<std::int32_t> of_queries, std::vector<std::int32_t> of_keys) {
  return Visibility(std::make_shared<const SameDocument>(std::move(of_queries), std::move(of_keys)));
}

std::shared_ptr<const Visibility::Node> make_blocks(std::int32_t size, std::int32_t query_blocks,
                                                    std::int32_t key_blocks, std::span<const std::uint8_t> visible,
                                                    std::string name) {
  require(size >= 1, "visibility: blocks: the size is {}; give 1 or more", size);
  require(query_blocks >= 0 && key_blocks >= 0, "visibility: blocks: a mask of {} x {} blocks; give 0 or more",
          query_blocks, key_blocks);
  const std::int64_t expected = std::int64_t{query_blocks} * key_blocks;
  require(std::ssize(visible) == expected, "visibility: blocks: the mask of {} x {} blocks has {} elements; give {}",
          query_blocks, key_blocks, visible.size(), expected);
  return std::make_shared<const Blocks>(size, BitMatrix(query_blocks, key_blocks, visible), std::move(name));
}

Visibility Visibility::blocks(std::int32_t size, std::int32_t query_blocks, std::int32_t key_blocks,
                              std::vector<std::uint8_t> visible) {
  return Visibility(make_blocks(size, query_blocks, key_blocks, visible, ""));
}

}  // namespace rapt::attention
