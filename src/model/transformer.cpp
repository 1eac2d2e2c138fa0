#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "attention/trace.h"
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

  WeightPtr table(const std::string& name, std::int64_t rows) {
    auto made = weight(name, {rows, config_.d_model});
    made->set_table();
    return made;
  }

  /// A linear layer, or several with the same input stacked into one.
  Linear linear(const std::string& name, std::int64_t inputs, std::int64_t outputs, bool bias = true) {
    return stacked("", {{name, outputs}}, inputs, bias);
  }
  struct Part {
    std::string name;
    std::int64_t outputs;
  };
  Linear stacked(const std::string& prefix, const std::vector<Part>& parts, std::int64_t inputs, bool bias) {
    std::int64_t outputs = 0;
    for (const Part& part : parts) outputs += part.outputs;
    Linear whole{.weight = std::make_shared<Weight>(Shape{outputs, inputs}, dtype_),
                 .bias = bias ? std::make_shared<Weight>(Shape{outputs}, dtype_) : nullptr};
    std::int64_t begin = 0;
    for (const Part& part : parts) {
      list_.push_back({prefix + part.name + ".weight", whole.weight, begin, begin + part.outputs});
      if (bias) list_.push_back({prefix + part.name + ".bias", whole.bias, begin, begin + part.outputs});
      begin += part.outputs;
    }
    return whole;
  }

  Norm norm(const std::string& name) { return norm(name, config_.norm_kind, config_.d_model); }
  Norm norm(const std::string& name, NormKind kind, std::int64_t width) {
    return {.kind = kind,
            .weight = weight(name + ".weight", {width}),
            .bias = kind == NormKind::layer ? weight(name + ".bias", {width}) : nullptr,
            .weight_offset = config_.norm_weight_offset,
            .epsilon = config_.norm_epsilon};
  }

  Residual residual(const std::string& prefix) {
    Residual result{.norm = norm(prefix + "_norm"), .placement = config_.norm, .dropout = config_.dropout};
    if (config_.norm == NormPlacement::sandwich) result.norm_after = norm(prefix + "_after_norm");
    return result;
  }

  /// `side` distinguishes the two stacks where they do not share something.
  TokenEmbedding embedding(const std::string& side, const WeightPtr& table) {
    TokenEmbedding result{.table = table,
                          .scale = config_.scale_embedding ? std::sqrt(static_cast<double>(config_.d_model)) : 1.0,
                          .round_scale = config_.round_embedding_scale,
                          .dropout = config_.embedding_dropout};
    const std::int64_t positions = config_.max_positions + config_.position_offset;
    if (config_.positions == Positions::learned) {
      const std::string prefix = config_.encoder_decoder() ? side + "_" : "";
      result.learned_positions = weight(prefix + "positions.weight", {positions, config_.d_model});
    } else if (config_.limited_positions()) {
      const bool fairseq = config_.positions == Positions::sinusoidal_fairseq;
      if (!sinusoids_.defined()) sinusoids_ = sinusoidal_positions(positions, config_.d_model, dtype_, fairseq);
      result.fixed_positions = sinusoids_;
    }
    if (config_.token_types > 0 && side == "encoder")
      result.segments = weight("segments.weight", {config_.token_types, config_.d_model});
    if (config_.embedding_norm) result.norm = norm(side + "_embedding_norm");
    return result;
  }

  /// Numbers for distances, which all layers of a stack share (Raffel et al., "T5", 2020, 2.1).
  void make_relative(AttentionKind kind, int heads) {
    if (config_.positions != Positions::relative) return;
    relative_ = weight(std::string(name_of(kind)) + "_relative_positions.weight",
                       {static_cast<std::int64_t>(config_.relative_buckets), static_cast<std::int64_t>(heads)});
  }

  ops::AttentionOptions attention(AttentionKind kind, int layer, int heads) const {
    const std::int64_t d_head = config_.d_head_of(heads);
    ops::AttentionOptions options{.heads = heads,
                                  .kv_heads = config_.kv_heads_of(kind),
                                  .d_head = static_cast<int>(d_head),
                                  .scale = config_.attention_scale,
                                  .soft_cap = config_.attention_soft_cap,
                                  .dropout = config_.attention_dropout,
                                  .kind = kind,
                                  .layer = layer};
    if (config_.scale_by_inverse_layer) {
      const double scale = options.scale > 0 ? options.scale : 1 / std::sqrt(static_cast<double>(d_head));
      options.scale = scale / (layer + 1);
    }
    if (kind != AttentionKind::cross) {
      options.relative_table = relative_;
      options.relative_max_distance = config_.relative_max_distance;
      options.relative_bidirectional = kind == AttentionKind::encoder;
    }
    choose(options, layer_attention(config_, kind, layer));
    return options;
  }

  /// Softmax over what is visible, or a linear form; neither looks ahead in a decoder.
  static void choose(ops::AttentionOptions& options, const LayerAttention& chosen) {
    const bool causal = options.kind == AttentionKind::decoder;
    if (chosen.linear) {
      options.linear = linear_attention(*chosen.linear, options.heads, options.d_head, causal);
      // The rule reads what was written under a key of length 1 back as it was.
      if (chosen.is_gated_delta()) options.scale = 1;
    } else if (causal && !chosen.visibility.is_causal()) {
      options.visibility = attention::Visibility::causal() & chosen.visibility;
    } else {
      options.visibility = chosen.visibility;
    }
  }

  SelfAttention self_attention(const std::string& prefix, AttentionKind kind, int layer, int heads) {
    const ops::AttentionOptions options = attention(kind, layer, heads);
    const std::int64_t d_head = options.d_head;
    const std::int64_t width = heads * d_head;
    const std::int64_t key_width = options.kv_heads * d_head;
    SelfAttention result{
        .query_key_value = stacked(prefix, {{"query", width}, {"key", key_width}, {"value", key_width}},
                                   config_.d_model, config_.query_key_value_bias),
        .output = linear(prefix + "output", width, config_.d_model, config_.attention_output_bias),
        .options = options};
    if (config_.query_key_norm) {
      result.query_norm = norm(prefix + "query_norm", NormKind::rms, d_head);
      result.key_norm = norm(prefix + "key_norm", NormKind::rms, d_head);
    }
    if (config_.positions == Positions::rotary) {
      if (!turns_) turns_ = std::make_shared<const kernels::RotaryTurns>(rotary_frequencies(config_));
      if (turns_->pairs() > 0) result.rotary = {turns_, config_.rotary_scaling.attention_factor};
    }
    if (layer_attention(config_, kind, layer).is_gated_delta())
      result.delta_gates = delta_gates(prefix, options.kv_heads);
    return result;
  }

  DeltaGates delta_gates(const std::string& prefix, std::int64_t heads) {
    return {.projection = stacked(prefix, {{"alpha", heads}, {"beta", heads}}, config_.d_model, false),
            .a_log = weight(prefix + "a_log", {heads}),
            .dt_bias = weight(prefix + "dt_bias", {heads})};
  }

  CrossAttention cross_attention(const std::string& prefix, int layer) {
    const ops::AttentionOptions options = attention(AttentionKind::cross, layer, config_.decoder_heads);
    const std::int64_t width = options.heads * static_cast<std::int64_t>(options.d_head);
    return {
        .query = linear(prefix + "query", config_.d_model, width, config_.query_key_value_bias),
        .key_value = stacked(prefix, {{"key", width}, {"value", width}}, config_.d_model, config_.query_key_value_bias),
        .output = linear(prefix + "output", width, config_.d_model, config_.attention_output_bias),
        .options = options};
  }

  FeedForward feed_forward(const std::string& prefix, std::int64_t width) {
    const std::vector<Part> parts =
        config_.gated ? std::vector<Part>{{"gate", width}, {"up", width}} : std::vector<Part>{{"inner", width}};
    return {.inner = stacked(prefix, parts, config_.d_model, config_.feed_forward_bias),
            .gated = config_.gated,
            .outer = linear(prefix + "outer", width, config_.d_model, config_.feed_forward_bias),
            .activation = config_.activation,
            .dropout = config_.activation_dropout};
  }

  EncoderLayer encoder_layer(int i) {
    const std::string prefix = "encoder." + std::to_string(i) + ".";
    return {
        .self_attention = self_attention(prefix + "self_attention.", AttentionKind::encoder, i, config_.encoder_heads),
        .self_attention_residual = residual(prefix + "self_attention"),
        .feed_forward = feed_forward(prefix + "feed_forward.", config_.encoder_ff),
        .feed_forward_residual = residual(prefix + "feed_forward")};
  }

  DecoderLayer decoder_layer(int i) {
    const std::string prefix = "decoder." + std::to_string(i) + ".";
    DecoderLayer layer;
    layer.self_attention = self_attention(prefix + "self_attention.", AttentionKind::decoder, i, config_.decoder_heads);
    layer.self_attention_residual = residual(prefix + "self_attention");
    if (config_.encoder_decoder()) {
      layer.cross_attention = cross_attention(prefix + "cross_attention.", i);
      layer.cross_attention_residual = residual(prefix + "cross_attention");
    }
    layer.feed_forward = feed_forward(prefix + "feed_forward.", config_.decoder_ff);
    layer.feed_forward_residual = residual(prefix + "feed_forward");
    layer.parallel = config_.parallel_residual;
    return layer;
  }

  MaskedLanguageHead masked_language_head() {
    return {.dense = linear("masked_language.dense", config_.d_model, config_.d_model),
            .activation = config_.activation,
            .norm = norm("masked_language.norm")};
  }

 private:
  const ModelConfig& config_;
  DType dtype_;
  ParameterList& list_;
  // What several blocks share.
  WeightPtr relative_;
  Tensor sinusoids_;
  std::shared_ptr<const kernels::RotaryTurns> turns_;
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

