#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "rapt/error.h"
#include "rapt/visibility.h"

namespace rapt::attention {
namespace {

constexpr std::int32_t unlimited = Visibility::unlimited;

std::string error_of(const std::string& text) {
  try {
    Visibility::parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

/// The same pairs, whatever the shape of the sequence.
void expect_same_set(const Visibility& a, const Visibility& b) {
  for (const Span& sequence : {Span{0, 9, 0, 9}, Span{0, 1, 0, 70}, Span{0, 80, 0, 200}, Span{0, 5, 0, 3}}) {
    for (std::int32_t query = 0; query < sequence.query_count; ++query) {
      for (std::int32_t key = 0; key < sequence.key_count; key += 64) {
        ASSERT_EQ(a.bits(sequence, query, key), b.bits(sequence, query, key))
            << a.text() << " and " << b.text() << ", query " << query << " of " << sequence.query_count;
      }
    }
  }
}

TEST(VisibilityParse, ParseReadsWhatAPersonWrites) {
  using V = Visibility;
  const std::vector<std::pair<std::string, Visibility>> examples{
      {"  full ", V::full()},
      {"window(3,0)", V::window(3, 0)},
      {"window( unlimited , 2 )", V::window(unlimited, 2)},
      {"causal&window(3, 2)|prefix(2)", (V::causal() & V::window(3, 2)) | V::prefix(2)},
      {"causal & (window(3, 2) | prefix(2))", V::causal() & (V::window(3, 2) | V::prefix(2))},
      {"((causal))", V::causal()},
      {"global_keys(0..3, 8, 60..70)", V::global_keys({0, 1, 2, 3, 8, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70})},
      {"global_queries(0, 2..4, start)", V::global_queries({0, 2, 3, 4}, Align::start)},
      {"blocks(2, 110, 011)", V::blocks(2, 2, 3, {1, 1, 0, 0, 1, 1})},
      {"longformer(6, 0, 5)", V::longformer(6, {0, 5})},
      {"longformer(6, none)", V::longformer(6, {})},
      {"big_bird(80, 8)", V::big_bird({.length = 80, .block = 8})},
      {"big_bird(80, 8, 1, 2, 1, 18446744073709551615)", V::big_bird({.length = 80,
                                                                      .block = 8,
                                                                      .window_blocks = 1,
                                                                      .random_blocks = 2,
                                                                      .global_blocks = 1,
                                                                      .seed = 18446744073709551615U})},
      {"sparse_transformer_strided(4)", V::sparse_transformer_strided(4)},
      {"sparse_transformer_fixed(4, 1)", V::sparse_transformer_fixed(4, 1)},
  };
  for (const auto& [text, visibility] : examples) {
    SCOPED_TRACE(text);
    expect_same_set(V::parse(text), visibility);
    EXPECT_EQ(V::parse(text).text(), visibility.text());
  }
}

/// Whatever is composed, its text gives it back.
TEST(VisibilityParse, ParseIsTheInverseOfText) {
  const std::vector<Visibility> sets{Visibility::causal(),
                                     Visibility::window(4, 1, Align::start),
                                     Visibility::prefix(3),
                                     Visibility::strided(3),
                                     Visibility::columns(5, 1, 3),
                                     Visibility::same_block(4),
                                     Visibility::global_keys({0, 9, 10, 11, 12}),
                                     Visibility::blocks(3, 2, 2, {1, 0, 1, 1})};
  RandomSequence random(31);
  for (int i = 0; i < 200; ++i) {
    std::vector<Visibility> pool = sets;
    for (int joined = 0; joined < 6; ++joined) {
      const Visibility a = pool[random.below(pool.size())];
      const Visibility b = pool[random.below(pool.size())];
      pool.push_back(random.below(2) == 0 ? a & b : a | b);
    }
    const Visibility parsed = Visibility::parse(pool.back().text());
    EXPECT_EQ(parsed.text(), pool.back().text());
    EXPECT_EQ(parsed.dependence(), pool.back().dependence());
    expect_same_set(parsed, pool.back());
  }
}

TEST(VisibilityParse, ParseSaysWhereItStops) {
  const std::vector<std::pair<std::string, std::string>> examples{
      {"", "visibility: \"\", column 1: expected \"(\" or one of full, causal, "},
      {"windw(3, 0)", "column 1: expected \"(\" or one of full, causal, window, "},
      {"documents", "found \"documents\""},
      {"window(3)",
       "visibility: \"window(3)\", column 1: expected window(LEFT, RIGHT[, start]), found \"window\" with 1 arguments"},
      {"window(3; 0)", "column 9: expected \",\" or \")\", found \";\""},
      {"window(3, -1)", "column 11: expected an argument, found \"-\""},
      {"window(3, x)", "column 11: expected a number from 0 to 2147483647, found \"x\""},
      {"window(3, 3000000000)", "column 11: expected a number"},
      {"window(3, 0", "column 12: expected \",\" or \")\", found the end"},
      {"causal & ", "column 10: expected \"(\" or one of"},
      {"causal window(3, 0)", "column 8: expected \"&\", \"|\" or the end, found \"window\""},
      {"(causal", "column 8: expected \"&\", \"|\" or \")\", found the end"},
      {"strided(0)", "visibility: strided: the stride is 0; give 1 or more"},
      {"blocks(4, 10, 1)", "row 1 of the mask has 1 blocks, the first one has 2"},
      {"blocks(4, 12)", "column 11: expected a row of the mask, of 0s and 1s, found \"12\""},
      {"global_keys(0..2000000000)", "more positions than a list may hold"},
      {"big_bird(2000000000, 1)", "more than 4096 blocks"},
      {std::string(300, '('), "at most 200 parentheses"},
  };
  for (const auto& [text, expected] : examples) {
    const std::string message = error_of(text);
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\ninstead of " << expected;
    EXPECT_EQ(message.find("visibility: "), 0u) << message;
  }
}

TEST(VisibilityParse, DependenceIsTheStrongestOfItsParts) {
  using V = Visibility;
  using D = Visibility::Dependence;
  const std::vector<std::pair<Visibility, Visibility::Dependence>> examples{
      {V::full(), D::none},
      {V::prefix(3) | V::columns(4, 0, 2) | V::global_keys({1}), D::none},
      {V::causal(), D::position},
      {V::prefix(3) & V::window(2, 2), D::position},
      {V::strided(3) | V::same_block(4) | V::global_queries({0}), D::position},
      {V::causal(Align::start), D::call},
      {V::causal() & V::same_block(4, Align::start), D::call},
      {V::big_bird({.length = 64}), D::call},
      {V::documents({1}, {1}) | V::prefix(1), D::call},
  };
  for (const auto& [visibility, dependence] : examples)
    EXPECT_EQ(visibility.dependence(), dependence) << visibility.text();
}

}  // namespace
}  // namespace rapt::attention
