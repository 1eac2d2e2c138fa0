/// What the encoder-decoders that descend from BART's code in transformers share.
#pragma once

#include "families/family.h"

namespace rapt::bart_like {

/// A post-norm model with tables of its own for source and target, as MarianMT; what makes others different is set
/// afterwards.
Family family(std::string_view model_type, std::string_view architecture);
/// The same with one embedding for source and target.
Family shared_family(std::string_view model_type, std::string_view architecture);

/// Keys of early conversions; transformers computes with these values whatever the file says.
struct EarlyKeys {
  bool last_norm = false;  ///< a norm behind each stack, and before each sublayer
  bool embedding_norm = false;
  bool sinusoidal = false;
};
std::vector<ConfigConstant> constants(const EarlyKeys& keys);

void read_shared(const JsonObject& json, ModelConfig& config);
/// Tables of positions and the norms of the embeddings.
void add_embedding_tensors(Family& family);
/// Norms before each sublayer, and the ones behind the stacks.
void make_pre_norm(Family& family);

}  // namespace rapt::bart_like
