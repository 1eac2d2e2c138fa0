#include "decoding/cache_memory.h"

#include <algorithm>

#include "core/arena.h"
#include "core/error.h"
#include "core/memory.h"

namespace rapt::decoding {

std::uint64_t cache_bytes(const Transformer& model, const CacheDemand& demand) {
  const CacheSize size = model.cache_size();
  const auto texts = static_cast<std::uint64_t>(demand.texts);
  // States are sums over a text, kept in f32 whatever they are computed from.
  return texts * (static_cast<std::uint64_t>(size.of_token * demand.tokens) * size_of(demand.dtype) +
                  static_cast<std::uint64_t>(size.of_hypothesis) * size_of(DType::f32)) +
         static_cast<std::uint64_t>(size.of_source_token * demand.source_tokens) * size_of(demand.dtype);
}

std::uint64_t activation_bytes(const Transformer& model, const CacheDemand& demand) {
  const ModelConfig& config = model.config();
  const auto logits = static_cast<std::uint64_t>((demand.texts + Arena::row_multiple) * config.vocab);
  // The residual stream, queries, keys and values, their norms and results; the feed-forward before and after its
  // activation.
  const std::int64_t of_source_token = 7 * config.d_model + (config.gated ? 3 : 2) * config.encoder_ff;
  return logits * size_of(DType::f32) +
         static_cast<std::uint64_t>(of_source_token * demand.source_tokens) * size_of(demand.dtype);
}

std::optional<std::uint64_t> free_beside_weights(const Transformer& model, DType compute, bool computed) {
  const std::optional<std::uint64_t> free = available_memory();
  if (!free || computed) return free;
  const std::uint64_t weights = static_cast<std::uint64_t>(model.parameter_count()) * size_of(compute);
  return *free - std::min(*free, weights);
}

void require_room(const Transformer& model, const CacheDemand& demand, std::optional<std::uint64_t> free) {
  const std::uint64_t bytes = cache_bytes(model, demand);
  require(
      !free || bytes <= *free,
      "keys and values of {} of {} tokens take {} in {}, and {} of memory are free: {}shorten the prompt or the "
      "context, write fewer tokens{}",
      demand.texts == 1 ? "a text" : fmt::format("{} texts", demand.texts), demand.tokens, gigabytes(bytes),
      name_of(demand.dtype), gigabytes(*free),
      demand.dtype == DType::bf16 || bytes / 2 > *free ? "" : "keep them in bf16 (--cache bf16), which takes half, ",
      demand.texts == 1 ? "" : " or texts at once");
}

std::int32_t tokens_with_room(const Transformer& model, std::int32_t wanted, DType dtype,
                              std::optional<std::uint64_t> free) {
  constexpr std::int32_t few = 256;
  const auto of_token = static_cast<std::uint64_t>(model.cache_size().of_token) * size_of(dtype);
  if (!free || of_token == 0) return wanted;
  const std::uint64_t fit = *free / 2 / of_token / few * few;
  return static_cast<std::int32_t>(
      std::min<std::uint64_t>(static_cast<std::uint64_t>(wanted), std::max<std::uint64_t>(fit, few)));
}

}  // namespace rapt::decoding
