/// The tokenizer that a GGUF file carries in its metadata (keys tokenizer.ggml.*).
#pragma once

#include <memory>

#include "formats/gguf.h"
#include "text/pipeline_tokenizer.h"

namespace rapt {

/// Written down as a tokenizer.json and read as one, so that ids and texts are those of the same model's directory.
/// Models "gpt2" (byte-level BPE, with the expressions that tokenizer.ggml.pre names), "llama" (SentencePiece's BPE
/// with byte fallback), "bert" (WordPiece) and "t5" (SentencePiece's unigram model). Throws Error naming key and value
/// for what rapt does not know.
std::unique_ptr<PipelineTokenizer> gguf_tokenizer(const Gguf& file);

}  // namespace rapt
