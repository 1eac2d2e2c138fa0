#include "training/fine_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/memory.h"
#include "text/text_frame.h"
#include "training/conversations.h"
#include "training/documents.h"
#include "training/memory.h"
#include "training/progress.h"

namespace rapt::training {
namespace {

/// Sentences of models that read any length; longer ones are not validated with.
constexpr std::int64_t usual_positions = 512;

std::int64_t positions_of(const ModelConfig& config) {
  return config.limited_positions() ? config.max_positions : usual_positions;
}

using Ids = std::vector<std::int32_t>;

/// The model's end-of-text token ends both sides, also where its tokenizer does not see to it.
void end_texts(TextFrame& frame, std::int32_t eos) {
  const bool ended = std::ranges::find(frame.after, eos) != frame.after.end();
  if (!ended && eos >= 0) frame.after.push_back(eos);
}

/// How the two sides of a pair become ids, and what the decoder begins with.
struct PairForm {
  PairFrames frames;
  std::int32_t decoder_start = -1;
};

PairForm pair_form(const Tokenizer& tokenizer, const ModelConfig& config, const FineTuning& fine_tuning) {
  const Languages languages{.source = fine_tuning.source_language, .target = fine_tuning.target_language};
  PairForm form{
      .frames = pair_frames(tokenizer, std::array{config.eos, config.bos, config.pad}, languages, fine_tuning.from),
      .decoder_start = config.decoder_start};
  PairFrames& frames = form.frames;
  require(frames.marked_with.empty() || (!languages.source.empty() && !languages.target.empty()),
          "{}: its tokenizer marks every text with its language; give --source-language and --target-language, such as "
          "{}",
          fine_tuning.from, frames.marked_with);
  // transformers moves a language that stands behind the text to the decoder's beginning.
  if (frames.language && frames.language_ends) form.decoder_start = *frames.language;
  end_texts(frames.source, config.eos);
  end_texts(frames.target, config.eos);
  require(form.decoder_start >= 0, "{}: config.json does not say what the decoder begins with (decoder_start_token_id)",
          fine_tuning.from);
  return form;
}

void prepare_pairs(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                   const FineTuning& fine_tuning, Observer& observer) {
  const Tokenizer& tokenizer = *task.tokenizer;
  const PairForm form = pair_form(tokenizer, task.config, fine_tuning);
  task.config.decoder_start = form.decoder_start;
  require(recipe.validation.sentences == 0 || !form.frames.language || *form.frames.language == task.config.forced_bos,
          "--validate-sentences {}: config.json does not force translations to begin with {} (forced_bos_token_id), so "
          "they would be in another language; leave it out or set that key",
          recipe.validation.sentences, fine_tuning.target_language);
  const auto encode = [](const Tokenizer& side, const TextFrame& frame, std::string_view text) {
    return frame.around(side.encode(text, {.special_tokens = false}));
  };
  read_pairs(task, ctx, recipe, files,
             {.source =
                  [&](std::string_view text) {
                    return encode(tokenizer, form.frames.source, fine_tuning.prefix + std::string(text));
                  },
              .target = [&](std::string_view text) { return encode(tokenizer.target(), form.frames.target, text); }},
             positions_of(task.config), observer);
}

/// How documents become ids, ids pieces, and pieces batches.
struct DocumentForm {
  TextFrame frame;  ///< of a document
  Cutting cutting;
  MakeBatch make;
};

DocumentForm next_token_form(const Tokenizer& tokenizer, const ModelConfig& config, const BatchOptions& batches,
                             const TokenLists& documents) {
  TextFrame frame = frame_of(tokenizer);
  end_texts(frame, config.eos >= 0 ? config.eos : tokenizer.special().eos.value_or(-1));
  return {.frame = std::move(frame),
          .cutting = {.length = batches.context, .batch_tokens = batches.context * batches.sequences, .unread = 1},
          .make = [&documents](std::span<const Piece> pieces, const RandomSequence&) {
            return next_token_batch(documents, pieces);
          }};
}

std::int32_t mask_token(const Tokenizer& tokenizer) {
  const auto found = tokenizer.special().mask ? tokenizer.special().mask : find_piece(tokenizer, {"<mask>", "[MASK]"});
  require(found.has_value(),
          "the tokenizer has no mask token (mask_token in tokenizer_config.json, [MASK] or <mask>), which masked "
          "language modelling needs");
  return *found;
}

Ids ordinary_tokens(const Tokenizer& tokenizer) {
  Ids ids;
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const bool unused = tokenizer.pieces()[static_cast<std::size_t>(id)].empty();
    if (!unused && !tokenizer.special().contains(id) && !tokenizer.display(id).special) ids.push_back(id);
  }
  return ids;
}

DocumentForm masked_form(const Tokenizer& tokenizer, const BatchOptions& batches, const TokenLists& documents) {
  const TextFrame frame = frame_of(tokenizer);
  const auto around = static_cast<std::int64_t>(frame.before.size() + frame.after.size());
  require(batches.context > around, "--context {} leaves no room between the {} special tokens around a text",
          batches.context, around);
  Masking masking{.mask = mask_token(tokenizer),
                  .ordinary = ordinary_tokens(tokenizer),
                  .before = frame.before,
                  .after = frame.after};
  const std::int64_t length = batches.context - around;
  return {.frame = {},
          .cutting = {.length = length, .batch_tokens = length * batches.sequences, .unread = 0},
          .make = [&documents, masking = std::move(masking)](std::span<const Piece> pieces, RandomSequence random) {
            return masked_batch(documents, pieces, masking, random);
          }};
}

TokenLists encode_documents(const Context& ctx, const std::filesystem::path& file,
                            const std::vector<std::string_view>& texts, const Tokenizer& tokenizer,
                            const TextFrame& frame) {
  std::vector<Ids> encoded(texts.size());
  try {
    ctx.parallel_for(std::ssize(texts), [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      encoded[at] = frame.around(tokenizer.encode(texts[at], {.special_tokens = false}));
    });
  } catch (const Error& error) {
    fail("{}: {}", file.string(), error.what());
  }
  TokenLists documents;
  for (const Ids& ids : encoded) documents.add(ids);
  return documents;
}

void tell_documents(Observer& observer, std::string_view what, std::string_view kind, const TokenLists& documents,
                    std::string_view more) {
  observer.note(fmt::format("{}: {} {}{}, {} tokens{}", what, grouped(static_cast<std::int64_t>(documents.size())),
                            kind, documents.size() == 1 ? "" : "s", grouped(documents.tokens()), more));
}

/// The texts of a run, kept for as long as views into them are.
struct Texts {
  PlainText training;
  PlainText validation;
  HeldOutDocuments documents;
};

Texts read_texts(Task& task, const TaskFiles& files, DocumentEnd end) {
  const CorpusOptions options{.skip_invalid = files.skip_invalid};
  Texts texts{.training = read_text(*files.text, options), .validation = {}, .documents = {}};
  task.files.push_back({"text", files.text->string(), texts.training.report.digests[0]});
  texts.documents.training = split_documents(texts.training.text, end);
  if (files.dev_text) {
    texts.validation = read_text(*files.dev_text, options);
    task.files.push_back({"dev-text", files.dev_text->string(), texts.validation.report.digests[0]});
    texts.documents.validation = split_documents(texts.validation.text, end);
  } else if (files.dev_fraction > 0) {
    // A conversation has no part that is one.
    require(end != DocumentEnd::chat || texts.documents.training.size() != 1,
            "{}: there is one conversation, of which none can be held out for validation; give --dev-text",
            files.text->string());
    texts.documents = hold_out(texts.documents.training, files.dev_fraction);
  }
  return texts;
}

void prepare_documents(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files, DocumentEnd end,
                       Observer& observer) {
  const Texts texts = read_texts(task, files, end);
  const Tokenizer& tokenizer = *task.tokenizer;
  const auto form_for = [&](const TokenLists& documents) {
    return task.config.encoder_only() ? masked_form(tokenizer, recipe.batches, documents)
                                      : next_token_form(tokenizer, task.config, recipe.batches, documents);
  };
  const DocumentForm form = form_for(task.documents);
  task.documents = encode_documents(ctx, *files.text, texts.documents.training, tokenizer, form.frame);
  tell_documents(observer, "corpus", "document", task.documents, dropped(texts.training.report));
  task.batches = std::make_unique<DocumentBatches>(task.documents, form.cutting, recipe.seed, form.make);
  if (task.documents.tokens() <= recipe.batches.context)
    observer.note(fmt::format("the whole text is shorter than one sequence of --context {}", recipe.batches.context));
  if (texts.documents.validation.empty()) return;
  const TokenLists held_out =
      encode_documents(ctx, files.dev_text.value_or(*files.text), texts.documents.validation, tokenizer, form.frame);
  tell_documents(observer, "validation", "document", held_out, "");
  task.evaluator.emplace(validation_batches(held_out, form.cutting, form_for(held_out).make), std::nullopt);
}

/// The conversations of some lines, told about.
Conversations conversations_of(const Context& ctx, const std::filesystem::path& file,
                               const std::vector<std::string_view>& lines, std::int64_t before, std::int64_t limit,
                               const ChatTemplate& chat_template, const Tokenizer& tokenizer, std::string_view what,
                               Observer& observer) {
  try {
    Conversations result = read_conversations(ctx, lines, before, limit, chat_template, tokenizer);
    std::string more;
    if (result.cut > 0) more += fmt::format("; {} cut to --context", grouped(result.cut));
    if (result.dropped > 0) more += fmt::format("; dropped {} without an answer", grouped(result.dropped));
    tell_documents(observer, what, "conversation", result.documents, more);
    require(result.documents.size() > 0, "no conversation {}has an answer within --context",
            before > 0 ? "of those held out for validation " : "");
    return result;
  } catch (const Error& error) {
    fail("{}: {}", file.string(), error.what());
  }
}

void prepare_conversations(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                           const std::filesystem::path& directory, Observer& observer) {
  const auto chat_template = ChatTemplate::read(directory);
  require(chat_template.has_value(), "{}: has no chat template (chat_template.jinja), which --document chat needs",
          directory.string());
  const Texts texts = read_texts(task, files, DocumentEnd::chat);
  const Cutting cutting{
      .length = recipe.batches.context, .batch_tokens = recipe.batches.context * recipe.batches.sequences, .unread = 1};
  const auto read = [&](const std::filesystem::path& file, const std::vector<std::string_view>& lines,
                        std::int64_t before, std::string_view what) {
    return conversations_of(ctx, file, lines, before, cutting.length + cutting.unread, *chat_template, *task.tokenizer,
                            what, observer);
  };
  const auto make = [](const TokenLists& documents, const TokenLists& learnt) -> MakeBatch {
    return [&](std::span<const Piece> pieces, const RandomSequence&) {
      return conversation_batch(documents, learnt, pieces);
    };
  };
  Conversations training = read(*files.text, texts.documents.training, 0, "corpus");
  task.documents = std::move(training.documents);
  task.learnt = std::move(training.learnt);
  task.batches =
      std::make_unique<DocumentBatches>(task.documents, cutting, recipe.seed, make(task.documents, task.learnt));
  if (texts.documents.validation.empty()) return;
  const std::int64_t before = files.dev_text ? 0 : std::ssize(texts.documents.training);
  const Conversations held_out =
      read(files.dev_text.value_or(*files.text), texts.documents.validation, before, "validation");
  task.evaluator.emplace(validation_batches(held_out.documents, cutting, make(held_out.documents, held_out.learnt)),
                         std::nullopt);
}

void require_fitting(const Tokenizer& tokenizer, std::int64_t vocab, const FineTuning& fine_tuning) {
  require(tokenizer.vocab_size() <= vocab,
          "{}: the tokenizer has {} pieces, config.json only {}; the files are not from the same model",
          fine_tuning.from, tokenizer.vocab_size(), vocab);
}

}  // namespace

