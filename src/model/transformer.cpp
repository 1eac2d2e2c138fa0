#include "model/transformer.h"

#include <cmath>
#include <numeric>

#include "model/positions.h"

namespace rapt {
namespace {

/// Makes the weights of a model and lists them under their names.
class Builder {
 public:
  Builder(const ModelConfig& config, DType dtype, ParameterList& list) : config_(config), dtype_(dtype), list_(list) {}

  WeightPtr weight(const std::string& name, Shape shape) {
    auto made = std::make_shared<Weight>(shape, dtype_);
    list_.push_back({name, made, 0, shape[0]});
    return made;
  }

  /// One linear layer.
  Linear linear(const std::string& name, std::int64_t inputs, std::int64_t outputs) {
    return {.weight = weight(name + ".weight", {outputs, inputs}), .bias = weight(name + ".bias", {outputs})};
  }

  /// Several linear layers with the same input, stacked into one.
  Linear stacked(const std::string& prefix, std::initializer_list<const char*> names, std::int64_t inputs,
                 std::int64_t outputs_each) {
    const auto count = static_cast<std::int64_t>(names.size());
    const Linear whole{.weight = std::make_shared<Weight>(Shape{count * outputs_each, inputs}, dtype_),
                       .bias = std::make_shared<Weight>(Shape{count * outputs_each}, dtype_)};
    std::int64_t begin = 0;
    for (const char* name : names) {
      list_.push_back({prefix + name + ".weight", whole.weight, begin, begin + outputs_each});
      list_.push_back({prefix + name + ".bias", whole.bias, begin, begin + outputs_each});
      begin += outputs_each;
    }
    return whole;
  }

  LayerNorm norm(const std::string& name) {
    return {.weight = weight(name + ".weight", {config_.d_model}),
            .bias = weight(name + ".bias", {config_.d_model}),
            .epsilon = config_.norm_epsilon};
  }

  Residual residual(const std::string& norm_name) {
    return {.norm = norm(norm_name), .placement = config_.norm, .dropout = config_.dropout};
  }

  ops::AttentionOptions attention(AttentionKind kind, int layer, int heads) const {
    ops::AttentionOptions options{.heads = heads,
                                  .kv_heads = heads,
                                  .d_head = static_cast<int>(config_.d_model / heads),
                                  .dropout = config_.attention_dropout,
                                  .kind = kind,
                                  .layer = layer};
    choose(options, layer_attention(config_, kind, layer));
    return options;
  }

  /// Softmax over what is visible, or a linear form; neither looks ahead in a decoder.
  static void choose(ops::AttentionOptions& options, const LayerAttention& chosen) {
    const bool causal = options.kind == AttentionKind::decoder;
    if (chosen.linear) {
      options.linear = linear_attention(*chosen.linear, options.heads, options.d_head, causal);
    } else if (causal && !chosen.visibility.is_causal()) {
      options.visibility = attention::Visibility::causal() & chosen.visibility;
    } else {
      options.visibility = chosen.visibility;
    }
  }

  SelfAttention self_attention(const std::string& prefix, AttentionKind kind, int layer, int heads) {
    const std::int64_t d = config_.d_model;
    SelfAttention result{.query_key_value = stacked(prefix, {"query", "key", "value"}, d, d),
                         .output = linear(prefix + "output", d, d),
                         .options = attention(kind, layer, heads),
                         .rotary_base = config_.rotary_base};
    if (config_.positions == Positions::rotary) {
      result.rotary = static_cast<int>(config_.rotary_fraction * result.options.d_head) / 2 * 2;
    }
    return result;
  }

  CrossAttention cross_attention(const std::string& prefix, int layer) {
    const std::int64_t d = config_.d_model;
    return {.query = linear(prefix + "query", d, d),
            .key_value = stacked(prefix, {"key", "value"}, d, d),
            .output = linear(prefix + "output", d, d),
            .options = attention(AttentionKind::cross, layer, config_.decoder_heads)};
  }

  FeedForward feed_forward(const std::string& prefix, std::int64_t width) {
    return {.inner = linear(prefix + "inner", config_.d_model, width),
            .outer = linear(prefix + "outer", width, config_.d_model),
            .activation = config_.activation,
            .dropout = config_.activation_dropout};
  }

  EncoderLayer encoder_layer(int i) {
    const std::string prefix = "encoder." + std::to_string(i) + ".";
    return {
        .self_attention = self_attention(prefix + "self_attention.", AttentionKind::encoder, i, config_.encoder_heads),
        .self_attention_residual = residual(prefix + "self_attention_norm"),
        .feed_forward = feed_forward(prefix + "feed_forward.", config_.encoder_ff),
        .feed_forward_residual = residual(prefix + "feed_forward_norm")};
  }

