/// Learning SentencePiece models from text.
#pragma once

#include <functional>
#include <span>
#include <string>

namespace rapt {

enum class SentencePieceKind {
  bpe,  ///< byte pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016)
  unigram,  ///< unigram language model (Kudo, "Subword Regularization", 2018)
};

struct SentencePieceOptions {
  SentencePieceKind kind = SentencePieceKind::bpe;
  /// Size of the vocabulary of the tokenizer made from the model: all pieces, and </s>, <unk> and <pad>.
  int vocab_size = 8000;
  /// The share of the characters of the text, frequent ones first, that get a piece of their own, from 0.98 to 1.
  /// Others become <unk>.
  double character_coverage = 1.0;
  /// Rewriting of characters before the text is cut: "identity", or one of SentencePiece's rules "nfkc", "nmt_nfkc",
  /// "nfkc_cf" and "nmt_nfkc_cf". The model applies it to every text it will cut, and what it rewrites cannot be
  /// restored. The default rewrites nothing, so that text comes back as it was, up to spaces at its ends and runs of
  /// spaces: text that was lower-cased or tokenised before, and also text with non-breaking spaces or full-width
  /// letters.
  std::string normalization = "identity";
};

/// Gives the next line of a text in its argument, or returns false at the end.
using NextLine = std::function<bool(std::string&)>;

/// Learns a model from lines of valid UTF-8 and returns it as a .spm file holds it. Its ids are those of the tokenizer
/// that MarianTokenizer::joint makes of it: </s> 0, <unk> 1, then the pieces; <pad>, which the tokenizer puts last, is
/// not part of the model.
///
/// The same lines and options give the same model. Lines may be of any length: long ones are cut, at spaces where there
/// are any, because the library would leave them out. It does leave out lines with U+2585, which it uses itself, and
/// makes tabs unknown characters. Nothing is printed.
///
/// Throws Error if there is no text to learn from, a line is not valid UTF-8, `next_line` throws, or the options cannot
/// be met; a vocabulary size that is too large or too small is answered with the largest or smallest one possible.
std::string train_sentencepiece(const SentencePieceOptions& options, const NextLine& next_line);
std::string train_sentencepiece(const SentencePieceOptions& options, std::span<const std::string> lines);

}  // namespace rapt