Recipe fine_tuning_recipe(const ModelConfig& config) {
  Recipe recipe = fine_tuning_recipe();
  const bool encoder = config.encoder_only();
  recipe.model = {.encoder_layers = config.encoder_layers,
                  .decoder_layers = config.decoder_layers,
                  .d_model = config.d_model,
                  .d_ff = encoder ? config.encoder_ff : config.decoder_ff,
                  .heads = encoder ? config.encoder_heads : config.decoder_heads,
                  .dropout = config.dropout,
                  .attention_dropout = config.attention_dropout,
                  .activation_dropout = config.activation_dropout};
  BatchOptions& batches = recipe.batches;
  if (config.limited_positions()) {
    batches.context = std::min(batches.context, config.max_positions);
    batches.max_length = std::min(batches.max_length, config.max_positions);
  }
  return recipe;
}

void check_files_for(const ModelConfig& config, const FineTuning& fine_tuning, const TaskFiles& files) {
  const bool pairs = config.encoder_decoder();
  require(files.pairs.has_value() == pairs && files.text.has_value() == !pairs,
          "{}: a {} model learns from {}; give {}", fine_tuning.from, config.family,
          pairs ? "pairs of source and target" : "text", pairs ? "--source and --target" : "--text");
  require(pairs || (fine_tuning.prefix.empty() && fine_tuning.source_language.empty() &&
                    fine_tuning.target_language.empty()),
          "{}: --prefix, --source-language and --target-language are for encoder-decoders, and this {} model is none",
          fine_tuning.from, config.family);
  require(!pairs || fine_tuning.document == FineTuning().document,
          "{}: --document is for models that learn from --text, and this {} model is none", fine_tuning.from,
          config.family);
}

