/// Visibility: which keys a query may see. Part of rapt/attention.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rapt::attention {

/// One sequence of a ragged batch: which rows are its queries and which rows of keys and values belong to it. Key
/// ranges may lie anywhere, be shared by several sequences (beams over one source) and leave gaps (preallocated
/// caches).
struct Span {
  std::int32_t query_begin = 0;
  std::int32_t query_count = 0;
  std::int32_t key_begin = 0;
  std::int32_t key_count = 0;
};

/// How many keys more than queries are accounted for: where query i of a sequence stands among its keys.
enum class Align {
  end,    ///< query i stands at key i + key_count - query_count: the last query at the last key (decoding)
  start,  ///< query i stands at key i
};

/// What is visible in a rectangle of queries and keys.
enum class Tile { empty, partial, full };

/// A set of (query, key) pairs, composed with & and | from the sets below; all of them by default. Immutable and cheap
/// to copy. "Position" is the key a query stands at (Align); it may lie outside the keys. All that take arguments throw
/// Error for those that make no sense.
class Visibility {
 public:
  static constexpr std::int32_t unlimited = -1;

  Visibility() = default;
  static Visibility full() { return {}; }
  /// Keys at or before the position of the query.
  static Visibility causal(Align align = Align::end);
  /// Keys from `left` before the position to `right` after it; `unlimited` does not limit that side. (Beltagy et al.,
  /// "Longformer", 2020, 3.1: a sliding window of w is window(w / 2, w / 2).)
  static Visibility window(std::int32_t left, std::int32_t right, Align align = Align::end);
  /// The first `keys` keys of the sequence.
  static Visibility prefix(std::int32_t keys);
  /// Keys with the document of the query, for several documents in one sequence. Ids are indexed by row of the batch:
  /// query i of a sequence has of_queries[query_begin + i], key j has of_keys[key_begin + j].
  static Visibility documents(std::vector<std::int32_t> of_queries, std::vector<std::int32_t> of_keys);
  /// Keys whose distance from the position is a multiple of `stride` (dilation; Child et al., "Sparse Transformers",
  /// 2019, 4.3).
  static Visibility strided(std::int32_t stride, Align align = Align::end);
  /// Keys j with first <= j mod period < last, 0 <= first <= last <= period: the columns that every query sees in the
  /// fixed pattern of Sparse Transformers.
  static Visibility columns(std::int32_t period, std::int32_t first, std::int32_t last);
  /// Keys in the block of `size` that the position lies in.
  static Visibility same_block(std::int32_t size, Align align = Align::end);
  /// Query block r sees key block c where visible[r * key_blocks + c] is not 0; blocks have `size` rows and count from
  /// the start of the sequence. What lies outside the mask is not visible.
  static Visibility blocks(std::int32_t size, std::int32_t query_blocks, std::int32_t key_blocks,
                           std::vector<std::uint8_t> visible);
  /// The keys at `positions` (>= 0, in any order) for every query; those beyond the keys of a sequence do nothing.
  static Visibility global_keys(std::vector<std::int32_t> positions);
  /// Every key for the queries whose position is among `positions`.
  static Visibility global_queries(std::vector<std::int32_t> positions, Align align = Align::end);

  /// Sliding window of `window` keys, half on each side, with global tokens that see and are seen by all (Longformer,
  /// 3.1).
  static Visibility longformer(std::int32_t window, std::vector<std::int32_t> global_positions);
  /// Window, random and global blocks (Zaheer et al., "Big Bird", 2020, section 2), for sequences of `length` tokens
  /// whose queries and keys are the same; what lies beyond `length` is not visible. Makes a mask for blocks() with a
  /// byte for each pair of blocks.
  struct BigBird {
    std::int32_t length = 0;
    std::int32_t block = 64;         ///< tokens in a block; the last one may have fewer
    std::int32_t window_blocks = 3;  ///< a block and as many on each side: odd; 0: no window
    std::int32_t random_blocks = 3;  ///< for each block, drawn anew from those it does not see yet, while there are any
    std::int32_t global_blocks = 2;  ///< the first ones: they see and are seen by all
    std::uint64_t seed = 1;          ///< of the random blocks, which are a function of it
  };
  static Visibility big_bird(const BigBird& options);
  /// Causal: the last `stride` keys, its own among them, and every stride-th before (Sparse Transformers, 4.3,
  /// strided).
  static Visibility sparse_transformer_strided(std::int32_t stride);
  /// Causal: the query's block of `stride`, and the last `summary` keys of every block, 1 <= summary <= stride (Sparse
  /// Transformers, 4.3, fixed).
  static Visibility sparse_transformer_fixed(std::int32_t stride, std::int32_t summary);

