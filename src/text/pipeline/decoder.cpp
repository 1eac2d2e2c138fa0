#include "text/pipeline/decoder.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "text/clean_up.h"
#include "text/pipeline/byte_level.h"
#include "text/pipeline/growth.h"
#include "text/pipeline/metaspace.h"
#include "text/pipeline/pattern.h"
#include "text/replace.h"
#include "text/utf8.h"

namespace rapt {
namespace {

using Pieces = std::vector<std::string>;

/// One step of a chain: takes pieces one by one, appends those that it makes of them.
class Step {
 public:
  virtual ~Step() = default;
  virtual void add(std::string piece, Pieces& out) = 0;
  virtual void finish(Pieces&) {}
};

/// A step that makes one piece of each, whatever stands around it.
class PieceByPiece final : public Step {
 public:
  explicit PieceByPiece(std::function<std::string(std::string)> change) : change_(std::move(change)) {}
  void add(std::string piece, Pieces& out) override { out.push_back(change_(std::move(piece))); }

 private:
  std::function<std::string(std::string)> change_;
};

/// A step that treats the first piece unlike the others.
class FirstAndOthers final : public Step {
 public:
  using Change = std::function<std::string(std::string, bool first)>;
  explicit FirstAndOthers(Change change) : change_(std::move(change)) {}
  void add(std::string piece, Pieces& out) override {
    out.push_back(change_(std::move(piece), first_));
    first_ = false;
  }

 private:
  Change change_;
  bool first_ = true;
};

/// Makes one piece of all.
class Fuse final : public Step {
 public:
  void add(std::string piece, Pieces&) override { text_ += piece; }
  void finish(Pieces& out) override { out.push_back(std::move(text_)); }

 private:
  std::string text_;
};

/// Characters of byte_level.h to bytes to text, a piece as soon as its last character is whole.
class ByteLevel final : public Step {
 public:
  void add(std::string piece, Pieces& out) override {
    const std::optional<std::string> bytes = characters_to_bytes(piece);
    bytes_ += bytes ? *bytes : piece;  // added tokens are text
    const std::size_t whole = complete_utf8_prefix(bytes_);
    out.push_back(replace_invalid_utf8(std::string_view(bytes_).substr(0, whole)));
    bytes_.erase(0, whole);
  }
  void finish(Pieces& out) override { out.push_back(replace_invalid_utf8(bytes_)); }

 private:
  std::string bytes_;
};

/// Runs of pieces such as <0xE2> to the text whose bytes they are; if they are not UTF-8, each becomes U+FFFD.
class ByteFallback final : public Step {
 public:
  void add(std::string piece, Pieces& out) override {
    if (const std::optional<char> byte = byte_of(piece)) {
      bytes_.push_back(*byte);
      return;
    }
    finish(out);
    out.push_back(std::move(piece));
  }
  void finish(Pieces& out) override {
    if (first_invalid_utf8(bytes_) == std::string_view::npos) {
      if (!bytes_.empty()) out.push_back(bytes_);
    } else {
      out.insert(out.end(), bytes_.size(), "\uFFFD");
    }
    bytes_.clear();
  }

 private:
  static std::optional<char> byte_of(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
    int value = 0;
    for (const char digit : piece.substr(3, 2)) {
      const std::size_t found = std::string_view("0123456789ABCDEFabcdef").find(digit);
      if (found == std::string_view::npos) return std::nullopt;
      value = value * 16 + static_cast<int>(found < 16 ? found : found - 6);
    }
    return static_cast<char>(value);
  }

  std::string bytes_;
};

/// What Strip removes: a character, at most so many times at either end.
struct StripRule {
  std::string content;
  std::size_t start = 0;
  std::size_t stop = 0;

