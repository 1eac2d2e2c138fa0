#include "text/pipeline/vocabulary.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxIdsPerPiece = 4;  // a vocabulary with more gaps than that is damaged

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {
  ids_.reserve(pieces_.size());
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    if (!pieces_[id].empty()) ids_[pieces_[id]] = static_cast<std::int32_t>(id);
  }
}

Vocabulary Vocabulary::read(const JsonObject& object) {
  const Json& vocabulary = object.value("vocab");
  if (!vocabulary.is_object() || vocabulary.empty()) object.refuse("vocab", "an object with at least one piece");
  const std::size_t max_id = kMaxIdsPerPiece * vocabulary.size();
  std::vector<std::string> pieces;
  pieces.reserve(vocabulary.size());
  for (const auto& [piece, id] : vocabulary.items()) {
    if (!id.is_number_unsigned() || id > max_id) {
      fail("{}: the piece \"{}\" has the id {}; expected one from 0 to {}", object.file(), printable(piece),
           printable(id.dump()), max_id);
    }
    if (piece.empty()) fail("{}: the piece with id {} is empty", object.file(), id.dump());
    const auto index = id.get<std::size_t>();
    if (index >= pieces.size()) pieces.resize(index + 1);
    if (!pieces[index].empty()) {
      fail("{}: id {} belongs to two pieces, \"{}\" and \"{}\"", object.file(), index, printable(pieces[index]),
           printable(piece));
    }
    pieces[index] = piece;
  }
  return Vocabulary(std::move(pieces));
}

std::int32_t Vocabulary::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace rapt
