/// Tokenizers of directories without tokenizer.json: those of BERT and DistilBERT keep their pieces in vocab.txt, those
/// of GPT-2, RoBERTa, BART and Qwen in vocab.json, and in merges.txt how pieces are joined. What else they do is known
/// by their class.
#pragma once

#include <filesystem>
#include <memory>

#include "text/pipeline_tokenizer.h"

namespace rapt {

bool has_vocabulary_files(const std::filesystem::path& directory);

/// Reads them with added_tokens.json, tokenizer_config.json and special_tokens_map.json if they are there. The class is
/// the one that tokenizer_config.json names, else config.json, else the usual one of its model_type. Throws Error for
/// classes and settings that are not known.
std::unique_ptr<PipelineTokenizer> read_vocabulary_files(const std::filesystem::path& directory);

}  // namespace rapt
