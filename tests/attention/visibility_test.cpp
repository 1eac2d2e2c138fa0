#include "rapt/visibility.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <set>

#include "attention/testing.h"

namespace rapt::attention {
namespace {

using Numbers = std::vector<std::int32_t>;

constexpr std::int32_t unlimited = Visibility::unlimited;
constexpr std::int32_t highest = std::numeric_limits<std::int32_t>::max();
/// Rows of the batches that random sequences lie in.
constexpr int batch_rows = 256;

/// Random numbers as the tests want them.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  /// In [low, high].
  int between(int low, int high) {
    return low + static_cast<int>(random_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool chance(int percent) { return between(0, 99) < percent; }
  template <typename T>
  T among(const std::vector<T>& choices) {
    return choices[static_cast<std::size_t>(between(0, static_cast<int>(choices.size()) - 1))];
  }
  Align align() { return chance(50) ? Align::end : Align::start; }
  Numbers numbers(int count, int low, int high) {
    Numbers result(static_cast<std::size_t>(count));
    for (std::int32_t& number : result) number = between(low, high);
    return result;
  }
  /// [begin, end) within [0, count).
  std::pair<int, int> range(int count) {
    const int begin = between(0, count);
    const int most = count - begin;
    return {begin, begin + std::min(most, among<int>({0, 1, between(0, most), 64, most}))};
  }

 private:
  RandomSequence random_;
};

using Predicate = std::function<bool(const Span&, int query, int key)>;

/// A pattern, and what it means pair by pair.
struct Pattern {
  Visibility visibility;
  Predicate sees;
  bool exact = true;  ///< classify never answers partial for what is empty or full
  bool tight = true;  ///< bounds are the smallest
};

std::int64_t position(const Span& sequence, int query, Align align) {
  return align == Align::start ? query : std::int64_t{query} + sequence.key_count - sequence.query_count;
}

Pattern window(std::int32_t left, std::int32_t right, Align align) {
  return {Visibility::window(left, right, align), [=](const Span& sequence, int query, int key) {
            const std::int64_t distance = key - position(sequence, query, align);
            return (left == unlimited || -distance <= left) && (right == unlimited || distance <= right);
          }};
}

Pattern causal(Align align) {
  return {Visibility::causal(align),
          [=](const Span& sequence, int query, int key) { return key <= position(sequence, query, align); }};
}

Pattern prefix(std::int32_t keys) {
  return {Visibility::prefix(keys), [=](const Span&, int, int key) { return key < keys; }};
}

Pattern documents(const Numbers& of_queries, const Numbers& of_keys) {
  return {Visibility::documents(of_queries, of_keys), [=](const Span& sequence, int query, int key) {
            return of_queries.at(static_cast<std::size_t>(sequence.query_begin + query)) ==
                   of_keys.at(static_cast<std::size_t>(sequence.key_begin + key));
          }};
}

Pattern strided(std::int32_t stride, Align align) {
  return {Visibility::strided(stride, align), [=](const Span& sequence, int query, int key) {
            return std::abs(position(sequence, query, align) - key) % stride == 0;
          }};
}

Pattern columns(std::int32_t period, std::int32_t first, std::int32_t last) {
  return {Visibility::columns(period, first, last),
          [=](const Span&, int, int key) { return first <= key % period && key % period < last; }};
}

Pattern same_block(std::int32_t size, Align align) {
  return {Visibility::same_block(size, align), [=](const Span& sequence, int query, int key) {
            const auto block = [&](std::int64_t x) { return std::floor(static_cast<double>(x) / size); };
            return block(position(sequence, query, align)) == block(key);
          }};
}

Pattern blocks(std::int32_t size, int query_blocks, int key_blocks, const std::vector<std::uint8_t>& mask) {
  const auto sees = [=](const Span&, int query, int key) {
    const int row = query / size;
    const int column = key / size;
    return row < query_blocks && column < key_blocks &&
           mask.at(static_cast<std::size_t>(row * key_blocks + column)) != 0;
  };
  // Bounds are those of whole rows of the mask, which may reach beyond the keys.
  return {.visibility = Visibility::blocks(size, query_blocks, key_blocks, mask), .sees = sees, .tight = false};
}

bool contains(const Numbers& numbers, std::int64_t x) {
  return std::find(numbers.begin(), numbers.end(), x) != numbers.end();
}

Pattern global_keys(const Numbers& positions) {
  return {Visibility::global_keys(positions), [=](const Span&, int, int key) { return contains(positions, key); }};
}

Pattern global_queries(const Numbers& positions, Align align) {
  return {Visibility::global_queries(positions, align),
          [=](const Span& sequence, int query, int) { return contains(positions, position(sequence, query, align)); }};
}

Pattern full() {
  return {Visibility::full(), [](const Span&, int, int) { return true; }};
}

/// Ids of rows: few long documents, each of one piece or of several, or one for almost every row.
Numbers random_documents(Draw& draw) {
  const int longest = draw.among<int>({1, 10, 100});
  const bool ascending = draw.chance(50);
  const int ids = draw.among<int>({2, 6, 100});
  Numbers result;
  for (int id = -1; result.size() < batch_rows;) {
    id = ascending ? id + draw.between(1, 2) : draw.between(-1, ids);
    result.insert(result.end(), static_cast<std::size_t>(draw.between(1, longest)), id);
  }
  result.resize(batch_rows);
  return result;
}

Pattern random_documents_pattern(Draw& draw) {
  const Numbers of_queries = random_documents(draw);
  return documents(of_queries, draw.chance(50) ? of_queries : random_documents(draw));
}

Pattern random_blocks(Draw& draw) {
  const int size = draw.among<int>({1, 2, 7, 32, 64, 100});
  const int query_blocks = draw.between(0, 2 * batch_rows / size);
  const int key_blocks = draw.between(0, 2 * batch_rows / size);
  const int density = draw.among<int>({1, 20, 90, 100});
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(query_blocks * key_blocks));
  for (std::uint8_t& element : mask)
    element = draw.chance(density) ? static_cast<std::uint8_t>(draw.between(1, 255)) : 0;
  return blocks(size, query_blocks, key_blocks, mask);
}

Pattern random_columns(Draw& draw) {
  const int period = draw.among<int>({1, 5, 64, 70, 300});
  const int first = draw.between(0, period);
  return columns(period, first, draw.between(first, period));
}

Pattern random_primitive(Draw& draw) {
  const auto side = [&] { return draw.among<int>({unlimited, 0, 1, 20, 64, draw.between(0, 300)}); };
  switch (draw.between(0, 10)) {
    case 0:
      return causal(draw.align());
    case 1:
      return window(side(), side(), draw.align());
    case 2:
      return prefix(draw.between(0, 220));
    case 3:
      return random_documents_pattern(draw);
    case 4:
      return strided(draw.among<int>({1, 2, 3, 17, 64, 65, 150, 500}), draw.align());
    case 5:
      return random_columns(draw);
    case 6:
      return same_block(draw.among<int>({1, 3, 64, 90, 1000}), draw.align());
    case 7:
      return random_blocks(draw);
    case 8:
      return global_keys(draw.numbers(draw.among<int>({0, 1, 5, 300}), 0, batch_rows));
    case 9:
      return global_queries(draw.numbers(draw.among<int>({0, 1, 5, 300}), 0, batch_rows), draw.align());
    default:
      return full();
  }
}

Pattern random_pattern(Draw& draw, int depth) {
  if (depth == 0) return random_primitive(draw);
  const Pattern a = random_pattern(draw, draw.between(0, depth - 1));
  const Pattern b = random_pattern(draw, depth - 1);
  const auto both = [=](const Span& s, int query, int key) { return a.sees(s, query, key) && b.sees(s, query, key); };
  const auto either = [=](const Span& s, int query, int key) { return a.sees(s, query, key) || b.sees(s, query, key); };
  return draw.chance(50) ? Pattern{a.visibility & b.visibility, both, false, false}
                         : Pattern{a.visibility | b.visibility, either, false, false};
}

Span random_span(Draw& draw) {
  const auto count = [&] {
    return draw.among<int>({0, 1, 2, 63, 64, 65, 128, draw.between(2, 200), draw.between(2, 200)});
  };
  const auto begin = [&] { return draw.between(0, batch_rows - 200); };
  return {.query_begin = begin(), .query_count = count(), .key_begin = begin(), .key_count = count()};
}

std::string describe(const Span& sequence) {
  return ::testing::PrintToString(
      std::vector<int>{sequence.query_begin, sequence.query_count, sequence.key_begin, sequence.key_count});
}

/// A pattern written out for one sequence.
class Matrix {
 public:
  Matrix(const Pattern& pattern, const Span& sequence) : keys_(sequence.key_count) {
    for (int query = 0; query < sequence.query_count; ++query) {
      for (int key = 0; key < keys_; ++key) seen_.push_back(pattern.sees(sequence, query, key));
    }
  }
  std::uint64_t bits(int query, int first_key) const {
    std::uint64_t result = 0;
    for (int bit = 0; bit < 64 && first_key + bit < keys_; ++bit) {
      result |= static_cast<std::uint64_t>(at(query, first_key + bit)) << bit;
    }
    return result;
  }
  Tile classify(std::pair<int, int> queries, std::pair<int, int> keys) const {
    int seen = 0, hidden = 0;
    for (int query = queries.first; query < queries.second; ++query) {
      for (int key = keys.first; key < keys.second; ++key) ++(at(query, key) ? seen : hidden);
    }
    if (seen == 0) return Tile::empty;
    return hidden == 0 ? Tile::full : Tile::partial;
  }
  Visibility::KeyRange bounds(std::pair<int, int> queries) const {
    Visibility::KeyRange result{keys_, 0};
    for (int query = queries.first; query < queries.second; ++query) {
      for (int key = 0; key < keys_; ++key) {
        if (at(query, key)) result = {std::min(result.begin, key), std::max(result.end, key + 1)};
      }
    }
    return result.end == 0 ? Visibility::KeyRange{} : result;
  }

