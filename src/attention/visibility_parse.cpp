/// Visibility::parse: from an expression to the sets it names.
#include <fmt/format.h>

#include <algorithm>

#include "attention/expression.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

/// Parentheses within each other: the reader calls itself.
constexpr int most_nested = 200;
/// Positions that one list names, and blocks on a side of Big Bird's mask: what a slip of the pen must not pass.
constexpr std::int64_t most_positions = 1 << 20;
constexpr std::int64_t most_blocks = 1 << 12;

/// The arguments of one set.
class Arguments {
 public:
  Arguments(ExpressionReader& reader, std::vector<std::size_t> places) : reader_(reader), places_(std::move(places)) {}
  std::size_t count() const { return places_.size(); }
  /// `start` as the last argument, and no longer one of them.
  Align align() {
    if (places_.empty()) return Align::end;
    reader_.go_to(places_.back());
    if (!reader_.take_word("start")) return Align::end;
    places_.pop_back();
    return Align::start;
  }
  std::int32_t integer(std::size_t i) {
    reader_.go_to(places_[i]);
    return reader_.integer();
  }
  std::int32_t integer(std::size_t i, std::int32_t otherwise) { return i < count() ? integer(i) : otherwise; }
  std::uint64_t number(std::size_t i, std::uint64_t otherwise) {
    if (i >= count()) return otherwise;
    reader_.go_to(places_[i]);
    return reader_.number(std::numeric_limits<std::uint64_t>::max());
  }
  /// A number of keys, or `unlimited`.
  std::int32_t side(std::size_t i) {
    reader_.go_to(places_[i]);
    return reader_.take_word("unlimited") ? Visibility::unlimited : reader_.integer();
  }
  /// The positions from argument `first` on: "none", or numbers and ranges "0..63".
  std::vector<std::int32_t> positions(std::size_t first) {
    std::vector<std::int32_t> result;
    for (std::size_t i = first; i < count(); ++i) {
      reader_.go_to(places_[i]);
      if (count() == first + 1 && reader_.take_word("none")) break;
      const std::int64_t begin = reader_.integer();
      std::int64_t end = begin;
      if (reader_.take('.') && reader_.take('.')) end = reader_.integer();
      require(end - begin < most_positions - std::ssize(result),
              "visibility: {} to {} are more positions than a list may hold, which is {}", begin, end, most_positions);
      for (std::int64_t position = begin; position <= end; ++position)
        result.push_back(static_cast<std::int32_t>(position));
    }
    return result;
  }
  /// A row of 0s and 1s.
  std::vector<std::uint8_t> row(std::size_t i) {
    reader_.go_to(places_[i]);
    const std::string_view bits = reader_.word();
    if (bits.find_first_not_of("01") != std::string_view::npos) {
      reader_.go_to(places_[i]);
      reader_.refuse("a row of the mask, of 0s and 1s");
    }
    std::vector<std::uint8_t> result;
    for (const char bit : bits) result.push_back(bit == '1');
    return result;
  }

 private:
  ExpressionReader& reader_;
  std::vector<std::size_t> places_;
};

Visibility blocks_of(Arguments& arguments) {
  std::vector<std::uint8_t> mask;
  std::size_t columns = 0;
  for (std::size_t i = 1; i < arguments.count(); ++i) {
    const std::vector<std::uint8_t> row = arguments.row(i);
    if (i == 1) columns = row.size();
    require(row.size() == columns, "visibility: blocks: row {} of the mask has {} blocks, the first one has {}", i - 1,
            row.size(), columns);
    mask.insert(mask.end(), row.begin(), row.end());
  }
  const std::int32_t size = arguments.integer(0);
  return Visibility::blocks(size, static_cast<std::int32_t>(arguments.count() - 1), static_cast<std::int32_t>(columns),
                            std::move(mask));
}

Visibility big_bird_of(Arguments& arguments) {
  const Visibility::BigBird usual;
  const Visibility::BigBird options{.length = arguments.integer(0),
                                    .block = arguments.integer(1, usual.block),
                                    .window_blocks = arguments.integer(2, usual.window_blocks),
                                    .random_blocks = arguments.integer(3, usual.random_blocks),
                                    .global_blocks = arguments.integer(4, usual.global_blocks),
                                    .seed = arguments.number(5, usual.seed)};
  require(options.block < 1 || options.length / options.block <= most_blocks,
          "visibility: big_bird: {} tokens are more than {} blocks of {}; give larger blocks", options.length,
          most_blocks, options.block);
  return Visibility::big_bird(options);
}

/// A set by name. Align::start, where a set takes it, is not among its arguments.
struct Set {
  std::string_view name;
  std::string_view usage;
  std::size_t least;
  std::size_t most;
  bool aligned;
  Visibility (*make)(Arguments& arguments, Align align);
};

