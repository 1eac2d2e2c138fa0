#include "families/tensors.h"

#include <algorithm>

#include "families/common.h"

namespace rapt {
namespace {

std::string with_layer(std::string_view pattern, int layer) {
  std::string name(pattern);
  const auto place = name.find("{}");
  if (place != std::string::npos) name.replace(place, 2, std::to_string(layer));
  return name;
}

/// What gates are called in checkpoints, behind the prefix of their layer's attention, and in models.
constexpr std::pair<std::string_view, std::string_view> gates[] = {
    {"rapt_alpha.weight", "decoder.{}.self_attention.alpha.weight"},
    {"rapt_beta.weight", "decoder.{}.self_attention.beta.weight"},
    {"rapt_a_log", "decoder.{}.self_attention.a_log"},
    {"rapt_dt_bias", "decoder.{}.self_attention.dt_bias"}};

/// "model.layers.{}.self_attn." where queries are "model.layers.{}.self_attn.q_proj"; "" without decoder.
std::string attention_prefix(const Family& family) {
  for (const TensorRule& rule : family.tensors) {
    if (rule.parameters[0] == "decoder.{}.self_attention.query")
      return std::string(rule.name.substr(0, rule.name.rfind('.') + 1));
  }
  return "";
}

/// The gates of layers that attend by the gated delta rule.
std::vector<std::string> gate_names(const ModelConfig& config) {
  std::vector<std::string> names;
  const std::string prefix = attention_prefix(find_family(config.family));
  for (int layer = 0; layer < config.decoder_layers; ++layer) {
    if (!layer_attention(config, AttentionKind::decoder, layer).is_gated_delta()) continue;
    for (const auto& [name, parameter] : gates) names.push_back(with_layer(prefix, layer) + std::string(name));
  }
  return names;
}

/// One tensor of a checkpoint and the parameters it holds.
struct Binding {
  std::string name;
  std::vector<const Parameter*> parameters;
  TensorLayout layout;
};

/// Every tensor that a model's checkpoint has, in the order of the family's table.
std::vector<Binding> bind(const Transformer& model) {
  const Family& family = find_family(model.config().family);
  std::map<std::string, const Parameter*, std::less<>> known;
  for (const Parameter& parameter : model.parameters()) known.emplace(parameter.name, &parameter);

  std::vector<Binding> bindings;
  std::size_t bound = 0;
  const int layers = std::max(model.config().encoder_layers, model.config().decoder_layers);
  const auto add = [&](const TensorRule& rule, int layer, std::string_view ending) {
    Binding binding{
        .name = with_layer(rule.name, layer) + std::string(ending), .parameters = {}, .layout = rule.layout};
    for (const std::string_view pattern : rule.parameters) {
      const auto found = known.find(with_layer(pattern, layer) + std::string(ending));
      if (found == known.end()) return;  // this model has no such parameter
      binding.parameters.push_back(found->second);
    }
    bound += binding.parameters.size();
    bindings.push_back(std::move(binding));
  };
  for (const TensorRule& rule : family.tensors) {
    const bool layered = rule.name.find("{}") != std::string_view::npos;
    for (int layer = 0; layer < (layered ? layers : 1); ++layer) {
      if (rule.parameters[0].ends_with(".weight") || rule.parameters[0].ends_with(".bias")) {
        add(rule, layer, "");
      } else {
        add(rule, layer, ".weight");
        add(rule, layer, ".bias");
      }
    }
  }
  const std::string prefix = attention_prefix(family);
  for (int layer = 0; layer < model.config().decoder_layers; ++layer) {
    for (const auto& [name, parameter] : gates)
      add({.name = prefix + std::string(name), .parameters = {parameter}}, layer, "");
  }
  require(bound == known.size(), "family {}: {} of {} parameters have a name in checkpoints", family.model_type, bound,
          known.size());
  return bindings;
}

/// Rows of `matrix` in the order `row_of(i)` gives.
template <typename RowOf>
Tensor permute_rows(const Tensor& matrix, RowOf&& row_of) {
  Tensor result = Tensor::empty(matrix.shape(), matrix.dtype());
  const std::int64_t rows = matrix.dim(0);
  const std::size_t bytes = rows > 0 ? matrix.bytes() / static_cast<std::size_t>(rows) : 0;
  const auto* from = static_cast<const std::byte*>(matrix.raw());
  auto* to = static_cast<std::byte*>(result.raw_write());
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::byte* row = from + static_cast<std::size_t>(row_of(i)) * bytes;
    std::copy(row, row + bytes, to + static_cast<std::size_t>(i) * bytes);
  }
  return result;
}

template <typename T>
Tensor transpose(const Tensor& matrix) {
  Tensor result = Tensor::empty({matrix.dim(1), matrix.dim(0)}, matrix.dtype());
  for (std::int64_t i = 0; i < matrix.dim(0); ++i) {
    for (std::int64_t j = 0; j < matrix.dim(1); ++j) {
      result.write<T>()[j * matrix.dim(0) + i] = matrix.data<T>()[i * matrix.dim(1) + j];
    }
  }
  return result;
}

Tensor transpose(const Tensor& matrix) {
  return matrix.dtype() == DType::f64 ? transpose<double>(matrix) : transpose<float>(matrix);
}

/// Row of [3, heads, d_head] (query rows, key rows, value rows) for a row of [heads, 3, d_head].
std::int64_t stacked_row(std::int64_t interleaved, std::int64_t heads, std::int64_t d_head) {
  const std::int64_t head = interleaved / (3 * d_head);
  const std::int64_t part = interleaved / d_head % 3;
  return (part * heads + head) * d_head + interleaved % d_head;
}

struct Layout {
  TensorLayout kind;
  std::int64_t heads;