void check_memory(const std::filesystem::path& directory, Precision precision, std::optional<std::uint64_t> available,
                  Observer& observer) {
  if (!available) return;
  const std::int64_t parameters = count_parameters(directory);
  const MemoryNeed need = memory_need(parameters, precision);
  const std::string what = fmt::format(
      "{}: training {} parameters takes {} for weights, gradients and the optimizer, {} for packed weights, "
      "and more for the activations of a batch; {} are free",
      directory.string(), grouped(parameters), gigabytes(need.state), gigabytes(need.packed), gigabytes(*available));
  require(need.state <= *available, "{}: take a smaller model or a machine with more memory", what);
  if (need.total() > *available) observer.warn(what + "; this may not be enough");
}

std::unique_ptr<Task> prepare_fine_tuning(const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                                          const FineTuning& fine_tuning, const ModelConfig& config,
                                          const std::filesystem::path& directory, Observer& observer) {
  require(
      !config.encoder_only() || config.heads.masked_language_model,
      "{}: this {} model has no masked-language head, so text teaches it nothing (sentence encoders are such, and GGUF "
      "files never have it); give the directory of the model with its head that it was made from",
      fine_tuning.from, config.family);
  const std::int64_t longest = config.encoder_decoder() ? recipe.batches.max_length : recipe.batches.context;
  require(!config.limited_positions() || longest <= config.max_positions, "--{} {}: this model reads {} tokens at most",
          config.encoder_decoder() ? "max-length" : "context", longest, config.max_positions);
  const DocumentEnd end = parse_document_end(fine_tuning.document);
  require(end != DocumentEnd::chat || config.decoder_only(), "--document chat: {} models do not chat", config.family);
  auto task = std::make_unique<Task>();
  task->tokenizer = load_tokenizer(directory);
  require_fitting(*task->tokenizer, config.source_vocabulary(), fine_tuning);
  require_fitting(task->tokenizer->target(), config.vocab, fine_tuning);
  task->config = config;
  if (config.encoder_decoder()) {
    prepare_pairs(*task, ctx, recipe, files, fine_tuning, observer);
  } else if (end == DocumentEnd::chat) {
    prepare_conversations(*task, ctx, recipe, files, directory, observer);
  } else {
    prepare_documents(*task, ctx, recipe, files, end, observer);
  }
  tell_attention(observer, recipe, task->config);
  return task;
}

}  // namespace rapt::training
