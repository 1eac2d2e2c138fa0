/// What is asked about the weights that the normalised linear forms imply (Statistics). They are probabilities as soon
/// as they are computed, by the log-sum-exp of the forward pass, so sums over tiles need no rescaling.
#include "attention/linear_steps.h"
#include "attention/linear_weights.h"
#include "attention/pooled_map.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
constexpr S least_normal = least_denominator<S>;

/// log x for normal x > 0: of the mantissa in [1/sqrt(2), sqrt(2)) by the series of artanh.
RAPT_INLINE F32 logarithm(F32 x) {
  const I32 bits = reinterpret_cast<I32>(x);
  const I32 exponent = (bits - 0x3f3504f3) >> 23;
  const F32 mantissa = reinterpret_cast<F32>(bits - (exponent << 23));
  const F32 s = (mantissa - 1.0f) / (mantissa + 1.0f);
  const F32 square = s * s;
  F32 p = square * (2.0f / 9) + 2.0f / 7;
  p = p * square + 2.0f / 5;
  p = p * square + 2.0f / 3;
  p = p * square + 2.0f;
  return __builtin_convertvector(exponent, F32) * static_cast<float>(0.6931471805599453) + p * s;
}
/// By the library, lane by lane.
inline F64 logarithm(F64 x) {
  for (int i = 0; i < Simd<double>::width; ++i) x[i] = __builtin_log(x[i]);
  return x;
}

/// The rows of an item: queries of one head.
template <typename S>
struct Rows {
  const RowStatistics& ask;
  const Item& item;
  const Call& call;
  const long heaviest;  ///< weights that are kept of each row
  WeightTile<S> tile;
  double* entropy;  ///< [chunk_tokens], as all of these
  double* distance;
  S* first;
  S* previous;
  S* same;
  S* top_weights;  ///< [chunk_tokens, heaviest], descending; 0 where there is none
  int32_t* top_keys;

  Rows(const attention::Call& c, const Item& i)
      : ask(c.rows),
        item(i),
        call(*c.linear),
        heaviest(at_least(ask.top, ask.maximum != nullptr || ask.maximum_key != nullptr)),
        tile(call, i) {
    allocate(*this);
  }

  void carve(Carver& carver) {
    tile.carve(carver);
    for (double** p : {&entropy, &distance}) *p = carver.take<double>(chunk_tokens);
    for (S** p : {&first, &previous, &same}) *p = carver.take<S>(chunk_tokens);
    top_weights = carver.take<S>(chunk_tokens * heaviest);
    top_keys = carver.take<int32_t>(chunk_tokens * heaviest);
  }

  void begin() {
    for (double* p : {entropy, distance}) clear(p, chunk_tokens);
    for (S* p : {first, previous, same}) clear(p, chunk_tokens);
    clear(top_weights, chunk_tokens * heaviest);
    for (long i = 0; i < chunk_tokens * heaviest; ++i) top_keys[i] = -1;
  }

  /// The key that a query stands at.
  long position(long query) const { return query + item.key_count - item.query_count; }

  void observe_entropy(long i) {
    Vector<S> total = {};
    each_vector<S>(tile.chunk.keys, [&](long j) {
      const Vector<S> p = load(tile.weights(i) + j);
      total += p * logarithm(max(p, broadcast(least_normal<S>)));
    });
    entropy[i] -= static_cast<double>(sum(total));
  }

  void observe_distance(long i) {
    Vector<S> away, total = {};
    const long nearest = position(tile.chunk.first_query + i) - tile.chunk.first_key;
    for (int lane = 0; lane < Simd<S>::width; ++lane) away[lane] = static_cast<S>(lane - nearest);
    each_vector<S>(tile.chunk.keys, [&](long j) {
      total += load(tile.weights(i) + j) * max(away, -away);
      away += static_cast<S>(Simd<S>::width);
    });
    distance[i] += static_cast<double>(sum(total));
  }

  void observe_places(long i) {
    const S* weights = tile.weights(i);
    const long at = position(tile.chunk.first_query + i) - tile.chunk.first_key;
    if (tile.chunk.first_key == 0) first[i] = weights[0];
    if (at >= 0 && at < tile.chunk.keys) same[i] = weights[at];
    if (at >= 1 && at <= tile.chunk.keys) previous[i] = weights[at - 1];
  }

  /// Puts a weight where it belongs: behind those that are as large.
  void insert(long i, S weight, long key) {
    S* weights = top_weights + i * heaviest;
    int32_t* keys = top_keys + i * heaviest;
    long place = heaviest - 1;
    for (; place > 0 && weight > weights[place - 1]; --place) {
      weights[place] = weights[place - 1];
      keys[place] = keys[place - 1];
    }
    weights[place] = weight;
    keys[place] = static_cast<int32_t>(key);
  }

  void observe_heaviest(long i) {
    const S* weights = tile.weights(i);
    const S* least = top_weights + (i + 1) * heaviest - 1;
    each_vector<S>(tile.chunk.keys, [&](long j) {
      if (!any_above<S>(load(weights + j), broadcast(*least))) return;
      for (long lane = j; lane < j + Simd<S>::width; ++lane) {
        if (weights[lane] > *least) insert(i, weights[lane], tile.chunk.first_key + lane);
      }
    });
  }

