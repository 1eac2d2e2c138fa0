/// A report with made-up attention, for tests: the same at every call, and shaped like that of a trained translator.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "view/report.h"

namespace rapt::view::example {

/// Splits at spaces; "|" splits a word further. "A green|house" -> "▁A" "▁green" "house" "</s>".
inline std::vector<Piece> pieces(const std::string& text) {
  std::vector<Piece> result;
  std::string piece = "\u2581";
  for (const char c : text) {
    if (c == ' ' || c == '|') {
      result.push_back({piece});
      piece = c == ' ' ? "\u2581" : "";
    } else {
      piece += c;
    }
  }
  result.push_back({piece});
  result.push_back({"</s>", true});
  return result;
}

/// `text` without the marks of pieces().
inline std::string plain(std::string text) {
  std::erase(text, '|');
  return text;
}

/// Softmax over keys [0, visible) of logit(query, key); 0 beyond.
inline void append_row(std::vector<float>& weights, int query, int keys, int visible,
                       const std::function<double(int, int)>& logit) {
  std::vector<double> row(static_cast<std::size_t>(keys));
  double sum = 0;
  for (int key = 0; key < visible; ++key) sum += row[static_cast<std::size_t>(key)] = std::exp(logit(query, key));
  for (const double value : row) weights.push_back(static_cast<float>(value / sum));
}

inline double ripple(int a, int b, int c) {
  return std::sin(a * 12.9898 + b * 78.233 + c * 37.719);
}

inline double peak(int key, int centre, double height) {
  return key == centre ? height : -0.3 * std::min(6, std::abs(key - centre));
}

/// What head `head` of a self-attention prefers: previous, next (or same), first, a broad look.
inline double self_logit(int layer, int head, bool causal, int query, int key) {
  const double noise = 0.7 * ripple(layer * 31 + head, query, key);
  switch ((head + layer) % 4) {
    case 0:
      return peak(key, query - 1, 3.5) + noise;
    case 1:
      return peak(key, causal ? query : query + 1, 3) + noise;
    case 2:
      return (key == 0 ? 3.0 : 0.0) + noise;
    default:
      return noise;
  }
}

/// `aligned`: for each target piece, its source piece. Sharpest in the last layer but one.
inline double cross_logit(const std::vector<int>& aligned, int layers, int layer, int head, int source, int query,
                          int key) {
  const double sharpness = layer == layers - 2 ? 5.0 : 1.2 + 0.7 * layer;
  const double noise = 0.9 * ripple(layer * 17 + head, query, key);
  const int centre = aligned[static_cast<std::size_t>(query)];
  if (head == 1) return peak(key, centre, sharpness - 1.5) + (key == source - 1 ? 2.5 : 0) + noise;
  if (head == 3) return peak(key, std::min(source - 1, centre + 1), sharpness - 2.5) + noise;
  return peak(key, centre, sharpness) + noise;
}

struct Extents {
  int layers = 4;
  int heads = 4;
};

inline AttentionMap map_of(const Sentence& sentence, AttentionKind kind, const std::vector<int>& aligned,
                           Extents extents, int layer) {
  const int source = static_cast<int>(sentence.source.size());
  const int target = static_cast<int>(sentence.target.size());
  const bool causal = kind == AttentionKind::decoder;
  AttentionMap map{.kind = kind,
                   .layer = layer,
                   .heads = extents.heads,
                   .queries = kind == AttentionKind::encoder ? source : target,
                   .keys = kind == AttentionKind::decoder ? target : source};
  for (int head = 0; head < map.heads; ++head) {
    for (int query = 0; query < map.queries; ++query) {
      append_row(map.weights, query, map.keys, causal ? query + 1 : map.keys, [&](int q, int k) {
        if (kind == AttentionKind::cross) return cross_logit(aligned, extents.layers, layer, head, source, q, k);
        return self_logit(layer, head, causal, q, k);
      });
    }
  }
  return map;
}

/// `aligned` names, for each target piece, the place of its source piece; short lists go on with the diagonal.
inline Sentence sentence(const std::string& source, const std::string& target, std::vector<int> aligned,
                         Extents extents = {}) {
  Sentence result{.source = pieces(source),
                  .target = pieces(target),
                  .start = Piece{"<pad>", true},
                  .source_text = plain(source),
                  .target_text = plain(target)};
  const auto last = static_cast<int>(result.source.size()) - 1;
  while (aligned.size() + 1 < result.target.size()) aligned.push_back(std::min(last, static_cast<int>(aligned.size())));
  aligned.push_back(last);
  for (const AttentionKind kind : {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross}) {
    for (int layer = 0; layer < extents.layers; ++layer) {
      add_map(result, map_of(result, kind, aligned, extents, layer));
    }
  }
  return result;
}

/// Names that try to be markup, to hide, to reverse the line, or are no text at all.
inline const std::vector<std::string> hostile_pieces{"\u2581</script><script>alert(1)</script>",
                                                     "\u2581<!--",
                                                     "<img src=x onerror=alert(1)>",
                                                     "\u2581{{script}}",
                                                     "\u2581a\u202Eb\u2066c",
                                                     "\u0007\x1b[31m",
                                                     "\u2581\xff\xc3(",
                                                     "\u2581\u0645\u0631\u062d\u0628\u0627",
                                                     "\u2581\u65e5\u672c\u8a9e",
                                                     "\u2581\U0001F468\u200D\U0001F469\u200D\U0001F467",
                                                     "\u2581",
                                                     "",
                                                     "\u2581\"'&amp;`\\"};

inline Sentence hostile_sentence() {
  Sentence result{.start = Piece{"<s>", true},
                  .source_text = "</script><script>alert('source')</script> <!-- \u202E",
                  .target_text = "<b>bold</b>\n\x01 \xfe"};
  for (const std::string& piece : hostile_pieces) result.source.push_back({piece});
  result.source.push_back({"</s>", true});
  result.target = result.source;
  std::vector<int> aligned;
  for (std::size_t i = 0; i < result.target.size(); ++i) aligned.push_back(static_cast<int>(i));
  for (const AttentionKind kind : {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross}) {
    add_map(result, map_of(result, kind, aligned, {.layers = 1, .heads = 2}, 0));
  }
  return result;
}

/// Nine sentences: short, long, pooled, hostile.
inline Report report() {
  Report result{.model_name = "example-en-de", .title = "Attention of an example"};
  Sentence first = sentence("The little dog is run|ning quickly over the wet meadow .",
                            "Der kleine Hund läuft schnell über die nasse Wie|se .",
                            {0, 1, 2, 4, 6, 7, 8, 9, 10, 10, 11}, {.layers = 6, .heads = 8});
  first.reference = "Der kleine Hund rennt schnell über die nasse Wiese.";
  first.score = -0.412;
  add_sentence(result, first);
  add_sentence(result, sentence("Yesterday I have seen a green|house .", "Gestern habe ich ein Ge|wächs|haus gesehen .",
                                {0, 2, 1, 4, 5, 5, 6, 3, 7}));
  add_sentence(result,
               sentence("Two children are playing with a red ball on the beach while their parents are "
                        "sit|ting under a large um|brel|la and read|ing the news|paper .",
                        "Zwei Kinder spielen mit einem roten Ball am Strand , während ihre Eltern unter einem "
                        "großen Sonnen|schirm sitzen und die Zeitung lesen .",
                        {0, 1, 3, 4, 5, 6, 7, 8, 10, 10, 11, 12, 13, 17, 18, 19, 20, 21, 15, 23, 26, 27, 24, 29}));
  for (const char* colour : {"red", "blue", "yellow", "white", "black"}) {
    add_sentence(result, sentence(std::string("A ") + colour + " car stops .", "Ein Auto hält an .", {0, 2, 3, 3, 4}));
  }
  std::string words = "word";
  for (int i = 1; i < 600; ++i) words += " word" + std::to_string(i);
  add_sentence(result, sentence(words, words, {}, {.layers = 2, .heads = 2}));
  add_sentence(result, hostile_sentence());
  return result;
}

}  // namespace rapt::view::example
