#include "text/tokenizer.h"

#include <charconv>

#include "core/error.h"
#include "formats/file.h"
#include "text/character_tokenizer.h"
#include "text/gguf_tokenizer.h"
#include "text/marian_tokenizer.h"
#include "text/pipeline_tokenizer.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/vocabulary_files.h"

namespace rapt {
namespace {

/// Collects the tokens and decodes them together.
class WholeText final : public TextStream {
 public:
  explicit WholeText(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string add(std::int32_t id) override {
    ids_.push_back(id);
    return "";
  }
  std::string finish() override { return tokenizer_.decode(ids_); }

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> ids_;
};

}  // namespace

std::unique_ptr<TextStream> Tokenizer::stream() const {
  return std::make_unique<WholeText>(*this);
}

std::string Tokenizer::bytes(std::int32_t id) const {
  const DisplayPiece shown = display(id);
  if (shown.special) return {};
  // Pieces for single bytes are named so in every vocabulary that has them: "<0x0A>".
  const std::string& text = shown.text;
  unsigned value = 0;
  const bool byte = text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
                    std::from_chars(text.data() + 3, text.data() + 5, value, 16).ptr == text.data() + 5;
  return byte ? std::string(1, static_cast<char>(value)) : text;
}

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
  if (is_gguf(directory)) return gguf_tokenizer(read_gguf(directory));
  if (std::filesystem::exists(directory / "source.spm")) return MarianTokenizer::read(directory);
  if (std::filesystem::exists(directory / "tokenizer.json")) {
    std::unique_ptr<Tokenizer> tokenizer = PipelineTokenizer::read(directory);
    if (tokenizer == nullptr) tokenizer = CharacterTokenizer::read(directory);
    return tokenizer;
  }
  if (SentencePieceTokenizer::is_in(directory)) return SentencePieceTokenizer::read(directory);
  if (has_vocabulary_files(directory)) return read_vocabulary_files(directory);
  fail(
      "{} has no tokenizer that rapt knows: neither tokenizer.json nor a SentencePiece model (source.spm, "
      "tokenizer.model, spiece.model, sentencepiece.bpe.model) nor vocab.txt, nor vocab.json with merges.txt",
      directory.string());
}

}  // namespace rapt