  DecoderLayer decoder_layer(int i) {
    const std::string prefix = "decoder." + std::to_string(i) + ".";
    DecoderLayer layer;
    layer.self_attention = self_attention(prefix + "self_attention.", AttentionKind::decoder, i, config_.decoder_heads);
    layer.self_attention_residual = residual(prefix + "self_attention_norm");
    if (config_.encoder_decoder()) {
      layer.cross_attention = cross_attention(prefix + "cross_attention.", i);
      layer.cross_attention_residual = residual(prefix + "cross_attention_norm");
    }
    layer.feed_forward = feed_forward(prefix + "feed_forward.", config_.decoder_ff);
    layer.feed_forward_residual = residual(prefix + "feed_forward_norm");
    return layer;
  }

 private:
  const ModelConfig& config_;
  DType dtype_;
  ParameterList& list_;
};

bool ends_with_any(const std::string& name, std::initializer_list<const char*> endings) {
  for (const std::string_view ending : endings) {
    if (name.ends_with(ending)) return true;
  }
  return false;
}

/// Writes draw() to every element.
template <typename Draw>
void fill(const Tensor& tensor, Draw&& draw) {
  const std::int64_t count = tensor.count();
  if (tensor.dtype() == DType::f64) {
    for (std::int64_t i = 0; i < count; ++i) tensor.write<double>()[i] = draw();
  } else {
    for (std::int64_t i = 0; i < count; ++i) tensor.write<float>()[i] = static_cast<float>(draw());
  }
}

/// The position of each token of `input` within its sequence, counting `earlier` tokens of a cache.
std::vector<std::int32_t> positions_of(const Sequences& sequences, const DecoderCache* cache) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(sequences.tokens()));
  for (std::int32_t i = 0; i < sequences.count(); ++i) {
    const auto first = positions.begin() + sequences.begin(i);
    std::iota(first, first + sequences.length(i), cache != nullptr ? cache->length(i) : 0);
  }
  return positions;
}

std::vector<attention::Span> pair_up(const Sequences& queries, const Sequences& keys) {
  require(queries.count() == keys.count(), "{} target sequences for {} source sequences", queries.count(),
          keys.count());
  std::vector<attention::Span> spans;
  for (std::int32_t i = 0; i < queries.count(); ++i) {
    spans.push_back({queries.begin(i), queries.length(i), keys.begin(i), keys.length(i)});
  }
  return spans;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, DType dtype) : config_(config) {
  check(config_);
  Builder build(config_, dtype, parameters_);
  const Shape table{config_.vocab, config_.d_model};
  if (config_.encoder_decoder() && !config_.shared_embeddings) {
    source_embedding_ = build.weight("source_embedding.weight", {config_.source_vocabulary(), config_.d_model});
    target_embedding_ = build.weight("target_embedding.weight", table);
  } else {
    target_embedding_ = build.weight("embedding.weight", table);
    source_embedding_ = target_embedding_;
  }
  if (config_.positions == Positions::learned) {
    learned_positions_ = build.weight("positions.weight", {config_.max_positions, config_.d_model});
  } else if (config_.positions == Positions::sinusoidal) {
    sinusoids_ = sinusoidal_positions(config_.max_positions, config_.d_model, dtype);
  }
  for (int i = 0; i < config_.encoder_layers; ++i) encoder_.push_back(build.encoder_layer(i));
  for (int i = 0; i < config_.decoder_layers; ++i) decoder_.push_back(build.decoder_layer(i));
  if (config_.norm == NormPlacement::pre) {
    if (config_.encoder_decoder()) encoder_norm_ = build.norm("encoder_norm");
    decoder_norm_ = build.norm("decoder_norm");
  }
  output_ = config_.tied_output ? target_embedding_ : build.weight("output.weight", table);
  if (config_.logits_bias) logits_bias_ = build.weight("output.bias", {config_.vocab});
}

void Transformer::initialize(std::uint64_t seed) {
  std::uint64_t stream = 0;
  for (const Parameter& parameter : parameters_) {
    RandomSequence random(seed, stream++);
    const Tensor value = parameter.value();
    const std::string& name = parameter.name;
    const auto normal = [&](double deviation) { fill(value, [&] { return deviation * random.normal(); }); };
    if (ends_with_any(name, {"norm.weight"})) {
      fill(value, [] { return 1.0; });
    } else if (value.shape().rank() == 1) {
      fill(value, [] { return 0.0; });
    } else if (!config_.encoder_decoder()) {
      const bool into_residual = ends_with_any(name, {"attention.output.weight", "feed_forward.outer.weight"});
      normal(into_residual ? 0.02 / std::sqrt(2.0 * config_.decoder_layers) : 0.02);
    } else if (ends_with_any(name, {"embedding.weight", "positions.weight"})) {
      normal(1.0 / std::sqrt(static_cast<double>(config_.d_model)));
      if (config_.pad >= 0 && config_.pad < value.dim(0) && name != "positions.weight") {
        fill(value.rows(config_.pad, config_.pad + 1), [] { return 0.0; });
      }
    } else {
      const double bound = std::sqrt(6.0 / static_cast<double>(value.dim(0) + value.dim(1)));
      fill(value, [&] { return bound * (2.0 * random.uniform() - 1.0); });
    }
    parameter.weight->changed();
  }
}

