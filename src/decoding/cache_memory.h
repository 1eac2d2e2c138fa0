/// Whether the keys and values of texts, and what computing with them takes, fit the memory.
#pragma once

#include <cstdint>
#include <optional>

#include "model/transformer.h"

namespace rapt::decoding {

/// What texts may come to.
struct CacheDemand {
  std::int64_t texts = 1;
  std::int64_t tokens = 0;         ///< of each, the prompt's included
  std::int64_t source_tokens = 0;  ///< of all sources together, for an encoder-decoder
  DType dtype = DType::f32;
};

/// Bytes of the keys and values that are kept, and of the states of linear layers.
std::uint64_t cache_bytes(const Transformer& model, const CacheDemand& demand);

/// About how many bytes the arena of a computation comes to: the logits that follow each text, and what a layer of the
/// encoder makes of the sources.
std::uint64_t activation_bytes(const Transformer& model, const CacheDemand& demand);

/// Bytes of memory that are free beside the weights, which take theirs when something is first computed with them, in
/// the type `compute`.
std::optional<std::uint64_t> free_beside_weights(const Transformer& model, DType compute, bool computed);

/// Throws Error when that is more than the `free` bytes of memory.
void require_room(const Transformer& model, const CacheDemand& demand, std::optional<std::uint64_t> free);

/// The most tokens, of at most `wanted`, with which one text takes at most half of the `free` bytes; at least 256.
std::int32_t tokens_with_room(const Transformer& model, std::int32_t wanted, DType dtype,
                              std::optional<std::uint64_t> free);

}  // namespace rapt::decoding