constexpr std::size_t any = std::numeric_limits<std::size_t>::max();
using V = Visibility;
using A = Arguments;

constexpr Set sets[] = {
    {"full", "full", 0, 0, false, [](A&, Align) { return V::full(); }},
    {"causal", "causal or causal(start)", 0, 0, true, [](A&, Align align) { return V::causal(align); }},
    {"window", "window(LEFT, RIGHT[, start])", 2, 2, true,
     [](A& a, Align align) { return V::window(a.side(0), a.side(1), align); }},
    {"prefix", "prefix(KEYS)", 1, 1, false, [](A& a, Align) { return V::prefix(a.integer(0)); }},
    {"strided", "strided(STRIDE[, start])", 1, 1, true,
     [](A& a, Align align) { return V::strided(a.integer(0), align); }},
    {"columns", "columns(PERIOD, FIRST, LAST)", 3, 3, false,
     [](A& a, Align) { return V::columns(a.integer(0), a.integer(1), a.integer(2)); }},
    {"same_block", "same_block(SIZE[, start])", 1, 1, true,
     [](A& a, Align align) { return V::same_block(a.integer(0), align); }},
    {"blocks", "blocks(SIZE, ROW, ...)", 1, any, false, [](A& a, Align) { return blocks_of(a); }},
    {"global_keys", "global_keys(POSITIONS)", 1, any, false,
     [](A& a, Align) { return V::global_keys(a.positions(0)); }},
    {"global_queries", "global_queries(POSITIONS[, start])", 1, any, true,
     [](A& a, Align align) { return V::global_queries(a.positions(0), align); }},
    {"longformer", "longformer(WINDOW, POSITIONS)", 2, any, false,
     [](A& a, Align) { return V::longformer(a.integer(0), a.positions(1)); }},
    {"big_bird", "big_bird(LENGTH[, BLOCK[, WINDOW_BLOCKS[, RANDOM_BLOCKS[, GLOBAL_BLOCKS[, SEED]]]]])", 1, 6, false,
     [](A& a, Align) { return big_bird_of(a); }},
    {"sparse_transformer_strided", "sparse_transformer_strided(STRIDE)", 1, 1, false,
     [](A& a, Align) { return V::sparse_transformer_strided(a.integer(0)); }},
    {"sparse_transformer_fixed", "sparse_transformer_fixed(STRIDE, SUMMARY)", 2, 2, false,
     [](A& a, Align) { return V::sparse_transformer_fixed(a.integer(0), a.integer(1)); }},
};

std::string names() {
  std::string result;
  for (const Set& set : sets) result += fmt::format("{}{}", result.empty() ? "" : ", ", set.name);
  return result;
}

Visibility read_set(ExpressionReader& reader) {
  const std::size_t begin = reader.place();
  const std::string_view name = reader.word();
  const auto set = std::ranges::find(sets, name, &Set::name);
  if (set == std::end(sets)) {
    reader.go_to(begin);
    reader.refuse("\"(\" or one of " + names());
  }
  Arguments arguments(reader, reader.arguments());
  const std::size_t end = reader.place();
  const Align align = set->aligned ? arguments.align() : Align::end;
  if (arguments.count() < set->least || arguments.count() > set->most) {
    reader.go_to(begin);
    reader.refuse(set->usage, fmt::format(" with {} arguments", arguments.count()));
  }
  Visibility result = set->make(arguments, align);
  reader.go_to(end);
  return result;
}

Visibility read_union(ExpressionReader& reader, int nested);

Visibility read_operand(ExpressionReader& reader, int nested) {
  if (!reader.take('(')) return read_set(reader);
  if (nested == most_nested) reader.refuse(fmt::format("at most {} parentheses within each other", most_nested));
  Visibility inside = read_union(reader, nested + 1);
  if (!reader.take(')')) reader.refuse("\"&\", \"|\" or \")\"");
  return inside;
}

Visibility read_intersection(ExpressionReader& reader, int nested) {
  Visibility result = read_operand(reader, nested);
  while (reader.take('&')) result = result & read_operand(reader, nested);
  return result;
}

Visibility read_union(ExpressionReader& reader, int nested) {
  Visibility result = read_intersection(reader, nested);
  while (reader.take('|')) result = result | read_intersection(reader, nested);
  return result;
}

}  // namespace

Visibility read_visibility(ExpressionReader& reader) {
  return read_union(reader, 0);
}

Visibility Visibility::parse(std::string_view text) {
  ExpressionReader reader("visibility", text);
  Visibility result = read_visibility(reader);
  if (!reader.at_end()) reader.refuse("\"&\", \"|\" or the end");
  return result;
}

}  // namespace rapt::attention