  void observe() {
    for (long i = 0; i < tile.chunk.queries; ++i) {
      if (ask.entropy != nullptr) observe_entropy(i);
      if (ask.mean_distance != nullptr) observe_distance(i);
      observe_places(i);
      if (heaviest > 0) observe_heaviest(i);
    }
  }

  void write(long query, long i) const {
    const long place = row_index(call, item, query, 0);
    const S* weights = top_weights + i * heaviest;
    const int32_t* keys = top_keys + i * heaviest;
    if (ask.maximum != nullptr) {
      const double log_sum_exp = static_cast<double>(static_cast<const S*>(call.log_sum_exp)[place]);
      ask.maximum[place] = keys[0] < 0
                               ? -__builtin_inff()
                               : static_cast<float>(__builtin_log(static_cast<double>(weights[0])) + log_sum_exp);
    }
    if (ask.maximum_key != nullptr) ask.maximum_key[place] = keys[0];
    if (ask.entropy != nullptr) ask.entropy[place] = entropy[i] > 0 ? static_cast<float>(entropy[i]) : 0.0f;
    if (ask.mean_distance != nullptr) ask.mean_distance[place] = static_cast<float>(distance[i]);
    if (ask.mass_on_first != nullptr) ask.mass_on_first[place] = static_cast<float>(first[i]);
    if (ask.mass_on_previous != nullptr) ask.mass_on_previous[place] = static_cast<float>(previous[i]);
    if (ask.mass_on_same != nullptr) ask.mass_on_same[place] = static_cast<float>(same[i]);
    for (long n = 0; n < ask.top; ++n) {
      ask.top_keys[place * ask.top + n] = keys[n];
      ask.top_weights[place * ask.top + n] = static_cast<float>(weights[n]);
    }
  }

  void run() {
    const long end = long{item.first_query} + item.queries;
    for (long query = item.first_query; query < end; query += chunk_tokens) {
      const long queries = at_most(chunk_tokens, end - query);
      begin();
      for (long key = 0; key < item.key_count; key += chunk_tokens) {
        if (!tile.move_to(query, queries, key, at_most(chunk_tokens, item.key_count - key))) break;
        observe();
      }
      for (long i = 0; i < queries; ++i) write(query + i, i);
    }
  }
};

/// What the keys of an item receive from all queries of one head.
template <typename S>
struct Keys {
  const attention::Call& call;
  const Item& item;
  WeightTile<S> tile;
  const PooledMap map;
  S* received;   ///< [chunk_tokens]: from some queries
  double* mass;  ///< [chunk_tokens]: from all

  Keys(const attention::Call& c, const Item& i) : call(c), item(i), tile(*c.linear, i), map(c, i) { allocate(*this); }

  void carve(Carver& carver) {
    tile.carve(carver);
    received = carver.take<S>(chunk_tokens);
    mass = carver.take<double>(chunk_tokens);
  }

  /// Adds up the tile: queries of one bin at a time, then keys.
  void observe() {
    const Chunk& at = tile.chunk;
    map.each_part(at.first_query, at.first_query + at.queries, item.query_count, [&](long bin, long begin, long end) {
      clear(received, padded(at.keys));
      for (long query = begin; query < end; ++query) {
        add_scaled(tile.weights(query - at.first_query), S(1), at.keys, received);
      }
      for (long j = 0; j < at.keys; ++j) mass[j] += static_cast<double>(received[j]);
      if (call.bins > 0) pool(bin);
    });
  }

  void pool(long query_bin) const {
    const long first = tile.chunk.first_key;
    map.each_part(first, first + tile.chunk.keys, item.key_count, [&](long bin, long begin, long end) {
      double total = 0;
      for (long key = begin; key < end; ++key) total += static_cast<double>(received[key - first]);
      map.add(0, query_bin, bin, total);
    });
  }

  void run() {
    if (call.bins > 0) map.begin();
    const long end = long{item.first_key} + item.keys;
    for (long key = item.first_key; key < end; key += chunk_tokens) {
      const long keys = at_most(chunk_tokens, end - key);
      clear(mass, keys);
      for (long query = 0; query < item.query_count; query += chunk_tokens) {
        if (tile.move_to(query, at_most(chunk_tokens, item.query_count - query), key, keys)) observe();
      }
      if (call.key_mass == nullptr) continue;
      for (long j = 0; j < keys; ++j) {
        call.key_mass[(item.key_begin + key + j) * call.heads + item.head] = static_cast<float>(mass[j]);
      }
    }
  }
};

}  // namespace

void row_statistics_items(const attention::Call& call, const Item* items, std::int64_t count) {
  each_item(call, items, count, [&](auto s, const Item& item) { Rows<decltype(s)>(call, item).run(); });
}
void tile_statistics_items(const attention::Call& call, const Item* items, std::int64_t count) {
  each_item(call, items, count, [&](auto s, const Item& item) { Keys<decltype(s)>(call, item).run(); });
}

}  // namespace rapt::attention::linear::RAPT_ISA