  /// Bytes of the run of `content` that a text begins or ends with, at most `times` long.
  std::size_t at_start(std::string_view text, std::size_t times) const {
    std::size_t bytes = 0;
    while (times-- > 0 && text.substr(bytes).starts_with(content)) bytes += content.size();
    return bytes;
  }
  std::size_t at_end(std::string_view text, std::size_t times) const {
    std::size_t bytes = 0;
    while (times-- > 0 && text.substr(0, text.size() - bytes).ends_with(content)) bytes += content.size();
    return bytes;
  }
};

/// Strip of a whole text that comes in pieces.
class StripText final : public Step {
 public:
  explicit StripText(StripRule rule) : rule_(std::move(rule)), start_left_(rule_.start) {}

  void add(std::string piece, Pieces& out) override {
    const std::size_t begin = rule_.at_start(piece, start_left_);
    start_left_ = begin < piece.size() ? 0 : start_left_ - begin / rule_.content.size();
    piece.erase(0, begin);
    const std::size_t at_end = rule_.at_end(piece, rule_.stop);
    if (at_end < piece.size()) {
      out.push_back(repeated(std::exchange(held_, 0)) + piece.substr(0, piece.size() - at_end));
    }
    held_ += at_end / rule_.content.size();
    if (held_ > rule_.stop) {
      out.push_back(repeated(held_ - rule_.stop));
      held_ = rule_.stop;
    }
  }

 private:
  std::string repeated(std::size_t times) const {
    std::string text;
    while (times-- > 0) text += rule_.content;
    return text;
  }

  StripRule rule_;
  std::size_t start_left_;
  std::size_t held_ = 0;  // how many times the content goes if nothing follows
};

/// Knows which piece is the last: keeps each until the next one comes.
class BpeWords final : public Step {
 public:
  explicit BpeWords(std::string suffix) : suffix_(std::move(suffix)) {}
  void add(std::string piece, Pieces& out) override {
    if (last_) out.push_back(replace_all(*last_, suffix_, " "));
    last_ = std::move(piece);
  }
  void finish(Pieces& out) override {
    if (last_) out.push_back(replace_all(*last_, suffix_, ""));
  }

