#include "text/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>

#include "core/error.h"
#include "formats/foreign.h"
#include "formats/printable.h"
#include "text/sentencepiece_check.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// The library joins a run of unknown characters one by one to a growing string, which takes time quadratic in the
/// length of the run: minutes for a megabyte. Texts up to this length are left to it all the same.
constexpr std::size_t kLongText = 8192;
/// How much text is looked at together, by half overlapping, to find longer runs. What a model makes of a character
/// depends on a few characters around it, far fewer than half a window.
constexpr std::size_t kWindow = 2048;
/// Of most windows so much tells that they hold something known.
constexpr std::size_t kSample = 128;

constexpr std::size_t kMessageBytes = 400;

/// The last place at or before `position` where a text can be cut without changing what rules of normalisation make of
/// either side: between grapheme clusters, or between characters if there is a cluster far longer than any rule.
std::size_t boundary(std::string_view text, std::size_t position) {
  constexpr std::size_t longest_cluster = 64;
  if (position >= text.size()) return text.size();
  const std::size_t character = character_begin(text, position);
  for (std::size_t place = character; place > 0 && character - place < longest_cluster;) {
    const std::size_t previous = character_begin(text, place - 1);
    if (breaks_cluster(utf8_step(text, previous).code_point, utf8_step(text, place).code_point)) return place;
    place = previous;
  }
  return character;
}

/// Loads a model; what is wrong with it, or nothing. The library reports most problems, and throws on some.
std::string load(sentencepiece::SentencePieceProcessor& processor, std::string_view serialized) {
  try {
    const auto status = processor.LoadFromSerializedProto(serialized);
    return status.ok() ? "" : status.message();
  } catch (const std::exception& exception) {
    return exception.what();
  }
}

}  // namespace

SentencePieceModel::SentencePieceModel(std::string serialized, const std::string& file)
    : serialized_(std::move(serialized)), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  require(!serialized_.empty(), "{} is empty; it must be a SentencePiece model", file);
  const std::string_view advice = advice_about(serialized_);
  require(advice.empty(), "{} is not a SentencePiece model{}", file, advice);
  require_sound_normalization(serialized_, file);
  const std::string problem = load(*processor_, serialized_);
  require(problem.empty(), "{} is not a SentencePiece model that can be used: {}", file,
          printable(problem, kMessageBytes));
}

SentencePieceModel::~SentencePieceModel() = default;

std::vector<std::string> SentencePieceModel::encode(std::string_view text) const {
  return text.size() <= kLongText ? encode_whole(text) : encode_whole(shorten_unknown(text));
}

std::vector<std::string> SentencePieceModel::encode_whole(std::string_view text) const {
  std::vector<std::string> pieces;
  const auto status = processor_->Encode(text, &pieces);
  require(status.ok(), "SentencePiece cannot cut a text of {} bytes: {}", text.size(),
          printable(status.message(), kMessageBytes));
  return pieces;
}

/// Whether the model knows no character of a text.
bool SentencePieceModel::is_unknown(std::string_view text) const {
  const std::vector<std::string> pieces = encode_whole(text);
  const std::size_t first = !pieces.empty() && pieces.front() == kWordMark ? 1 : 0;
  return pieces.size() == first + 1 && processor_->PieceToId(pieces[first]) == processor_->unk_id();
}

/// The text without the middle of long runs of unknown characters, which changes no piece but theirs.
std::string SentencePieceModel::shorten_unknown(std::string_view text) const {
  std::string result;
  std::size_t kept = 0;  // what comes before is in the result or left out
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;  // of the run of unknown windows that begins here
    for (std::size_t next = begin; next < text.size(); next = boundary(text, next + kWindow / 2)) {
      const std::size_t window_end = boundary(text, next + kWindow);
      const std::string_view window = text.substr(next, window_end - next);
      if (!is_unknown(window.substr(0, boundary(window, kSample))) || !is_unknown(window)) break;
      end = window_end;
    }
    if (end - begin > 2 * kWindow) {
      const std::size_t middle = boundary(text, begin + kWindow / 2);
      result += text.substr(kept, middle - kept);
      kept = boundary(text, end - kWindow / 2);
    }
    begin = boundary(text, std::max(end, begin + kWindow / 2));
  }
  result += text.substr(kept);
  return result;
}

std::string SentencePieceModel::decode(const std::vector<std::string>& pieces) const {
  std::string text;
  const auto status = processor_->Decode(pieces, &text);
  require(status.ok(), "SentencePiece cannot join {} pieces: {}", pieces.size(),
          printable(status.message(), kMessageBytes));
  return text;
}

std::vector<std::string> SentencePieceModel::pieces() const {
  std::vector<std::string> result;
  result.reserve(static_cast<std::size_t>(processor_->GetPieceSize()));
  for (int id = 0; id < processor_->GetPieceSize(); ++id) result.push_back(processor_->IdToPiece(id));
  return result;
}

}  // namespace rapt