std::int64_t Transformer::parameter_count() const {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.value().count();
  return count;
}

CacheSize Transformer::cache_size() const {
  CacheSize size;
  for (const DecoderLayer& layer : decoder_) {
    const ops::AttentionOptions& options = layer.self_attention.options;
    if (options.linear) {
      size.of_hypothesis += ops::linear_state_size(options);
    } else {
      size.of_token += 2 * static_cast<std::int64_t>(options.kv_heads) * options.d_head;
    }
  }
  return size;
}

Var Transformer::embed(Context& ctx, const RaggedTokens& tokens, const WeightPtr& table,
                       std::span<const std::int32_t> positions) const {
  for (std::int32_t i = 0; i < tokens.sequences.count(); ++i) {
    const std::int32_t length = tokens.sequences.length(i);
    const std::int32_t last =
        length > 0 ? positions[static_cast<std::size_t>(tokens.sequences.begin(i) + length - 1)] : 0;
    require(last < config_.max_positions || config_.positions == Positions::rotary,
            "a sequence of {} tokens is too long: this model has {} positions", last + 1, config_.max_positions);
  }
  return ops::embedding(ctx, tokens.ids, table,
                        {.scale = config_.scale_embedding ? std::sqrt(static_cast<double>(config_.d_model)) : 1.0,
                         .positions = positions,
                         .fixed_positions = sinusoids_,
                         .learned_positions = learned_positions_,
                         .dropout = config_.embedding_dropout});
}

Ragged Transformer::encode(Context& ctx, const RaggedTokens& source) const {
  require(config_.encoder_decoder(), "this model has no encoder");
  Var x = embed(ctx, source, source_embedding_, positions_of(source.sequences, nullptr));
  for (const EncoderLayer& layer : encoder_) x = layer(ctx, x, source.sequences);
  if (config_.norm == NormPlacement::pre) x = encoder_norm_(ctx, x);
  return {x, source.sequences};
}

Ragged Transformer::decode(Context& ctx, const RaggedTokens& input, const Ragged* memory, DecoderCache* cache) const {
  const std::vector<std::int32_t> positions = positions_of(input.sequences, cache);
  DecoderLayer::Surroundings around{.sequences = input.sequences, .positions = positions};
  if (config_.encoder_decoder()) {
    around.memory_spans =
        cache != nullptr ? cache->memory_spans(input.sequences) : pair_up(input.sequences, memory->sequences);
  }
  Var x = embed(ctx, input, target_embedding_, positions);
  for (std::size_t i = 0; i < decoder_.size(); ++i) {
    if (cache != nullptr) around.cache = cache->layer(static_cast<int>(i));
    if (config_.encoder_decoder()) around.projected_memory = projected_memory(ctx, i, memory, cache);
    x = decoder_[i](ctx, x, around);
  }
  if (cache != nullptr) cache->advance(input.sequences);
  if (config_.norm == NormPlacement::pre) x = decoder_norm_(ctx, x);
  return {x, input.sequences};
}

Var Transformer::projected_memory(Context& ctx, std::size_t layer, const Ragged* memory, DecoderCache* cache) const {
  const auto project = [&] {
    require(memory != nullptr, "decoding with this model needs the encoder's output");
    return decoder_[layer].cross_attention.project_memory(ctx, memory->values);
  };
  if (cache == nullptr) return project();
  std::vector<Var>& kept = cache->projected_memory();
  if (layer == kept.size()) kept.push_back(project());
  return kept[layer];
}

Var Transformer::project(Context& ctx, const Var& hidden, DType dtype) const {
  return ops::linear(ctx, hidden, output_, logits_bias_, false, dtype);
}

Tensor Transformer::logits(Context& ctx, const Batch& batch) const {
  return forward(ctx, batch).value();
}

Var Transformer::forward(Context& ctx, const Batch& batch) const {
  Ragged memory;
  if (config_.encoder_decoder()) memory = encode(ctx, batch.source);
  const Ragged hidden = decode(ctx, batch.input, config_.encoder_decoder() ? &memory : nullptr);
  return project(ctx, hidden.values, ctx.compute);
}

kernels::CrossEntropySums Transformer::loss(Context& ctx, const Batch& batch, const LossOptions& options) const {
  return ops::cross_entropy(ctx, forward(ctx, batch), batch.targets, options);
}

}  // namespace rapt