 private:
  std::string suffix_;
  std::optional<std::string> last_;
};

using StepFactory = std::function<std::unique_ptr<Step>()>;

/// A kind of step, with what chain() asks about it.
struct StepKind {
  enum class Effect { none, fuses, strips };
  StepFactory make;
  Effect effect = Effect::none;
  std::optional<StripRule> strip;
};

template <typename Made, typename... Arguments>
StepFactory factory(Arguments... arguments) {
  return [=] { return std::make_unique<Made>(arguments...); };
}

StepKind read_strip_step(const JsonObject& object) {
  constexpr IntegerRange range{.min = 0, .max = 1 << 20};
  StripRule rule{.content = object.text("content"),
                 .start = static_cast<std::size_t>(object.integer("start", range)),
                 .stop = static_cast<std::size_t>(object.integer("stop", range))};
  if (to_code_points(rule.content).size() != 1) object.refuse("content", "one character");
  const auto strip = [rule](std::string piece) {
    piece.erase(0, rule.at_start(piece, rule.start));
    piece.resize(piece.size() - rule.at_end(piece, rule.stop));
    return piece;
  };
  return {factory<PieceByPiece>(strip), StepKind::Effect::strips, rule};
}

StepKind read_replace_step(const JsonObject& object) {
  const auto replace = [pattern = read_pattern(object), content = object.text("content")](const std::string& piece) {
    return replace_matches(piece, pattern(piece), content);
  };
  return {factory<PieceByPiece>(replace)};
}

StepKind read_metaspace_decoder(const JsonObject& object) {
  const Metaspace metaspace = read_metaspace(object);
  return {factory<FirstAndOthers>([metaspace](const std::string& piece, bool first) {
    const bool removed = first && metaspace.prepend != Metaspace::Prepend::never;
    return replace_all(piece, metaspace.replacement, removed ? "" : " ");
  })};
}

StepKind read_word_piece_decoder(const JsonObject& object) {
  const std::string prefix = object.text("prefix");
  const bool clean = object.boolean("cleanup");
  return {factory<FirstAndOthers>([=](std::string piece, bool first) {
    if (!first) {
      if (piece.starts_with(prefix)) {
        piece.erase(0, prefix.size());
      } else {
        piece.insert(0, " ");
      }
    }
    return clean ? clean_up_spaces(std::move(piece), CleanUp::word_piece) : piece;
  })};
}

StepKind read_bpe_decoder(const JsonObject& object) {
  const std::string suffix = object.text("suffix");
  if (suffix.empty()) object.refuse("suffix", "text that is not empty");
  return {factory<BpeWords>(suffix)};
}

void read_steps(const JsonObject& object, std::vector<StepKind>& steps) {
  const std::string type = object.text("type");
  if (type == "Sequence") {
    for (const JsonObject& step : object.objects("decoders")) read_steps(step, steps);
  } else if (type == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) object.value(key);  // of encoding
    steps.push_back({factory<ByteLevel>()});
    steps.push_back({factory<Fuse>(), StepKind::Effect::fuses});
  } else if (type == "Fuse") {
    steps.push_back({factory<Fuse>(), StepKind::Effect::fuses});
  } else if (type == "ByteFallback") {
    steps.push_back({factory<ByteFallback>()});
  } else if (type == "Strip") {
    steps.push_back(read_strip_step(object));
  } else if (type == "Replace") {
    steps.push_back(read_replace_step(object));
  } else if (type == "Metaspace") {
    steps.push_back(read_metaspace_decoder(object));
  } else if (type == "WordPiece") {
    steps.push_back(read_word_piece_decoder(object));
  } else if (type == "BPEDecoder") {
    steps.push_back(read_bpe_decoder(object));
  } else {
    object.refuse("type", "a kind of decoder that rapt knows");
  }
}

/// Removes the steps at the end that would hold a whole text back and need not: the pieces of the last step are joined
/// anyhow, and Strip can be told of a text in pieces.
void let_stream(std::vector<StepKind>& steps) {
  using Effect = StepKind::Effect;
  while (!steps.empty() && steps.back().effect == Effect::fuses) steps.pop_back();
  const std::size_t size = steps.size();
  if (size >= 2 && steps[size - 1].effect == Effect::strips && steps[size - 2].effect == Effect::fuses) {
    steps[size - 2] = {factory<StripText>(*steps[size - 1].strip)};
    steps.pop_back();
  }
}

class Chain final : public PieceDecoder {
 public:
  explicit Chain(const std::vector<StepKind>& kinds) {
    for (const StepKind& kind : kinds) steps_.push_back(kind.make());
  }

  void add(std::string piece, std::string& text) override {
    given_ += piece.size();
    Pieces pieces{std::move(piece)};
    for (const auto& step : steps_) pieces = through(*step, std::move(pieces));
    for (const std::string& made : pieces) text += made;
  }

  void finish(std::string& text) override {
    Pieces pieces;
    for (const auto& step : steps_) {
      pieces = through(*step, std::move(pieces));
      step->finish(pieces);
    }
    for (const std::string& made : pieces) text += made;
  }

 private:
  Pieces through(Step& step, Pieces pieces) const {
    Pieces result;
    for (std::string& piece : pieces) step.add(std::move(piece), result);
    std::size_t bytes = 0;
    for (const std::string& piece : result) bytes += piece.size();
    require_modest_growth(given_, bytes);
    return result;
  }

  std::vector<std::unique_ptr<Step>> steps_;
  std::size_t given_ = 0;  // bytes
};

DecoderFactory chain(std::vector<StepKind> steps) {
  let_stream(steps);
  return [steps = std::move(steps)] { return std::make_unique<Chain>(steps); };
}

}  // namespace

DecoderFactory read_decoder(const JsonObject& object) {
  std::vector<StepKind> steps;
  read_steps(object, steps);
  return chain(std::move(steps));
}

DecoderFactory space_decoder() {
  return chain(
      {{factory<FirstAndOthers>([](const std::string& piece, bool first) { return first ? piece : " " + piece; })}});
}

}  // namespace rapt