/// The position of each token within its sequence, counting `earlier` tokens of a cache, from `first` on.
std::vector<std::int32_t> positions_of(const Sequences& sequences, const DecoderCache* cache, int first) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(sequences.tokens()));
  for (std::int32_t i = 0; i < sequences.count(); ++i) {
    const auto begin = positions.begin() + sequences.begin(i);
    std::iota(begin, begin + sequences.length(i), first + (cache != nullptr ? cache->length(i) : 0));
  }
  return positions;
}

/// To the trace, if there is one.
void show(Context& ctx, AttentionKind kind, int layer, const Var& x) {
  if (ctx.trace != nullptr) ctx.trace->hidden_states(ctx, kind, layer, x.value());
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
  WeightPtr source, target;
  if (config_.encoder_decoder() && !config_.shared_embeddings) {
    source = build.table("source_embedding.weight", config_.source_vocabulary());
    target = build.table("target_embedding.weight", config_.vocab);
  } else {
    source = target = build.table("embedding.weight", config_.vocab);
  }
  const bool last_norm = config_.norm != NormPlacement::post;
  if (!config_.decoder_only()) {
    source_ = build.embedding("encoder", source);
    build.make_relative(AttentionKind::encoder, config_.encoder_heads);
    for (int i = 0; i < config_.encoder_layers; ++i) encoder_.push_back(build.encoder_layer(i));
    if (last_norm) encoder_norm_ = build.norm("encoder_norm");
  }
  if (!config_.encoder_only()) {
    target_ = build.embedding("decoder", target);
    build.make_relative(AttentionKind::decoder, config_.decoder_heads);
    for (int i = 0; i < config_.decoder_layers; ++i) decoder_.push_back(build.decoder_layer(i));
    if (last_norm) decoder_norm_ = build.norm("decoder_norm");
  }
  if (config_.heads.masked_language_model) masked_language_ = build.masked_language_head();
  if (!config_.encoder_only() || config_.heads.masked_language_model) {
    output_.weight = config_.tied_output ? target : build.table("output.weight", config_.vocab);
    if (config_.logits_bias || config_.heads.masked_language_model)
      output_.bias = build.weight("output.bias", {config_.vocab});
  }
  if (config_.heads.pooler) pooler_ = build.linear("pooler", config_.d_model, config_.d_model);
  if (config_.heads.next_sentence) next_sentence_ = build.linear("next_sentence", config_.d_model, 2);
}

