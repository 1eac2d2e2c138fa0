/// Training a model of a Hugging Face directory further: what it reads, and in which form.
#pragma once

#include <filesystem>
#include <memory>

#include "families/model_directory.h"
#include "text/tokenizer.h"
#include "training/records.h"
#include "training/task.h"

namespace rapt::training {

/// The recipe of fine-tuning for a model: its size is filled in, and no sequence is longer than the model reads.
Recipe fine_tuning_recipe(const ModelConfig& config);

/// Throws Error unless the files are of the kind that such a model learns from: pairs for an encoder-decoder, a text
/// for one stack.
void check_files_for(const ModelConfig& config, const FineTuning& fine_tuning, const TaskFiles& files);

/// Throws Error when the weights, gradients and moments of this directory's model do not fit into `available` bytes,
/// and warns when the rest of a step might not. Nothing: nobody knows.
void check_memory(const std::filesystem::path& directory, Precision precision, std::optional<std::uint64_t> available,
                  Observer& observer);

/// Reads the text with the model's own tokenizer:
///   decoder-only     next tokens of documents, each ended by the model's end-of-text token; or the answers of
///                    conversations
///   encoder-only     masked tokens of documents (Devlin et al. 2019, 3.1), in pieces with special tokens around them;
///                    BERT's next-sentence head and the pooler stay as they are
///   encoder-decoder  targets of sources, with the language tags that the tokenizer's texts have
/// Throws Error for text that cannot be used, and for a model that has nothing to learn from it (an encoder without a
/// masked-language head). directory: where the tokenizer and the chat template are.
std::unique_ptr<Task> prepare_fine_tuning(const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                                          const FineTuning& fine_tuning, const ModelConfig& config,
                                          const std::filesystem::path& directory, Observer& observer);

}  // namespace rapt::training