  Tensor from_stacked(const Tensor& stacked) const {
    if (kind == TensorLayout::transposed && stacked.shape().rank() == 2) return transpose(stacked);
    if (kind != TensorLayout::interleaved_heads) return stacked;
    const std::int64_t d_head = stacked.dim(0) / (3 * heads);
    return permute_rows(stacked, [&](std::int64_t row) { return stacked_row(row, heads, d_head); });
  }
  Tensor to_stacked(const Tensor& stored) const {
    if (kind == TensorLayout::transposed && stored.shape().rank() == 2) return transpose(stored);
    if (kind != TensorLayout::interleaved_heads) return stored;
    const std::int64_t d_head = stored.dim(0) / (3 * heads);
    std::vector<std::int64_t> source(static_cast<std::size_t>(stored.dim(0)));
    for (std::int64_t row = 0; row < stored.dim(0); ++row)
      source[static_cast<std::size_t>(stacked_row(row, heads, d_head))] = row;
    return permute_rows(stored, [&](std::int64_t row) { return source[static_cast<std::size_t>(row)]; });
  }
};

std::vector<std::int64_t> extents(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

/// The parameters of a binding one under the other.
Tensor stack(const Binding& binding, const std::function<Tensor(const Parameter&)>& part) {
  std::vector<Tensor> parts;
  std::int64_t rows = 0;
  for (const Parameter* parameter : binding.parameters) {
    parts.push_back(part(*parameter));
    rows += parts.back().dim(0);
  }
  if (parts.size() == 1) return parts[0];
  auto shape = extents(parts[0].shape());
  shape[0] = rows;
  Tensor result = Tensor::empty(Shape(shape), parts[0].dtype());
  auto* to = static_cast<std::byte*>(result.raw_write());
  for (const Tensor& tensor : parts) {
    const auto* from = static_cast<const std::byte*>(tensor.raw());
    to = std::copy(from, from + tensor.bytes(), to);
  }
  return result;
}

/// final_logits_bias is [1, vocab] in files.
bool is_row_vector(const Binding& binding) {
  return binding.name == "final_logits_bias";
}

bool is_gate(const Binding& binding) {
  return binding.name.find(".rapt_") != std::string::npos;
}

Shape stored_shape(const Binding& binding) {
  auto shape = extents(binding.parameters[0]->shape());
  shape[0] *= static_cast<std::int64_t>(binding.parameters.size());
  if (binding.layout == TensorLayout::transposed) std::reverse(shape.begin(), shape.end());
  if (is_row_vector(binding)) shape.insert(shape.begin(), 1);
  return Shape(shape);
}

/// Rows [begin, end) of a weight, and the tensor of a file that holds them from row `row` on.
struct Piece {
  std::int64_t begin, end;
  std::shared_ptr<const CheckpointTensor> stored;
  Layout layout;
  std::int64_t row;
};

/// A weight from the pieces it is made of: the mapped file itself where it holds the weight in f32 (or bf16, for
/// tables), a copy in f32 elsewhere.
Tensor assemble(const Shape& shape, const std::vector<Piece>& pieces, bool is_table) {
  const Piece& first = pieces[0];
  const bool fits = first.stored->dtype == DType::f32 || (is_table && first.stored->dtype == DType::bf16);
  if (pieces.size() == 1 && fits && first.layout.kind == TensorLayout::plain)
    return first.stored->read().reshape(shape);
  Tensor result = Tensor::empty(shape, DType::f32);
  Tensor stored;
  Tensor stacked;
  const CheckpointTensor* stacked_of = nullptr;
  for (const Piece& piece : pieces) {
    if (stacked_of != piece.stored.get()) {
      stored = piece.stored->read();
      stacked = piece.layout.to_stacked(stored.dtype() == DType::f32 ? stored : stored.to(DType::f32));
      stacked_of = piece.stored.get();
    }
    const Tensor from = stacked.rows(piece.row, piece.row + piece.end - piece.begin);
    std::copy_n(static_cast<const std::byte*>(from.raw()), from.bytes(),
                static_cast<std::byte*>(result.rows(piece.begin, piece.end).raw_write()));
    release_pages(stored);
  }
  return result;
}

/// Rows of a weight that is made of plain pieces, [ids, width] f32; pages of the file that are copied go back to the
/// system.
Tensor read_rows(const std::vector<Piece>& pieces, std::int64_t width, std::span<const std::int32_t> ids) {
  Tensor result = Tensor::empty({std::ssize(ids), width}, DType::f32);
  std::vector<std::int32_t> run;
  for (std::size_t i = 0; i < ids.size(); i += run.size()) {
    const Piece& piece =
        *std::ranges::find_if(pieces, [&](const Piece& p) { return p.begin <= ids[i] && ids[i] < p.end; });
    run.clear();
    for (std::size_t j = i; j < ids.size() && piece.begin <= ids[j] && ids[j] < piece.end; ++j) {
      run.push_back(static_cast<std::int32_t>(ids[j] - piece.begin + piece.row));
    }
    const auto first = static_cast<std::int64_t>(i);
    const Tensor to = result.rows(first, first + std::ssize(run));
    if (piece.stored->read_rows) {
      const Tensor from = piece.stored->read_rows(run);
      std::copy_n(from.data<float>(), from.count(), to.write<float>());
    } else {
      const Tensor stored = piece.stored->read();
      for (std::int64_t row = 0; row < to.dim(0); ++row) {
        const std::int32_t id = run[static_cast<std::size_t>(row)];
        const Tensor from = stored.rows(id, id + 1).to(DType::f32);
        std::copy_n(from.data<float>(), width, to.write<float>() + row * width);
      }
      release_pages(stored.rows(*std::ranges::min_element(run), *std::ranges::max_element(run) + 1));
    }
  }
  return result;
}

/// How to read some rows of a weight, so that neither a copy of all of them nor all pages of the file are kept; null
/// where it has to be read as a whole.
Weight::ReadRows rows_reader(const Shape& shape, const std::vector<Piece>& pieces) {
  const auto plain = [](const Piece& piece) { return piece.layout.kind == TensorLayout::plain; };
  if (shape.rank() != 2 || !std::ranges::all_of(pieces, plain)) return {};
  if (pieces.size() == 1 && pieces[0].stored->read_rows) return pieces[0].stored->read_rows;
  return [pieces, width = shape[1]](std::span<const std::int32_t> ids) { return read_rows(pieces, width, ids); };
}

/// A type that holds all numbers of a weight.
DType exact_type(const std::vector<Piece>& pieces) {
  const bool all = std::ranges::all_of(pieces, [](const Piece& piece) { return piece.stored->dtype == DType::bf16; });
  return all ? DType::bf16 : DType::f32;
}

/// Fills parameters from the tensors of a file, and sees that none is left on either side.
class Filler {
 public:
  Filler(Transformer& model, const CheckpointTensors& tensors, const TensorFile& file, const FillOptions& options)
      : model_(model), family_(find_family(model.config().family)), file_(file), options_(options) {
    for (const auto& [name, tensor] : tensors) {
      const std::string renamed = current_name(name);
      require(left_.emplace(renamed, Found{name, tensor}).second, "{}: tensor \"{}\" is there under two names",
              file.name, shown(renamed));
    }
  }

  TensorAccount run() {
    for (const Binding& binding : bind(model_)) fill(binding);
    for (auto& [weight, pieces] : pieces_) {
      Weight::ReadRows read_rows = rows_reader(weight->shape(), pieces);
      const DType exact = exact_type(pieces);
      weight->set_source([shape = weight->shape(), parts = std::move(pieces),
                          table = weight->is_table()] { return assemble(shape, parts, table); },
                         std::move(read_rows), exact);
    }
    for (const auto& [name, of] : family_.copies) drop_copy(name, of);
    for (const std::string_view name : family_.ignored_tensors) drop(name);
    drop_zero_bias();
    drop_unused_gates();
    if (left_.empty()) return account_;
    fail(
        "{}: {} tensors that this {} model has no use for, the first is \"{}\" {}; they are of another kind of model "
        "than {}",
        file_.name, left_.size(), family_.model_type, shown(left_.begin()->first), left_.begin()->second.tensor.shape,
        file_.config);
  }

 private:
  struct Found {
    std::string name;  ///< in the file
    CheckpointTensor tensor;
  };
  using Left = std::map<std::string, Found, std::less<>>;

  std::string shown(const std::string& name) const { return file_.name_of ? file_.name_of(name) : name; }

  /// The name of the family's table for one that may lack the prefix or be of an early version.
  std::string current_name(std::string name) const {
    for (const auto& [old, current] :
         {std::pair{".LayerNorm.gamma", ".LayerNorm.weight"}, std::pair{".LayerNorm.beta", ".LayerNorm.bias"}}) {
      if (name.ends_with(old)) name.replace(name.size() - std::string_view(old).size(), std::string::npos, current);
    }
    const std::string_view prefix = family_.optional_prefix;
    if (prefix.empty() || name.starts_with(prefix)) return name;
    const auto first = [](std::string_view whole) { return whole.substr(0, whole.find('.')); };
    const bool beside =
        std::ranges::any_of(family_.tensors, [&](const TensorRule& rule) { return first(rule.name) == first(name); });
    return beside ? name : std::string(prefix) + name;
  }

  void fill(Binding binding) {
    const auto found = left_.find(binding.name);
    if (found != left_.end() && found->second.tensor.stacked) binding.layout = TensorLayout::plain;
    if (found == left_.end() && is_added(binding)) return initialize(binding);
    require(found != left_.end(), "{}: tensor \"{}\" is missing; {} asks for it, with shape {}", file_.name,
            shown(binding.name), file_.config, stored_shape(binding).text());
    CheckpointTensor stored = found->second.tensor;
    require(stored.shape == stored_shape(binding),
            "{}: tensor \"{}\" is {}, {} asks for {}; they are not from the same model", file_.name,
            shown(binding.name), stored.shape, file_.config, stored_shape(binding).text());
    if (is_row_vector(binding)) stored = stored.read().reshape({stored.shape.count()});
    const Layout layout{binding.layout, model_.config().decoder_heads};
    if (binding.parameters.size() == 1 && binding.layout == TensorLayout::plain)
      stored_.emplace(binding.parameters[0]->name, Found{binding.name, stored});
    if (options_.filling == Filling::mapped) {
      remember(binding, stored, layout);
    } else {
      copy(binding, layout.to_stacked(stored.read().to(binding.parameters[0]->weight->dtype())));
    }
    take(found, account_.used, binding.name);
  }

  /// Whether it is a gate that the file need not have, since its own config does not ask for it.
  bool is_added(const Binding& binding) const {
    return options_.before != nullptr && is_gate(binding) &&
           !std::ranges::count(gate_names(*options_.before), binding.name);
  }

  void initialize(const Binding& binding) {
    require(options_.seed.has_value(),
            "{}: has no tensor \"{}\": gated_delta learns gates for each token, which this model was not trained with; "
            "rapt train --from MODEL --attention \"decoder = gated_delta\" trains them",
            file_.name, binding.name);
    const Parameter& gate = *binding.parameters[0];
    model_.initialize(gate, *options_.seed);
    account_.fresh.push_back(binding.name);
    account_.stored.push_back({binding.name, gate.weight->dtype(), binding.name, {}});
  }

  /// Strikes a tensor off the list of those that are left.
  void take(Left::iterator found, std::vector<std::string>& list, const std::string& holds) {
    auto& [name, tensor] = found->second;
    list.push_back(found->first);
    account_.stored.push_back({name, tensor.dtype, holds, holds.empty() ? tensor.read() : Tensor()});
    left_.erase(found);
  }

  static void copy(const Binding& binding, const Tensor& stacked) {
    std::int64_t row = 0;
    for (const Parameter* parameter : binding.parameters) {
      const Tensor to = parameter->value();
      const Tensor from = stacked.rows(row, row + to.dim(0));
      std::copy_n(static_cast<const std::byte*>(from.raw()), from.bytes(), static_cast<std::byte*>(to.raw_write()));
      parameter->weight->changed();
      row += to.dim(0);
    }
  }

  void remember(const Binding& binding, const CheckpointTensor& stored, const Layout& layout) {
    const auto shared = std::make_shared<const CheckpointTensor>(stored);
    std::int64_t row = 0;
    for (const Parameter* parameter : binding.parameters) {
      pieces_[parameter->weight].push_back({parameter->begin, parameter->end, shared, layout, row});
      row += parameter->end - parameter->begin;
    }
  }

  void drop_copy(std::string_view name, std::string_view parameter_name) {
    const auto found = left_.find(name);
    if (found == left_.end()) return;
    const auto repeated = stored_.find(parameter_name);
    if (repeated == stored_.end()) return;
    require(same_values(found->second.tensor.read(), repeated->second.tensor.read()),
            "{}: tensor \"{}\" differs from what {} says that it repeats; set the tie_word_embeddings or "
            "share_encoder_decoder_embeddings that this model was trained with",
            file_.name, shown(std::string(name)), file_.config);
    take(found, account_.repeated, repeated->second.name);
  }

  void drop(std::string_view pattern) {
    const int layers = std::max(model_.config().encoder_layers, model_.config().decoder_layers);
    for (int layer = 0; layer < layers; ++layer) {
      const auto found = left_.find(with_layer(pattern, layer));
      if (found != left_.end()) take(found, account_.ignored, "");
    }
  }

  /// A bias of the logits that is all zeros is as good as none.
  void drop_zero_bias() {
    const auto found = left_.find("final_logits_bias");
    if (found == left_.end() || !all_zero(found->second.tensor.read())) return;
    take(found, account_.ignored, "");
  }

  void drop_unused_gates() {
    if (options_.before == nullptr) return;
    for (const std::string& name : gate_names(*options_.before)) {
      if (left_.erase(name) > 0) account_.unused.push_back(name);
    }
  }

  Transformer& model_;
  const Family& family_;
  const TensorFile& file_;
  FillOptions options_;
  TensorAccount account_;
  Left left_;    ///< what nothing has used yet
  Left stored_;  ///< of parameters that are tensors of their own, with the name in the family's table
  std::map<WeightPtr, std::vector<Piece>> pieces_;  ///< of mapped weights
};

}  // namespace

TensorAccount fill(Transformer& model, const CheckpointTensors& tensors, const TensorFile& file,
                   const FillOptions& options) {
  return Filler(model, tensors, file, options).run();
}

std::vector<NamedTensor> checkpoint_tensors(const Transformer& model,
                                            const std::function<Tensor(const Parameter&)>& part) {
  const auto value = [](const Parameter& parameter) {
    const Tensor stored = parameter.value();
    return stored.dtype() == parameter.weight->dtype() ? stored : stored.to(parameter.weight->dtype());
  };
  std::vector<NamedTensor> tensors;
  for (const Binding& binding : bind(model)) {
    const Layout layout{binding.layout, model.config().decoder_heads};
    const Tensor stacked = stack(binding, part ? part : value);
    if (!stacked.defined()) continue;
    Tensor stored = layout.from_stacked(stacked);
    if (is_row_vector(binding)) stored = stored.reshape({1, stored.count()});
    tensors.push_back({binding.name, stored});
  }
  return tensors;
}

}  // namespace rapt
