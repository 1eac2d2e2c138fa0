/// Which tensors of a checkpoint hold which parameters of a model.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "families/checkpoint_tensor.h"
#include "formats/safetensors.h"
#include "model/transformer.h"

namespace rapt {

/// A tensor of a file that was read into a model.
struct StoredTensor {
  std::string name;   ///< in the file
  DType dtype;        ///< in the file
  std::string holds;  ///< the tensor of the family's table that has the same numbers; empty: it holds a constant
  Tensor constant;    ///< its numbers then
};

/// What became of each tensor of a file, by name.
struct TensorAccount {
  std::vector<std::string> used;      ///< they hold parameters
  std::vector<std::string> repeated;  ///< equal to others
  std::vector<std::string> ignored;   ///< constants that rapt computes
  std::vector<StoredTensor> stored;   ///< what a file of this model should hold, in the form that it has in this one
  std::vector<std::string> unused;    ///< gates (see FillOptions) of layers that attend otherwise now; not in `stored`
  std::vector<std::string> fresh;     ///< gates that the file lacks: they were initialised
};

/// Whether a model gets numbers of its own, to be trained, or reads the file when it needs them.
enum class Filling { copied, mapped };

/// How messages speak of the file that tensors come from.
struct TensorFile {
  std::string name;
  std::string config = "config.json";                           ///< what says which tensors there should be
  std::function<std::string(const std::string&)> name_of = {};  ///< a tensor's name in the file, if it is another there
};

/// The gates of the gated delta rule are the parameters that depend on how layers attend. In every family's checkpoints
/// they lie beside the query projection of their layer: "model.layers.0.self_attn.rapt_alpha.weight", rapt_beta.weight,
/// rapt_a_log, rapt_dt_bias.
struct FillOptions {
  Filling filling = Filling::copied;
  /// What the model was before the attention of its layers was changed: gates that only this config has use for may be
  /// there.
  const ModelConfig* before = nullptr;
  /// Initialises gates that are not there and that `before` has no use for. Nothing: they are missing.
  std::optional<std::uint64_t> seed = std::nullopt;
};

/// Fills the parameters from tensors under checkpoint names, each of which is used exactly once. Throws Error naming
/// the file and the tensor for one that is missing, has another shape, or has no use.
TensorAccount fill(Transformer& model, const CheckpointTensors& tensors, const TensorFile& file,
                   const FillOptions& options);

/// What model.safetensors holds, in f32 (f64 for f64 models). `part` says what to take of each parameter; its value, if
/// not given.
std::vector<NamedTensor> checkpoint_tensors(const Transformer& model,
                                            const std::function<Tensor(const Parameter&)>& part = {});

}  // namespace rapt