 private:
  bool at(int query, int key) const { return seen_[static_cast<std::size_t>(query * keys_ + key)] != 0; }

  int keys_;
  std::vector<std::uint8_t> seen_;
};

void check_bits(const Pattern& pattern, const Span& sequence, const Matrix& matrix, Draw& draw) {
  for (int query = 0; query < sequence.query_count; ++query) {
    for (int first_key = 0; first_key < sequence.key_count + 64; first_key += 64) {
      ASSERT_EQ(pattern.visibility.bits(sequence, query, first_key), matrix.bits(query, first_key))
          << "query " << query << ", keys from " << first_key;
    }
    const int first_key = draw.between(0, sequence.key_count + 100);
    ASSERT_EQ(pattern.visibility.bits(sequence, query, first_key), matrix.bits(query, first_key))
        << "query " << query << ", keys from " << first_key;
  }
}

void check_classify(const Pattern& pattern, const Span& sequence, const Matrix& matrix, std::pair<int, int> queries,
                    std::pair<int, int> keys) {
  const Tile expected = matrix.classify(queries, keys);
  const Tile found = pattern.visibility.classify(sequence, queries.first, queries.second, keys.first, keys.second);
  if (found == Tile::partial && !pattern.exact) return;
  ASSERT_EQ(found, expected) << "queries " << ::testing::PrintToString(queries) << ", keys "
                             << ::testing::PrintToString(keys);
}

void check_bounds(const Pattern& pattern, const Span& sequence, const Matrix& matrix, std::pair<int, int> queries) {
  const Visibility::KeyRange seen = matrix.bounds(queries);
  const Visibility::KeyRange found = pattern.visibility.bounds(sequence, queries.first, queries.second);
  SCOPED_TRACE("queries " + ::testing::PrintToString(queries));
  ASSERT_LE(0, found.begin);
  ASSERT_LE(found.end, sequence.key_count);
  if (pattern.tight) {
    ASSERT_EQ(found.begin, seen.begin);
    ASSERT_EQ(found.end, seen.end);
  } else if (seen.end != 0) {
    ASSERT_LE(found.begin, seen.begin);
    ASSERT_LE(seen.end, found.end);
  }
}

/// Compares all that a pattern answers about a sequence with its meaning.
void check(const Pattern& pattern, const Span& sequence, Draw& draw) {
  SCOPED_TRACE(pattern.visibility.text() + " for " + describe(sequence));
  const Matrix matrix(pattern, sequence);
  ASSERT_NO_FATAL_FAILURE(check_bits(pattern, sequence, matrix, draw));
  for (int i = 0; i < 24; ++i) {
    const auto queries = draw.range(sequence.query_count);
    ASSERT_NO_FATAL_FAILURE(check_classify(pattern, sequence, matrix, queries, draw.range(sequence.key_count)));
    ASSERT_NO_FATAL_FAILURE(check_bounds(pattern, sequence, matrix, queries));
  }
}

void check_random_patterns(std::uint64_t first_seed, int count, int max_depth) {
  for (std::uint64_t seed = first_seed; seed < first_seed + static_cast<std::uint64_t>(count); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Draw draw(seed);
    const Pattern pattern = random_pattern(draw, draw.between(0, max_depth));
    for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(check(pattern, random_span(draw), draw));
  }
}

TEST(Visibility, PrimitivesSayExactlyWhatTheyMean) {
  check_random_patterns(1000, 400, 0);
}

TEST(Visibility, CombinationsNeverContradictWhatTheyMean) {
  check_random_patterns(2000, 400, 3);
}

TEST(Visibility, NoQueriesOrNoKeysAreEmpty) {
  const Span sequence{0, 10, 0, 20};
  for (const Visibility& v : {Visibility::full(), Visibility::causal(), Visibility::prefix(5) | Visibility::causal()}) {
    EXPECT_EQ(v.classify(sequence, 3, 3, 0, 1), Tile::empty);
    EXPECT_EQ(v.classify(sequence, 9, 10, 4, 4), Tile::empty);
    EXPECT_EQ(v.classify({0, 0, 0, 20}, 0, 64, 0, 64), Tile::empty);
    EXPECT_EQ(v.bounds(sequence, 4, 4), Visibility::KeyRange{});
    EXPECT_EQ(v.bounds({0, 10, 0, 0}, 0, 10), Visibility::KeyRange{});
    EXPECT_EQ(v.bits({0, 10, 0, 0}, 3, 0), 0u);
  }
}

TEST(Visibility, RangesAreCutToTheSequence) {
  const Span sequence{0, 10, 0, 10};
  EXPECT_EQ(Visibility::full().classify(sequence, 0, 64, 0, 64), Tile::full);
  EXPECT_EQ(Visibility::prefix(10).classify(sequence, 0, 64, 0, 64), Tile::full);
  EXPECT_EQ(Visibility::global_queries({9}).classify(sequence, 9, 64, 0, 64), Tile::full);
  EXPECT_EQ(Visibility::causal().bounds(sequence, 7, 64), (Visibility::KeyRange{0, 10}));
}

TEST(Visibility, TheLargestNumbersDoNotOverflow) {
  Draw draw(1);
  const std::vector<Pattern> patterns{causal(Align::end),
                                      causal(Align::start),
                                      window(highest, highest, Align::end),
                                      window(highest, unlimited, Align::start),
                                      window(0, 0, Align::end),
                                      prefix(highest),
                                      strided(highest, Align::end),
                                      strided(2, Align::end),
                                      columns(highest, 0, 1),
                                      columns(highest, highest - 1, highest),
                                      same_block(highest, Align::end),
                                      same_block(2, Align::end),
                                      blocks(highest, 1, 1, {1}),
                                      global_keys({0, highest}),
                                      global_queries({0, highest - 1, highest}, Align::end),
                                      global_queries({0, highest - 1, highest}, Align::start)};
  for (const Span& sequence : {Span{0, highest, 0, 1}, Span{0, 1, 0, highest}, Span{0, highest, 0, highest}}) {
    for (const Pattern& pattern : patterns) {
      SCOPED_TRACE(pattern.visibility.text() + " for " + describe(sequence));
      for (const int query : {0, sequence.query_count / 2, sequence.query_count - 1}) {
        for (const int key : {0, sequence.key_count / 2, sequence.key_count - 1}) {
          const bool sees = pattern.sees(sequence, query, key);
          EXPECT_EQ(pattern.visibility.bits(sequence, query, key) & 1, sees);
          EXPECT_EQ(pattern.visibility.classify(sequence, query, query + 1, key, key + 1),
                    sees ? Tile::full : Tile::empty);
          const Visibility::KeyRange bounds = pattern.visibility.bounds(sequence, query, query + 1);
          EXPECT_TRUE(!sees || (bounds.begin <= key && key < bounds.end));
          EXPECT_LE(std::bit_width(pattern.visibility.bits(sequence, query, key)), sequence.key_count - key);
        }
      }
      const Visibility::KeyRange all = pattern.visibility.bounds(sequence, 0, sequence.query_count);
      EXPECT_TRUE(0 <= all.begin && all.begin <= all.end && all.end <= sequence.key_count);
      pattern.visibility.classify(sequence, 0, sequence.query_count, 0, sequence.key_count);
    }
  }
}

TEST(Visibility, WhatIsNarrowNamesFewKeys) {
  const Span sequence{0, 100000, 0, 100000};
  EXPECT_EQ(Visibility::window(128, 128).bounds(sequence, 5000, 5064), (Visibility::KeyRange{4872, 5192}));
  EXPECT_EQ((Visibility::causal() & Visibility::window(511, 0)).bounds(sequence, 5000, 5064),
            (Visibility::KeyRange{4489, 5064}));
  EXPECT_EQ((Visibility::same_block(256) | Visibility::prefix(4)).bounds(sequence, 300, 364),
            (Visibility::KeyRange{0, 512}));
  EXPECT_EQ((Visibility::causal() & Visibility::prefix(0)).bounds(sequence, 300, 364), Visibility::KeyRange{});
}

// What a decoder with a sliding window skips.
TEST(Visibility, CombinedWindowsAreClassifiedExactly) {
  Draw draw(3);
  const Pattern causal_window{Visibility::causal() & Visibility::window(70, unlimited), window(70, 0, Align::end).sees};
  for (const Span& sequence : {Span{0, 200, 0, 200}, Span{0, 1, 0, 190}, Span{0, 180, 0, 60}}) {
    ASSERT_NO_FATAL_FAILURE(check(causal_window, sequence, draw));
  }
}

TEST(Visibility, FullIsTheUnitOfAndAndAbsorbsOr) {
  const Visibility x = Visibility::prefix(3);
  EXPECT_TRUE(Visibility().is_full());
  EXPECT_FALSE(x.is_full());
  EXPECT_EQ((Visibility::full() & x).text(), "prefix(3)");
  EXPECT_EQ((x & Visibility::full()).text(), "prefix(3)");
  EXPECT_TRUE((Visibility::full() | x).is_full());
  EXPECT_TRUE((x | Visibility::full()).is_full());
  EXPECT_EQ((x & x).text(), "prefix(3)");
  EXPECT_EQ((x | x).text(), "prefix(3)");
}

TEST(Visibility, WhatHidesNothingIsFull) {
  EXPECT_TRUE(Visibility::window(unlimited, unlimited).is_full());
  EXPECT_TRUE(Visibility::strided(1).is_full());
  EXPECT_TRUE(Visibility::columns(8, 0, 8).is_full());
}

TEST(Visibility, TextIsAnExpression) {
  using V = Visibility;
  const std::vector<std::pair<Visibility, std::string>> examples{
      {V::full(), "full"},
      {V::causal(), "causal"},
      {V::causal(Align::start), "causal(start)"},
      {V::window(511, 0), "window(511, 0)"},
      {V::window(unlimited, 3, Align::start), "window(unlimited, 3, start)"},
      {V::prefix(7), "prefix(7)"},
      {V::documents({1}, {1}), "documents"},
      {V::strided(4), "strided(4)"},
      {V::strided(4, Align::start), "strided(4, start)"},
      {V::columns(16, 12, 16), "columns(16, 12, 16)"},
      {V::same_block(64), "same_block(64)"},
      {V::same_block(64, Align::start), "same_block(64, start)"},
      {V::blocks(64, 2, 2, {1, 0, 1, 1}), "blocks(64, 10, 11)"},
      {V::blocks(64, 2, 0, {}), "blocks(64)"},
      {V::global_keys({3, 0, 3}), "global_keys(0, 3)"},
      {V::global_keys({}), "global_keys(none)"},
      {V::global_queries({10, 1, 2, 3, 5, 7, 8}), "global_queries(1..3, 5, 7, 8, 10)"},
      {V::global_queries({0}, Align::start), "global_queries(0, start)"},
      {V::causal() & V::window(511, 0), "causal & window(511, 0)"},
      {V::causal() & (V::prefix(1) & V::prefix(2)), "causal & prefix(1) & prefix(2)"},
      {V::causal() & (V::prefix(1) | V::prefix(2)), "causal & (prefix(1) | prefix(2))"},
      {(V::prefix(1) | V::prefix(2)) & V::causal(), "(prefix(1) | prefix(2)) & causal"},
      {(V::causal() & V::prefix(1)) | V::prefix(2), "causal & prefix(1) | prefix(2)"},
      {V::longformer(512, {0}), "window(256, 256) | global_keys(0) | global_queries(0)"},
      {V::sparse_transformer_strided(128), "causal & (window(127, 0) | strided(128))"},
      {V::sparse_transformer_fixed(128, 8), "causal & (same_block(128) | columns(128, 120, 128))"},
      {V::big_bird({.length = 130}), "big_bird(130, 64, 3, 3, 2, 1)"},
  };
  for (const auto& [visibility, text] : examples) EXPECT_EQ(visibility.text(), text);
}

void check_preset(const Visibility& visibility, const Predicate& sees) {
  Draw draw(5);
  const Pattern pattern{visibility, sees, false, false};
  for (const int length : {1, 17, 64, 200}) {
    ASSERT_NO_FATAL_FAILURE(check(pattern, {3, length, 3, length}, draw));
  }
}

TEST(VisibilityPresets, LongformerIsAWindowAndGlobalTokens) {
  const Numbers tokens{0, 40, 41, 150};
  for (const int window : {0, 1, 6, 7, 64}) {
    check_preset(Visibility::longformer(window, tokens), [&](const Span&, int i, int j) {
      return std::abs(i - j) <= window / 2 || contains(tokens, i) || contains(tokens, j);
    });
  }
}

// Section 4.3: A(1) = {max(0, i - l), ..., i}, A(2) = {j : (i - j) mod l = 0}, both up to i.
TEST(VisibilityPresets, SparseTransformerStrided) {
  for (const int stride : {1, 2, 13, 64, 500}) {
    check_preset(Visibility::sparse_transformer_strided(stride),
                 [=](const Span&, int i, int j) { return j <= i && (j >= i - stride || (i - j) % stride == 0); });
  }
}

// Section 4.3: A(1) = {j : floor(j / l) = floor(i / l)}, A(2) = {j : j mod l in {l - c, ..., l - 1}}, both up to i.
TEST(VisibilityPresets, SparseTransformerFixed) {
  for (const int stride : {1, 2, 13, 64, 500}) {
    for (const int summary : {1, (stride + 1) / 2, stride}) {
      check_preset(Visibility::sparse_transformer_fixed(stride, summary), [=](const Span&, int i, int j) {
        return j <= i && (j / stride == i / stride || j % stride >= stride - summary);
      });
    }
  }
}

/// The blocks that block `row` of a sequence sees.
std::set<int> blocks_seen(const Visibility& visibility, int length, int block, int row) {
  const Span sequence{0, length, 0, length};
  std::set<int> result;
  for (int column = 0; column * block < length; ++column) {
    const Tile tile =
        visibility.classify(sequence, row * block, (row + 1) * block, column * block, (column + 1) * block);
    EXPECT_NE(tile, Tile::partial);
    if (tile == Tile::full) result.insert(column);
  }
  return result;
}

/// The blocks that BigBird's definition gives without chance.
std::set<int> fixed_blocks(const Visibility::BigBird& options, int blocks, int row) {
  std::set<int> result;
  for (int column = 0; column < blocks; ++column) {
    const bool in_window = options.window_blocks > 0 && std::abs(row - column) <= (options.window_blocks - 1) / 2;
    if (in_window || row < options.global_blocks || column < options.global_blocks) result.insert(column);
  }
  return result;
}

TEST(VisibilityPresets, BigBirdAddsRandomBlocksToItsWindowAndGlobalBlocks) {
  const std::vector<Visibility::BigBird> examples{
      {.length = 1000, .block = 10},
      {.length = 1005, .block = 10, .window_blocks = 5, .random_blocks = 2, .global_blocks = 1, .seed = 9},
      {.length = 300, .block = 64, .window_blocks = 1, .random_blocks = 2, .global_blocks = 0},
      {.length = 300, .block = 64, .window_blocks = 0, .random_blocks = 0, .global_blocks = 1},
      {.length = 100, .block = 30, .random_blocks = 50},
      {.length = 100, .block = 30, .global_blocks = 50},
      {.length = 5, .block = 64}};
  for (const Visibility::BigBird& options : examples) {
    const Visibility visibility = Visibility::big_bird(options);
    const int blocks = (options.length + options.block - 1) / options.block;
    for (int row = 0; row < blocks; ++row) {
      const std::set<int> seen = blocks_seen(visibility, options.length, options.block, row);
      const std::set<int> fixed = fixed_blocks(options, blocks, row);
      EXPECT_TRUE(std::includes(seen.begin(), seen.end(), fixed.begin(), fixed.end()));
      const int hidden = blocks - static_cast<int>(fixed.size());
      EXPECT_EQ(seen.size() - fixed.size(), std::min(options.random_blocks, hidden)) << "row " << row;
    }
  }
}

TEST(VisibilityPresets, BigBirdDrawsEachRowFromItsSeed) {
  const auto random_part = [](std::uint64_t seed, int row) {
    const Visibility::BigBird options{.length = 4000, .block = 10, .seed = seed};
    std::set<int> seen = blocks_seen(Visibility::big_bird(options), options.length, options.block, row);
    for (const int block : fixed_blocks(options, 400, row)) seen.erase(block);
    return seen;
  };
  EXPECT_EQ(random_part(1, 50), random_part(1, 50));
  EXPECT_NE(random_part(1, 50), random_part(2, 50));
  EXPECT_NE(random_part(1, 50), random_part(1, 51));
  std::set<int> drawn;
  for (int row = 2; row < 100; ++row) drawn.merge(random_part(1, row));
  EXPECT_GT(drawn.size(), 150u);  // of 294 draws among some 395 blocks
}

TEST(VisibilityPresets, BigBirdEndsWithItsLength) {
  const Visibility visibility = Visibility::big_bird({.length = 100, .block = 10});
  EXPECT_TRUE(Visibility::big_bird({.length = 0}).bounds({0, 5, 0, 5}, 0, 5) == Visibility::KeyRange{});
  EXPECT_EQ(visibility.classify({0, 200, 0, 200}, 0, 100, 100, 200), Tile::empty);
  EXPECT_EQ(visibility.classify({0, 200, 0, 200}, 100, 200, 0, 200), Tile::empty);
}

TEST(Visibility, ArgumentsThatMakeNoSenseAreRefused) {
  using V = Visibility;
  const std::vector<std::pair<std::function<V()>, std::string>> examples{
      {[] { return V::window(-2, 0); }, "window: left is -2;"},
      {[] { return V::window(0, -7); }, "window: right is -7;"},
      {[] { return V::prefix(-1); }, "prefix: -1 keys;"},
      {[] { return V::strided(0); }, "strided: the stride is 0;"},
      {[] { return V::strided(-4); }, "strided: the stride is -4;"},
      {[] { return V::columns(0, 0, 0); }, "columns: the period is 0;"},
      {[] { return V::columns(8, -1, 4); }, "columns: [-1, 4) does not lie in the period [0, 8);"},
      {[] { return V::columns(8, 5, 4); }, "columns: [5, 4) does not lie"},
      {[] { return V::columns(8, 5, 9); }, "columns: [5, 9) does not lie"},
      {[] { return V::same_block(0); }, "same_block: the size is 0;"},
      {[] { return V::blocks(0, 1, 1, {1}); }, "blocks: the size is 0;"},
      {[] { return V::blocks(1, -1, -1, {1}); }, "blocks: a mask of -1 x -1 blocks;"},
      {[] {
         return V::blocks(1, 2, 2, {1, 1, 1});
       },
       "blocks: the mask of 2 x 2 blocks has 3 elements; give 4"},
      {[] { return V::blocks(1, 65536, 65536, {}); }, "has 0 elements; give 4294967296"},
      {[] {
         return V::global_keys({0, -3});
       },
       "global_keys: position 1 of the list is -3;"},
      {[] { return V::global_queries({-1}); }, "global_queries: position 0 of the list is -1;"},
      {[] { return V::longformer(-2, {}); }, "longformer: a window of -2 keys;"},
      {[] { return V::longformer(2, {-2}); }, "position 0 of the list is -2;"},
      {[] { return V::big_bird({.length = -1}); }, "big_bird: the length is -1;"},
      {[] { return V::big_bird({.length = 9, .block = 0}); }, "big_bird: a block of 0 tokens;"},
      {[] { return V::big_bird({.length = 9, .window_blocks = 2}); }, "big_bird: 2 window blocks;"},
      {[] { return V::big_bird({.length = 9, .window_blocks = -1}); }, "big_bird: -1 window blocks;"},
      {[] { return V::big_bird({.length = 9, .random_blocks = -1}); }, "big_bird: -1 random blocks;"},
      {[] { return V::big_bird({.length = 9, .global_blocks = -1}); }, "big_bird: -1 global blocks;"},
      {[] { return V::sparse_transformer_strided(0); }, "sparse_transformer_strided: the stride is 0;"},
      {[] { return V::sparse_transformer_fixed(0, 1); }, "sparse_transformer_fixed: the stride is 0;"},
      {[] { return V::sparse_transformer_fixed(8, 0); }, "sparse_transformer_fixed: 0 summary keys in a block of 8;"},
      {[] { return V::sparse_transformer_fixed(8, 9); }, "sparse_transformer_fixed: 9 summary keys in a block of 8;"},
  };
  for (const auto& [make, expected] : examples) {
    const std::string message = error_of([&make = make] { make(); });
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\ninstead of " << expected;
    EXPECT_EQ(message.find("visibility: "), 0u) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(Visibility, NestingHasALimit) {
  Visibility visibility = Visibility::prefix(0);
  const auto nest = [&](int keys) {
    visibility = (keys % 2 ? Visibility::prefix(keys) : Visibility::causal()) | visibility;
  };
  for (int keys = 1; keys <= 1000; ++keys) nest(keys);
  EXPECT_EQ(visibility.bounds({0, 1, 0, 2000}, 0, 1), (Visibility::KeyRange{0, 2000}));
  EXPECT_NE(error_of([&] { nest(1); }).find("more than 1000 operators"), std::string::npos);
  EXPECT_EQ(visibility.text().substr(0, 23), "causal | prefix(999) | ");
}

TEST(Visibility, DocumentsNeedAnIdForEveryRow) {
  const Visibility documents = Visibility::documents(Numbers(10), Numbers(12));
  const std::vector<Span> fits{{0, 4, 0, 5}, {4, 6, 5, 7}, {70, 0, 80, 0}};
  const std::vector<Span> queries{{0, 4, 0, 5}, {4, 7, 5, 7}};
  const std::vector<Span> keys{{0, 4, 6, 7}};
  const std::vector<Span> negative{{-1, 4, 0, 5}};
  const std::vector<Span> far{{highest, highest, 0, 5}};
  EXPECT_NO_THROW(documents.check(fits));
  EXPECT_EQ(
      error_of([&] { documents.check(queries); }),
      "visibility: documents: sequence 1 has queries in rows [4, 11) of the batch, there are ids of 10 rows; give "
      "an id for every row");
  EXPECT_NE(error_of([&] { documents.check(keys); }).find("sequence 0 has keys in rows [6, 13)"), std::string::npos);
  EXPECT_NE(error_of([&] { documents.check(negative); }).find("rows [-1, 3)"), std::string::npos);
  EXPECT_NE(error_of([&] { documents.check(far); }).find("rows [2147483647, 4294967294)"), std::string::npos);
  EXPECT_THROW((Visibility::causal() & documents).check(keys), Error);
  EXPECT_THROW((documents | Visibility::causal()).check(keys), Error);
  EXPECT_NO_THROW(Visibility::causal().check(keys));
  EXPECT_NO_THROW(Visibility::full().check(keys));
}

}  // namespace
}  // namespace rapt::attention