  /// Pairs in both sets, and pairs in either. Error when more than 1000 operators are nested.
  friend Visibility operator&(const Visibility& a, const Visibility& b);
  friend Visibility operator|(const Visibility& a, const Visibility& b);

  /// Whether this is the set of all pairs without any condition.
  bool is_full() const { return node_ == nullptr; }
  /// Whether this is causal() alone, aligned at the end.
  bool is_causal() const;
  /// The pattern as an expression: "causal & window(511, 0)", "full". & binds tighter than |, as in C++; `start` among
  /// the arguments stands for Align::start, and "0..63" for positions that follow each other. Presets other than
  /// big_bird are told by what they are made of.
  std::string text() const;
  /// The pattern that an expression describes: what text() gives, with parentheses anywhere, and the presets
  ///   longformer(WINDOW, POSITIONS), sparse_transformer_strided(STRIDE), sparse_transformer_fixed(STRIDE, SUMMARY),
  ///   big_bird(LENGTH[, BLOCK[, WINDOW_BLOCKS[, RANDOM_BLOCKS[, GLOBAL_BLOCKS[, SEED]]]]]).
  /// The rows of the mask of blocks() are arguments of 0s and 1s: blocks(64, 10, 11). Throws Error that says where,
  /// what was expected and what was found. documents() has no expression: it belongs to the rows of one batch.
  static Visibility parse(std::string_view text);

  /// What, besides the number of the key, decides whether a query sees it.
  enum class Dependence : std::uint8_t {
    none,
    position,  ///< where the query stands, aligned at the end: the same for a sequence at once and token by token
    call,      ///< the query's number within the call (Align::start, blocks) or its row in the batch (documents)
  };
  Dependence dependence() const;
  /// Throws Error unless documents() was given an id for every row that the sequences name. Call it before asking what
  /// follows about them.
  void check(std::span<const Span> sequences) const;

  // What the kernels ask. Queries and keys count from 0 within the sequence; ranges are cut to it. Nothing is
  // allocated, and the time does not grow with the length of the sequence: at most with its logarithm, and with the
  // queries or keys that are asked about.

  /// Keys outside [begin, end) are seen by none of the queries [first_query, last_query). {0, 0} where nothing is.
  struct KeyRange {
    std::int32_t begin = 0;
    std::int32_t end = 0;
    bool operator==(const KeyRange&) const = default;
  };
  KeyRange bounds(const Span& sequence, std::int32_t first_query, std::int32_t last_query) const;
  /// What the queries [first_query, last_query) see of the keys [first_key, last_key); no queries or no keys are
  /// `empty`. `empty` and `full` are certain. `partial` is certain for each of the sets above that is not a preset;
  /// where sets are combined it may be either.
  Tile classify(const Span& sequence, std::int32_t first_query, std::int32_t last_query, std::int32_t first_key,
                std::int32_t last_key) const;
  /// Bit b says whether `query`, one of the sequence, sees key first_key + b, for
  /// 0 <= first_key <= key < min(first_key + 64, key_count); the other bits are 0.
  std::uint64_t bits(const Span& sequence, std::int32_t query, std::int32_t first_key) const;

  class Node;

 private:
  explicit Visibility(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;  ///< null: everything
};

}  // namespace rapt::attention
