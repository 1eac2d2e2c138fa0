#include "training/vocabulary.h"

#include "core/error.h"
#include "text/marian_tokenizer.h"
#include "text/sentencepiece_trainer.h"

namespace rapt::training {
namespace {

enum class Side { source, target, both };

std::string learn(const ParallelFiles& files, const CorpusOptions& corpus, const SentencePieceOptions& options,
                  Side side) {
  PairReader reader(files, corpus);
  bool target_is_next = false;
  return train_sentencepiece(options, [&](std::string& line) {
    if (side == Side::both && target_is_next) {
      line = reader.target();
      target_is_next = false;
      return true;
    }
    if (!reader.next()) return false;
    line = side == Side::target ? reader.target() : reader.source();
    target_is_next = true;
    return true;
  });
}

}  // namespace

std::unique_ptr<Tokenizer> learn_vocabulary(const ParallelFiles& files, const CorpusOptions& corpus,
                                            const VocabularyOptions& options, std::int64_t max_length) {
  require(options.type != VocabularyType::characters,
          "--vocab-type char is for language models; translation takes bpe or unigram");
  const SentencePieceOptions sentencepiece{
      .kind = options.type == VocabularyType::bpe ? SentencePieceKind::bpe : SentencePieceKind::unigram,
      .vocab_size = options.size};
  const MarianOptions marian{.model_max_length = max_length};
  if (options.joint) return MarianTokenizer::joint(learn(files, corpus, sentencepiece, Side::both), marian);
  return MarianTokenizer::separate(learn(files, corpus, sentencepiece, Side::source),
                                   learn(files, corpus, sentencepiece, Side::target), marian);
}

}  // namespace rapt::training
