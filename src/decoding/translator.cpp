#include "rapt/translator.h"

#include "decoding/translation_model.h"

namespace rapt {

class Translator::Impl : public decoding::TranslationModel {
  using TranslationModel::TranslationModel;
};

Translator::Translator(const std::filesystem::path& directory, const TranslatorOptions& options)
    : impl_(std::make_unique<Impl>(directory, options)) {}
Translator::~Translator() = default;
Translator::Translator(Translator&&) noexcept = default;
Translator& Translator::operator=(Translator&&) noexcept = default;

std::string Translator::translate(const std::string& line) {
  return translate(std::span(&line, 1), {})[0][0].text;
}

std::vector<std::vector<Translation>> Translator::translate(std::span<const std::string> lines,
                                                            const TranslateOptions& options) {
  std::vector<std::vector<Translation>> translations;
  for (const auto& parts : impl_->translate(lines, options)) translations.push_back(impl_->join(parts, options));
  return translations;
}

}  // namespace rapt
