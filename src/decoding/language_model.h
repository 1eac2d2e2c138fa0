/// A decoder-only language model with its tokenizer: text in, text out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/context.h"
#include "decoding/beam.h"
#include "decoding/continuation.h"
#include "decoding/generate.h"
#include "decoding/generation_config.h"
#include "decoding/model_stepper.h"
#include "model/transformer.h"
#include "rapt/generator.h"
#include "text/tokenizer.h"

namespace rapt::decoding {

/// Told before the model reads each stretch of tokens how many are read of those that it reads together: the prompts,
/// or the token that each text has got. What it throws passes through.
using OnRead = std::function<void(std::int64_t done, std::int64_t all)>;

/// The implementation of rapt::Generator, with access to what it is made of.
class LanguageModel {
 public:
  LanguageModel(const std::filesystem::path& path, const GeneratorOptions& options);

  Context& context() { return ctx_; }
  const Transformer& model() const { return *model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const GenerationConfig& generation_config() const { return config_; }
  /// Tokens that end a text, by the model's config, its generation config and its tokenizer.
  const std::vector<std::int32_t>& end_tokens() const { return end_tokens_; }

  /// The options with what the model's files say for those that are not set, and what is off.
  SamplingOptions sampling(const GenerateOptions& options) const;
  /// Throws what generate would throw before it writes anything for this prompt.
  void check(const std::string& prompt, const GenerateOptions& options) const;
  /// What the model reads before it writes: the prompt, and the prefix that the options give.
  std::vector<std::int32_t> first_tokens(const std::string& prompt, const GenerateOptions& options) const;
  /// See Generator::generate.
  std::vector<std::vector<GeneratedText>> generate(std::span<const std::string> prompts, const GenerateOptions& options,
                                                   const OnText& on_text = {}, const OnRead& on_read = {});
  /// Of cached keys and values.
  DType cache_type() const { return cache_; }
  /// Bytes that are free for keys and values, beside the weights that nothing has been computed with yet.
  std::optional<std::uint64_t> memory_for_cache() const;

 private:
  /// Prompts that are read together, and the place of the first among all.
  struct Group {
    std::size_t first = 0;
    std::vector<std::vector<std::int32_t>> prompts;
  };
  /// How texts end.
  struct Ends {
    std::vector<std::string> strings;
    std::vector<std::int32_t> tokens;  ///< those of the model, and stop strings that are the name of a token
  };
  using Texts = std::vector<std::vector<GeneratedText>>;

  std::vector<Group> groups(std::span<const std::string> prompts, const GenerateOptions& options) const;
  Ends ends(const GenerateOptions& options) const;
  Texts draw(const Group& group, const Ends& ends, const GenerateOptions& options, const OnText& on_text,
             const OnRead& on_read);
  Texts search(const Group& group, const Ends& ends, const GenerateOptions& options, const OnRead& on_read);
  ModelStepperOptions stepper_options(const Group& group, const GenerateOptions& options, const OnRead& on_read) const;

  Context ctx_;
  DType cache_;
  bool computed_ = false;  // whether the weights are in memory
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  GenerationConfig config_;
  std::vector<std::int32_t> end_tokens_;
  std::vector<std::int32_t> without_text_;  // ids that the tokenizer does not have; never written
};

}  // namespace rapt::decoding
