#include "model/attention_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace rapt {
namespace {

constexpr AttentionKind kinds[] = {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross};

std::optional<AttentionKind> take_kind(attention::ExpressionReader& reader) {
  for (const AttentionKind kind : kinds) {
    if (reader.take_word(name_of(kind))) return kind;
  }
  return std::nullopt;
}

AttentionRule read_rule(attention::ExpressionReader& reader) {
  AttentionRule rule{.kind = take_kind(reader), .last = std::nullopt, .attention = {}};
  if (rule.kind) {
    if (reader.take('.')) {
      rule.first = reader.integer();
      rule.last = reader.take('-') ? reader.integer() : rule.first;
    }
    if (!reader.take('=')) reader.refuse(rule.last ? "\"=\" or \"-\"" : "\"=\" or \".\"");
  }
  rule.attention = read_layer_attention(reader);
  return rule;
}

std::string layers_text(const AttentionRule& rule) {
  if (!rule.kind) return "";
  std::string text(name_of(*rule.kind));
  if (rule.last && *rule.last == rule.first) {
    text += fmt::format(".{}", rule.first);
  } else if (rule.last) {
    text += fmt::format(".{}-{}", rule.first, *rule.last);
  }
  return text + " = ";
}

void choose_attention(const AttentionRule& rule, AttentionKind kind, ModelConfig& config) {
  const int layers = layers_of(config, kind);
  const int last = rule.last.value_or(layers - 1);
  require(layers > 0, "attention \"{}\": this model has no {}", text_of({rule}),
          kind == AttentionKind::cross ? "cross-attention" : name_of(kind));
  require(rule.first <= last && last < layers, "attention \"{}\": the {} has layers 0 to {}", text_of({rule}),
          name_of(kind), layers - 1);
  auto& chosen = attention_of(config, kind);
  if (std::ssize(chosen) != layers) {
    const LayerAttention all = chosen.empty() ? usual_attention(kind) : chosen.front();
    chosen.assign(static_cast<std::size_t>(layers), all);
  }
  std::fill(chosen.begin() + rule.first, chosen.begin() + last + 1, rule.attention);
}

}  // namespace

std::vector<AttentionRule> parse_attention_rules(std::string_view text) {
  attention::ExpressionReader reader("attention", text);
  std::vector<AttentionRule> rules;
  while (!reader.at_end()) {
    rules.push_back(read_rule(reader));
    if (!reader.take(';') && !reader.at_end()) reader.refuse("\";\" or the end");
  }
  return rules;
}

std::string text_of(const std::vector<AttentionRule>& rules) {
  std::string text;
  for (const AttentionRule& rule : rules)
    text += fmt::format("{}{}{}", text.empty() ? "" : "; ", layers_text(rule), rule.attention.text());
  return text;
}

void choose_attention(const std::vector<AttentionRule>& rules, ModelConfig& config) {
  for (const AttentionRule& rule : rules) {
    if (rule.kind) {
      choose_attention(rule, *rule.kind, config);
    } else {
      for (const AttentionKind kind : {AttentionKind::encoder, AttentionKind::decoder}) {
        if (layers_of(config, kind) > 0) choose_attention(rule, kind, config);
      }
    }
  }
  check(config);
}

std::string attention_text(const ModelConfig& config) {
  std::vector<AttentionRule> rules;
  for (const AttentionKind kind : kinds) {
    const int layers = layers_of(config, kind);
    for (int first = 0, next; first < layers; first = next) {
      const LayerAttention attention = layer_attention(config, kind, first);
      for (next = first + 1; next < layers && layer_attention(config, kind, next).text() == attention.text();) ++next;
      AttentionRule rule{.kind = kind, .first = first, .last = next - 1, .attention = attention};
      if (first == 0 && next == layers) rule.last.reset();
      rules.push_back(rule);
    }
  }
  return text_of(rules);
}

}  // namespace rapt
