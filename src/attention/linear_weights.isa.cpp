/// The weights that the linear forms imply.
#include "attention/linear_weights.h"

#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
void write_weights(const Call& call, const Item& item) {
  WeightTile<S> tile(call, item);
  allocate(tile);
  float* result = static_cast<float*>(item.partial);
  clear(result, long{item.queries} * item.key_count);
  for (long row = 0; row < item.queries; row += chunk_tokens) {
    const long rows = at_most(chunk_tokens, item.queries - row);
    for (long key = 0; key < item.key_count; key += chunk_tokens) {
      const long keys = at_most(chunk_tokens, item.key_count - key);
      if (!tile.move_to(item.first_query + row, rows, key, keys)) break;
      for (long i = 0; i < rows; ++i) {
        float* const to = result + (row + i) * item.key_count + key;
        for (long j = 0; j < keys; ++j) to[j] = static_cast<float>(tile.weights(i)[j]);
      }
    }
  }
}

}  // namespace

void weights_items(const attention::Call& call, const Item* items, std::int64_t count) {
  each_item(call, items, count, [&](auto s, const Item& item) { write_weights<decltype(s)>(*call.linear, item); });
}

}  // namespace rapt::attention::linear::RAPT_ISA
