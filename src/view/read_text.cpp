#include "view/read_text.h"

#include "core/error.h"
#include "view/sentence.h"

namespace rapt::view {

std::string page_of_reading(Context& ctx, const Transformer& model, const Tokenizer& tokenizer,
                            std::span<const std::int32_t> tokens, const std::filesystem::path& source) {
  require(model.config().decoder_only(), "{}: a {} model does not read texts from left to right", source.string(),
          model.config().family);
  AttentionCapture capture({AttentionKind::decoder});
  {
    const TraceScope scope(ctx, capture);
    const std::vector<std::vector<std::int32_t>> one{{tokens.begin(), tokens.end()}};
    model.decode(ctx, RaggedTokens::of(one), nullptr);
  }
  require(!capture.captured().empty(), "{}: no layer's attention can be shown as weights", source.string());
  Sentence sentence;
  sentence.target = pieces_of(tokenizer, tokens);
  sentence.target_text = tokenizer.decode(tokens);
  add_maps(sentence, capture.captured());

  Report report;
  report.model_name = source.lexically_normal().filename().string();
  if (report.model_name.empty()) report.model_name = source.string();
  report.title = "Attention of " + report.model_name;
  report.absent = capture.absent();
  add_sentence(report, std::move(sentence));
  return attention_page(report);
}

}  // namespace rapt::view
