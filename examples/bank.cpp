// Does a word move with its meaning? "bank" in twenty sentences about rivers and twenty about money, layer by layer:
//   example_bank MODEL [PICTURE.svg]      MODEL: a directory, a .gguf file, or a name that `rapt pull` has fetched
//
// The vectors of any two words in a model may be similar, because all of them lie in a narrow cone (Ethayarajh, "How
// Contextual are Contextualized Word Representations?", 2019). So the mean cosine of random pairs of other words is
// subtracted.
#include <rapt/hub.h>
#include <rapt/word_embedder.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <random>

namespace {

const std::vector<std::string> kRiver = {
    "We tied the canoe to a tree on the bank and waded ashore.",
    "Willows lean over the muddy bank of the stream.",
    "A heron stood still on the far bank of the river.",
    "The children slid down the grassy bank into the water.",
    "After the flood, half of the bank had been washed away.",
    "Otters dig their holes into the bank just above the water.",
    "They pitched the tent on the bank of a quiet river.",
    "The fisherman sat on the bank with his rod all morning.",
    "Reeds grow thick along the bank where the current is slow.",
    "The boat drifted toward the left bank and ran aground.",
    "Cattle came down to the bank to drink.",
    "Roots hold the soil of the bank together when the river rises.",
    "From the opposite bank you can see the old mill and the weir.",
    "The ferry waits at the northern bank until the fog lifts.",
    "A path follows the bank of the canal for three miles.",
    "He jumped from the bank and swam across.",
    "Kingfishers nest in a steep bank of sand by the brook.",
    "The paddlers rested on the sunny bank below the rapids.",
    "Mist rose from the stream and hid the other bank.",
    "We skipped stones from the bank until it grew dark.",
};
const std::vector<std::string> kMoney = {
    "She opened a savings account at the bank on Monday.",
    "The bank refused his loan because he had no income.",
    "Interest rates fell, and the bank lowered its fees.",
    "I withdrew two hundred euros from the bank this morning.",
    "The manager of the bank checked the signature on the cheque.",
    "Robbers broke into the bank and emptied the vault.",
    "Her salary is paid directly into the bank every month.",
    "The bank lends money to small firms against security.",
    "After the crisis the state had to rescue the bank.",
    "He works as a cashier in a bank and counts notes all day.",
    "The bank sent a letter about the overdraft and the mortgage.",
    "You can pay the invoice by transfer from your bank.",
    "Investors sold their shares in the bank before the report.",
    "The central bank raised its rate to slow inflation.",
    "A clerk at the bank explained the terms of the credit card.",
    "Our deposit at the bank is insured up to a limit.",
    "The merger made it the largest bank in the country by assets.",
    "They borrowed from the bank to buy a house.",
    "The bank charges a commission on currency exchange.",
    "Auditors found that the bank had hidden its losses.",
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The probability that a pair of one sense is more similar than a pair of two (the area under the ROC curve).
double auc(const std::vector<double>& same, const std::vector<double>& different) {
  double wins = 0;
  for (const double a : same)
    for (const double b : different) wins += a > b ? 1 : a == b ? 0.5 : 0;
  return wins / static_cast<double>(same.size() * different.size());
}

/// A word of one of the sentences.
struct Occurrence {
  std::size_t sentence;
  std::size_t word;
};

struct Layer {
  int number;
  double baseline, river, money, across, auc;
};

class Experiment {
 public:
  explicit Experiment(const std::filesystem::path& model) {
    std::vector<std::string> sentences = kRiver;
    sentences.insert(sentences.end(), kMoney.begin(), kMoney.end());
    vectors_ = rapt::WordEmbedder(model).embed(sentences);
    for (std::size_t sentence = 0; sentence < vectors_.size(); ++sentence) {
      for (std::size_t word = 0; word < vectors_[sentence].words.size(); ++word) {
        const bool bank = vectors_[sentence].words[word].text == "bank";
        (bank ? banks_ : others_).push_back({sentence, word});
      }
    }
    if (banks_.size() != sentences.size()) throw rapt::Error("a sentence does not have the word exactly once");
  }

  std::vector<Layer> layers() const {
    std::vector<Layer> result;
    for (std::size_t layer = 0; layer < vectors_.front().layers.size(); ++layer) result.push_back(measure(layer));
    return result;
  }

 private:
  double similarity(const Occurrence& a, const Occurrence& b, std::size_t layer) const {
    return cosine(vectors_[a.sentence].vector(a.word, layer), vectors_[b.sentence].vector(b.word, layer));
  }

  double baseline(std::size_t layer) const {
    std::mt19937 random(1);  // the standard says what it gives
    std::vector<double> cosines;
    while (cosines.size() < 2000) {
      const Occurrence& a = others_[random() % others_.size()];
      const Occurrence& b = others_[random() % others_.size()];
      const bool different_words = vectors_[a.sentence].words[a.word].text != vectors_[b.sentence].words[b.word].text;
      if (a.sentence != b.sentence && different_words) cosines.push_back(similarity(a, b, layer));
    }
    return mean(cosines);
  }

  Layer measure(std::size_t layer) const {
    std::vector<double> river, money, across;
    for (std::size_t i = 0; i < banks_.size(); ++i) {
      for (std::size_t j = i + 1; j < banks_.size(); ++j) {
        const bool first = i < kRiver.size(), second = j < kRiver.size();
        (first != second ? across : first ? river : money).push_back(similarity(banks_[i], banks_[j], layer));
      }
    }
    std::vector<double> same = river;
    same.insert(same.end(), money.begin(), money.end());
    const double base = baseline(layer);
    return {vectors_.front().layers[layer],
            base,
            mean(river) - base,
            mean(money) - base,
            mean(across) - base,
            auc(same, across)};
  }

  std::vector<rapt::WordVectors> vectors_;
  std::vector<Occurrence> banks_, others_;
};

/// Text of an SVG file. The colours are close to those that Okabe and Ito chose so that everybody tells them apart, and
/// are readable on light and dark ground.
class Picture {
 public:
  explicit Picture(const std::vector<Layer>& layers) : layers_(layers) {
    for (const Layer& layer : layers) {
      for (const double y : {layer.river, layer.money, layer.across}) {
        low_ = std::min(low_, y);
        high_ = std::max(high_, y);
      }
    }
    low_ = std::floor(low_ * 5) / 5;
    high_ = std::ceil(high_ * 5) / 5;
  }

  std::string svg() {
    add("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %g %g' font-family='system-ui, sans-serif' "
        "font-size='13' "
        "role='img' aria-label='Similarity of the word bank within and across its senses, by layer'>\n",
        kWidth, kHeight);
    add("<style>text{fill:#7a7f87}.t{font-size:16px;font-weight:600}.g{stroke:#9a9a9a;stroke-opacity:.28}"
        ".l{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}</style>\n");
    add("<text class='t' x='24' y='32'>\u201cbank\u201d, layer by layer</text>\n");
    add("<text x='24' y='52'>mean cosine of two occurrences, minus that of random words</text>\n");
    for (double y = low_; y <= high_ + 1e-9; y += 0.2) {
      add("<line class='g' x1='%g' x2='%g' y1='%g' y2='%g'/>", kLeft, kRight, at_y(y), at_y(y));
      add("<text x='%g' y='%g' text-anchor='end'>%.1f</text>\n", kLeft - 10, at_y(y) + 4.5,
          std::abs(y) < 1e-9 ? 0.0 : y);
    }
    const std::size_t step = layers_.size() > 16 ? 5 : 1;
    for (std::size_t i = 0; i < layers_.size(); i += step) {
      add("<text x='%g' y='%g' text-anchor='middle'>%d</text>", at_x(i), kBottom + 24, layers_[i].number);
      add("<text x='%g' y='%g' text-anchor='middle'>%.2f</text>\n", at_x(i), kBottom + 46, layers_[i].auc);
    }
    add("<text x='%g' y='%g'>layer</text>", kRight + 16, kBottom + 24);
    add("<text x='%g' y='%g'>AUC</text>\n", kRight + 16, kBottom + 46);
    gap();
    std::vector<Label> labels;
    labels.push_back(line(&Layer::river, "#2B8CCB", "river and river"));
    labels.push_back(line(&Layer::money, "#E69F00", "money and money"));
    labels.push_back(line(&Layer::across, "#CC79A7", "river and money"));
    place(labels);
    add("</svg>\n");
    return text_;
  }

 private:
  static constexpr double kWidth = 720, kHeight = 420, kLeft = 64, kRight = 560, kTop = 80, kBottom = 356;
  struct Label {
    double y;
    const char* colour;
    const char* text;
  };

  template <typename... Args>
  void add(const char* format, Args... args) {
    char buffer[1024];
    text_.append(buffer, static_cast<std::size_t>(std::snprintf(buffer, sizeof(buffer), format, args...)));
  }
  double at_x(std::size_t i) const {
    return kLeft + 12 + (kRight - kLeft - 24) * static_cast<double>(i) / static_cast<double>(layers_.size() - 1);
  }
  double at_y(double value) const { return kBottom - (kBottom - kTop) * (value - low_) / (high_ - low_); }

  /// What the senses are apart: between the mean of pairs of one sense and that of two.
  void gap() {
    add("<path fill='#8a8a8a' fill-opacity='.13' d='M");
    for (std::size_t i = 0; i < layers_.size(); ++i)
      add("%g %g ", at_x(i), at_y((layers_[i].river + layers_[i].money) / 2));
    for (std::size_t i = layers_.size(); i-- > 0;) add("L%g %g ", at_x(i), at_y(layers_[i].across));
    add("Z'/>\n");
  }

  Label line(double Layer::*value, const char* colour, const char* text) {
    add("<path class='l' stroke='%s' d='M", colour);
    for (std::size_t i = 0; i < layers_.size(); ++i) add("%g %g ", at_x(i), at_y(layers_[i].*value));
    add("'/>");
    for (std::size_t i = 0; layers_.size() <= 16 && i < layers_.size(); ++i)
      add("<circle cx='%g' cy='%g' r='4' fill='%s'/>", at_x(i), at_y(layers_[i].*value), colour);
    add("\n");
    return {at_y(layers_.back().*value), colour, text};
  }

  /// Names beside the lines' ends, far enough from each other to be read.
  void place(std::vector<Label> labels) {
    std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
    for (std::size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + 18);
    for (const Label& label : labels) {
      add("<circle cx='%g' cy='%g' r='4' fill='%s'/>", kRight + 16, label.y, label.colour);
      add("<text x='%g' y='%g'>%s</text>\n", kRight + 28, label.y + 4.5, label.text);
    }
  }

  const std::vector<Layer>& layers_;
  std::string text_;
  double low_ = 0, high_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: example_bank MODEL [PICTURE.svg]\n";
    return 2;
  }
  try {
    const std::vector<Layer> layers = Experiment(rapt::find_model(argv[1])).layers();
    std::printf("layer  river-river  money-money  river-money  random words  AUC\n");
    for (const Layer& layer : layers)
      std::printf("%5d  %11.3f  %11.3f  %11.3f  %12.3f  %.3f\n", layer.number, layer.river, layer.money, layer.across,
                  layer.baseline, layer.auc);
    if (argc == 3) {
      std::ofstream file(argv[2]);
      file << Picture(layers).svg();
      if (!file.flush()) throw rapt::Error(std::string(argv[2]) + ": cannot be written");
    }
  } catch (const rapt::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