void Transformer::initialize(std::uint64_t seed) {
  for (const Parameter& parameter : parameters_) initialize(parameter, seed);
}

void Transformer::initialize(const Parameter& parameter, std::uint64_t seed) {
  RandomSequence random(seed, static_cast<std::uint64_t>(&parameter - parameters_.data()));
  const Tensor value = parameter.value();
  const std::string& name = parameter.name;
  const auto normal = [&](double deviation) { fill(value, [&] { return deviation * random.normal(); }); };
  if (ends_with_any(name, {"norm.weight"})) {
    fill(value, [&] { return 1.0 - (config_.norm_kind == NormKind::rms ? config_.norm_weight_offset : 0); });
  } else if (name.ends_with(".a_log")) {
    fill(value, [&] { return std::log(16 * (1 - random.uniform())); });
  } else if (name.ends_with(".dt_bias")) {
    // What softplus turns into a step between 1e-3 and 1e-1.
    fill(value, [&] {
      const double step = std::pow(10.0, -3 + 2 * random.uniform());
      return step + std::log(-std::expm1(-step));
    });
  } else if (value.shape().rank() == 1) {
    fill(value, [] { return 0.0; });
  } else if (!config_.encoder_decoder()) {
    const bool into_residual = ends_with_any(name, {"attention.output.weight", "feed_forward.outer.weight"});
    const int layers = std::max(config_.encoder_layers, config_.decoder_layers);
    normal(into_residual ? 0.02 / std::sqrt(2.0 * layers) : 0.02);
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

std::int64_t Transformer::parameter_count() const {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.shape().count();
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
    const ops::AttentionOptions& cross = layer.cross_attention.options;
    if (config_.encoder_decoder()) size.of_source_token += 2 * static_cast<std::int64_t>(cross.kv_heads) * cross.d_head;
  }
  return size;
}

void Transformer::require_positions(const Sequences& sequences, const DecoderCache* cache) const {
  for (std::int32_t i = 0; config_.limited_positions() && i < sequences.count(); ++i) {
    const std::int32_t length = sequences.length(i) + (cache != nullptr ? cache->length(i) : 0);
    require(sequences.length(i) == 0 || length <= config_.max_positions,
            "a sequence of {} tokens is too long: this model has {} positions", length, config_.max_positions);
  }
}

Ragged Transformer::encode(Context& ctx, const RaggedTokens& source, std::span<const std::int32_t> segments) const {
  require(!config_.decoder_only(), "this model has no encoder");
  require(segments.empty() || (config_.token_types > 0 && segments.size() == source.ids.size()),
          "{} segments for {} tokens of a model with {} token types", segments.size(), source.ids.size(),
          config_.token_types);
  require_positions(source.sequences, nullptr);
  std::vector<std::int32_t> zeros;
  if (segments.empty() && config_.token_types > 0) zeros.resize(source.ids.size());
  const auto positions = positions_of(source.sequences, nullptr, config_.position_offset);
  Var x = source_(ctx, source.ids, positions, segments.empty() ? zeros : segments);
  int depth = 0;
  for (const EncoderLayer& layer : encoder_) {
    show(ctx, AttentionKind::encoder, depth++, x);
    x = layer(ctx, x, source.sequences);
  }
  if (encoder_norm_.weight) x = encoder_norm_(ctx, x);
  show(ctx, AttentionKind::encoder, depth, x);
  return {ops::dropout(ctx, x, config_.final_dropout), source.sequences};
}

Tensor Transformer::pool(Context& ctx, const Ragged& hidden) const {
  require(pooler_.weight != nullptr, "this model has no pooler");
  const Tensor& values = hidden.values.value();
  const Tensor first = ctx.allocate({hidden.sequences.count(), values.dim(1)}, values.dtype());
  const Columns rows = values.columns(0, values.dim(1));
  auto* to = static_cast<std::byte*>(first.raw_write());
  for (std::int32_t i = 0; i < hidden.sequences.count(); ++i, to += rows.bytes) {
    require(hidden.sequences.length(i) > 0, "sequence {} has no first token to pool", i);
    std::memcpy(to, rows.row(hidden.sequences.begin(i)), rows.bytes);
  }
  return ops::activation(ctx, kernels::Activation::tanh, pooler_(ctx, Var(first)), 0).value();
}

Ragged Transformer::decode(Context& ctx, const RaggedTokens& input, const Ragged* memory, DecoderCache* cache) const {
  require(!config_.encoder_only(), "this model has no decoder");
  require_positions(input.sequences, cache);
  if (cache != nullptr) cache->make_room(input.sequences);
  const std::vector<std::int32_t> positions = positions_of(input.sequences, cache, config_.position_offset);
  DecoderLayer::Surroundings around{.sequences = input.sequences, .positions = positions};
  if (config_.encoder_decoder()) {
    around.memory_spans =
        cache != nullptr ? cache->memory_spans(input.sequences) : pair_up(input.sequences, memory->sequences);
  }
  Var x = target_(ctx, input.ids, positions, {});
  for (std::size_t i = 0; i < decoder_.size(); ++i) {
    show(ctx, AttentionKind::decoder, static_cast<int>(i), x);
    if (cache != nullptr) around.cache = cache->layer(static_cast<int>(i));
    if (config_.encoder_decoder()) around.projected_memory = projected_memory(ctx, i, memory, cache);
    x = decoder_[i](ctx, x, around);
  }
  if (cache != nullptr) cache->advance(input.sequences);
  if (decoder_norm_.weight) x = decoder_norm_(ctx, x);
  show(ctx, AttentionKind::decoder, config_.decoder_layers, x);
  return {ops::dropout(ctx, x, config_.final_dropout), input.sequences};
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
  require(output_.weight != nullptr, "this model has no head that gives logits");
  Var x = hidden;
  if (config_.heads.masked_language_model) x = masked_language_(ctx, x);
  if (config_.scale_output) x = ops::scale(ctx, x, 1 / std::sqrt(static_cast<double>(config_.d_model)));
  x = ops::linear(ctx, x, output_.weight, output_.bias, false, dtype);
  return config_.logits_soft_cap > 0 ? ops::soft_cap(ctx, x, config_.logits_soft_cap) : x;
}

Tensor Transformer::logits(Context& ctx, const Batch& batch) const {
  return forward(ctx, batch).value();
}

Var Transformer::forward(Context& ctx, const Batch& batch) const {
  Ragged hidden;
  if (!config_.decoder_only()) hidden = encode(ctx, batch.source, batch.segments);
  if (!config_.encoder_only()) {
    const Ragged memory = hidden;
    hidden = decode(ctx, batch.input, config_.encoder_decoder() ? &memory : nullptr);
  }
  Var rows = hidden.values;
  if (!batch.predicted.empty()) rows = ops::select_rows(ctx, rows, batch.predicted);
  return project(ctx, rows, ctx.compute);
}

kernels::CrossEntropySums Transformer::loss(Context& ctx, const Batch& batch, const LossOptions& options) const {
  return ops::cross_entropy(ctx, forward(ctx, batch), batch.targets, options);
}

}  // namespace rapt
