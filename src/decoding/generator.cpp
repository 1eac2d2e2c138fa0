#include "rapt/generator.h"

#include "decoding/language_model.h"

namespace rapt {

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::end:
      return "end";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::context:
      return "context";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "";
}

class Generator::Impl : public decoding::LanguageModel {
  using LanguageModel::LanguageModel;
};

Generator::Generator(const std::filesystem::path& model, const GeneratorOptions& options)
    : impl_(std::make_unique<Impl>(model, options)) {}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

std::string Generator::generate(const std::string& prompt, const GenerateOptions& options) {
  return generate(std::span(&prompt, 1), options)[0][0].text;
}

std::vector<std::vector<GeneratedText>> Generator::generate(std::span<const std::string> prompts,
                                                            const GenerateOptions& options, const OnText& on_text) {
  return impl_->generate(prompts, options, on_text);
}

}  // namespace rapt
