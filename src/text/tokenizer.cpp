#include "text/tokenizer.h"

#include "core/error.h"
#include "formats/file.h"
#include "text/character_tokenizer.h"
#include "text/marian_tokenizer.h"

namespace rapt {

void Tokenizer::write(const std::filesystem::path& directory) const {
  for (const auto& [name, contents] : files()) write_file_durably(directory / name, contents);
}

const std::string& Tokenizer::piece(std::int32_t id) const {
  const std::vector<std::string>& all = pieces();
  require(id >= 0 && id < vocab_size(), "token id {} is not in the vocabulary of {} pieces", id, all.size());
  const std::string& found = all[static_cast<std::size_t>(id)];
  require(!found.empty(), "token id {} has no piece in the vocabulary", id);
  return found;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& directory) {
  if (std::filesystem::exists(directory / "source.spm")) return MarianTokenizer::read(directory);
  if (std::filesystem::exists(directory / "tokenizer.json")) return CharacterTokenizer::read(directory);
  fail("{} has no tokenizer that rapt knows: neither source.spm, target.spm and vocab.json, nor tokenizer.json",
       directory.string());
}

}  // namespace rapt
