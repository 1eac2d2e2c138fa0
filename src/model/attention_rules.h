/// Choosing the attention of some layers of a model by a line of text: what --attention takes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attention/trace.h"
#include "model/config.h"

namespace rapt {

/// Which layers attend how.
struct AttentionRule {
  std::optional<AttentionKind> kind;  ///< nothing: every self-attention
  int first = 0;                      ///< layers first to last, both included
  std::optional<int> last;            ///< nothing: to the last layer
  LayerAttention attention;
};

/// Rules separated by semicolons, of which later ones win:
///   RULE = [LAYERS =] ATTENTION         ATTENTION as LayerAttention::parse reads it
///   LAYERS = encoder | decoder | cross, then .N or .N-M for some of its layers, counted from 0
/// "linear elu", "decoder = window(255, 0); decoder.0-1 = causal; cross = prefix(64)". Throws Error that says where.
std::vector<AttentionRule> parse_attention_rules(std::string_view text);
/// The inverse: one spelling for what means the same.
std::string text_of(const std::vector<AttentionRule>& rules);

/// Changes the attention of the layers that the rules name. Throws Error for layers that the model does not have, and
/// for attention that they cannot have.
void choose_attention(const std::vector<AttentionRule>& rules, ModelConfig& config);

/// What the model's layers attend with, as rules: "encoder = full; decoder = causal; cross = full".
std::string attention_text(const ModelConfig& config);

}  // namespace rapt
