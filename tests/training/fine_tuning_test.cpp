// Models of every family, trained further.
#include "training/fine_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "core/memory.h"
#include "families/gguf_models.h"
#include "families/tiny_models.h"
#include "training/memory.h"
#include "training/toy.h"

namespace rapt::training {
namespace {

constexpr const char* sentences =
    "the dog runs\nthe cat sleeps\na bird sings\nwe like tea\nyou drink milk\n"
    "the sun is hot\nsnow is cold\nhe reads books\nshe writes code\nthey go home\n";
constexpr const char* translations =
    "der hund rennt\ndie katze ruht\nein vogel singt\nwir lieben tee\ndu trinkst milch\n"
    "die sonne brennt\nschnee ist kalt\ner liest viel\nsie tippt code\nsie gehen heim\n";

/// Teaches the model in `given` ten sentences by heart.
RunRequest request_for(const Scratch& scratch, const std::string& output, const Settings& more = {},
                       const std::string& given = "given") {
  put(scratch / "source", sentences);
  put(scratch / "target", translations);
  const ModelConfig config = read_config(scratch / given);
  TaskFiles files;
  FineTuning fine_tuning{.from = scratch / given};
  if (config.encoder_decoder()) {
    files.pairs = files.dev_pairs = ParallelFiles{scratch / "source", scratch / "target"};
    if (config.family == "mbart" || config.family == "m2m_100") {
      fine_tuning.source_language = "en_XX";
      fine_tuning.target_language = "de_DE";
    }
  } else {
    files.text = files.dev_text = scratch / "source";
    fine_tuning.document = "line";
  }
  Settings settings{{"steps", "150"}, {"learning-rate", "0.01"}, {"validate-every", "0"}, {"save-every", "0"}};
  settings.insert(settings.end(), more.begin(), more.end());
  return {.output = scratch / output,
          .files = files,
          .fine_tuning = fine_tuning,
          .settings = settings,
          .threads = 1,
          .gauge_seconds = 0};
}

RunRequest resuming(const Scratch& scratch, const std::string& output) {
  return {.output = scratch / output, .files = {}, .resume = true, .threads = 1, .gauge_seconds = 0};
}

std::string refusal_of(const RunRequest& request) {
  try {
    run_toy(request);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Tensor integers(const std::vector<std::int32_t>& values) {
  return Tensor::of<std::int32_t>({std::ssize(values)}, values);
}

/// For bench/peers/fine_tuned.py: the directory of a trained model, and beside it what the model makes of two texts.
void keep_for_peers(const std::filesystem::path& output, const std::filesystem::path& kept) {
  std::filesystem::create_directories(kept);
  for (const auto& entry : std::filesystem::directory_iterator(output)) {
    if (entry.is_regular_file())
      std::filesystem::copy_file(entry.path(), kept / entry.path().filename(),
                                 std::filesystem::copy_options::overwrite_existing);
  }
  const auto model = load_model(output);
  const auto tokenizer = load_tokenizer(output);
  const std::vector<std::vector<std::int32_t>> texts{tokenizer->encode("the dog runs"),
                                                     tokenizer->encode("snow is cold today")};
  Batch batch;
  if (!model->config().decoder_only()) batch.source = RaggedTokens::of(texts);
  if (!model->config().encoder_only()) batch.input = RaggedTokens::of(texts);
  Context ctx;
  const std::vector<NamedTensor> tensors{
      {"ids", integers(RaggedTokens::of(texts).ids)},
      {"lengths", integers({static_cast<std::int32_t>(texts[0].size()), static_cast<std::int32_t>(texts[1].size())})},
      {"logits", model->logits(ctx, batch)}};
  save_safetensors(kept.parent_path() / (kept.filename().string() + "-logits.safetensors"), tensors);
}

class FineTuned : public ::testing::TestWithParam<const char*> {};

TEST_P(FineTuned, LearnsByHeartAndKeepsItsForm) {
  const Scratch scratch;
  put_tiny_model(GetParam(), scratch / "given", DType::bf16);
  Listener listener;
  run_toy(request_for(scratch, "out"), listener);
  const auto mean = [](std::span<const StepRecord> steps) {
    return std::accumulate(steps.begin(), steps.end(), 0.0,
                           [](double sum, const StepRecord& step) { return sum + step.nll; }) /
           static_cast<double>(steps.size());
  };
  const std::span<const StepRecord> steps = listener.steps;
  // Masked letters can only be guessed from their neighbours.
  const bool encoder = read_config(scratch / "given").encoder_only();
  EXPECT_LT(mean(steps.last(10)), (encoder ? 0.75 : 0.35) * mean(steps.first(5)));
  EXPECT_TRUE(listener.warnings.empty());

  const auto before = read_safetensors_directory(scratch / "given").tensors;
  const auto after = read_safetensors_directory(scratch / "out").tensors;
  ASSERT_EQ(before.size(), after.size());
  std::size_t changed = 0;
  for (const auto& [name, tensor] : before) {
    ASSERT_TRUE(after.contains(name)) << name;
    EXPECT_EQ(after.at(name).dtype(), DType::bf16) << name;
    EXPECT_EQ(after.at(name).shape(), tensor.shape()) << name;
    if (std::memcmp(after.at(name).raw(), tensor.raw(), tensor.bytes()) != 0) ++changed;
  }
  EXPECT_GT(changed, before.size() / 2);
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "README.md"})
    EXPECT_EQ(get(scratch / "out" / name), get(scratch / "given" / name)) << name;
  EXPECT_FALSE(std::filesystem::exists(scratch / "out" / "masters.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "out" / "pytorch_model.bin"));
  if (const char* kept = std::getenv("RAPT_KEEP_FINE_TUNED"))
    keep_for_peers(scratch / "out", std::filesystem::path(kept) / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Models, FineTuned, ::testing::ValuesIn(trainable_models), [](const auto& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

/// N steps = some + resume + the rest, bit for bit, in the weights of every kind of model.
TEST(FineTuning, ResumesBitForBit) {
  const std::pair<const char*, const char*> examples[] = {
      {"llama-tiny", ""}, {"bert-tiny", ""}, {"t5-tiny", ""}, {"qwen2-tiny", "decoder.1 = gated_delta"}};
  for (const auto& [name, attention] : examples) {
    for (const DType dtype : {DType::f32, DType::f16}) {
      SCOPED_TRACE(std::string(name) + " in " + std::string(name_of(dtype)));
      const Scratch scratch;
      put_tiny_model(name, scratch / "given", dtype);
      const Settings short_run{{"steps", "9"},          {"save-every", "2"},    {"validate-every", "3"},
                               {"average", "3"},        {"batch-tokens", "64"}, {"max-length", "32"},
                               {"context", "12"},       {"sequences", "2"},     {"precision", "bf16"},
                               {"attention", attention}};
      run_toy(request_for(scratch, "straight", short_run));
      Listener listener;
      run_toy(request_for(scratch, "stopped", short_run), listener, 5);
      // What the run goes on from is in its own directory.
      std::filesystem::remove_all(scratch / "given");
      run_toy(resuming(scratch, "stopped"));
      const auto one = files_under(scratch / "straight");
      const auto other = files_under(scratch / "stopped");
      int compared = 0;
      for (const auto& [file, contents] : one) {
        if (!file.ends_with(".safetensors") && !file.ends_with("config.json")) continue;
        ASSERT_TRUE(other.contains(file)) << file;
        EXPECT_TRUE(other.at(file) == contents) << file;
        ++compared;
      }
      EXPECT_GT(compared, 10);
      EXPECT_EQ(one.contains("checkpoints/step-00000009/masters.safetensors"), dtype == DType::f16);
    }
  }
}

class FineTunedGguf : public ::testing::TestWithParam<const char*> {};

/// What is learnt from a file is written as a directory, from which the run goes on.
TEST_P(FineTunedGguf, BecomesADirectoryThatResumesBitForBit) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const Scratch scratch;
    put_gguf_model(GetParam(), scratch / "given.gguf", dtype);
    const Settings short_run{{"steps", "4"}, {"save-every", "2"}};
    Listener listener;
    run_toy(request_for(scratch, "straight", short_run, "given.gguf"), listener);
    const std::string told = (scratch / "given.gguf").string() +
                             ": a GGUF file, written as a Hugging Face directory: config.json, generation_config.json, "
                             "tokenizer.json, tokenizer_config.json and model.safetensors";
    EXPECT_EQ(std::ranges::count(listener.notes, told), 1);
    EXPECT_LT(listener.steps.back().nll, listener.steps.front().nll);
    Listener stopped;
    run_toy(request_for(scratch, "stopped", short_run, "given.gguf"), stopped, 2);
    const Tensor before = load_model(scratch / "given.gguf")->parameters().front().value().clone();
    std::filesystem::remove(scratch / "given.gguf");
    run_toy(resuming(scratch, "stopped"));
    for (const char* name :
         {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"})
      EXPECT_TRUE(get(scratch / "straight" / name) == get(scratch / "stopped" / name)) << name;
    const Tensor after = load_model(scratch / "stopped")->parameters().front().value();
    EXPECT_FALSE(std::ranges::equal(after.values<float>(), before.values<float>()));
    if (const char* kept = std::getenv("RAPT_KEEP_FINE_TUNED"))
      keep_for_peers(scratch / "straight",
                     std::filesystem::path(kept) / (std::string(GetParam()) + "-gguf-" + std::string(name_of(dtype))));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FineTunedGguf, ::testing::ValuesIn(trainable_gguf_models), [](const auto& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(FineTuning, DoesNotDependOnThreads) {
  for (const char* name : {"bert-tiny", "qwen2-tiny", "bart-tiny"}) {
    const Scratch scratch;
    put_tiny_model(name, scratch / "given");
    for (const int threads : {1, 3}) {
      RunRequest request = request_for(scratch, std::to_string(threads), {{"steps", "4"}});
      request.threads = threads;
      run_toy(request);
    }
    EXPECT_TRUE(get(scratch / "1" / "model.safetensors") == get(scratch / "3" / "model.safetensors")) << name;
  }
}

TEST(FineTuning, LayersMayAttendInAnotherWay) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  run_toy(request_for(scratch, "out", {{"steps", "2"}, {"attention", "decoder = window(3, 0)"}}));
  EXPECT_EQ(attention_text(read_config(scratch / "out")), "decoder = window(3, 0)") << "and nothing else";
}

/// A model learns the gates that it lacks, and leaves them behind where it goes on without.
TEST(FineTuning, LayersMayLearnTheGatedDeltaRule) {
  for (const char* name : {"llama-tiny", "gpt2-tiny", "marian-tiny"}) {
    SCOPED_TRACE(name);
    const Scratch scratch;
    put_tiny_model(name, scratch / "given", DType::bf16);
    Listener listener;
    run_toy(request_for(scratch, "delta", {{"attention", "decoder = gated_delta"}}), listener);
    EXPECT_LT(listener.steps.back().nll, 0.35 * listener.steps.front().nll);
    EXPECT_TRUE(std::ranges::any_of(listener.notes, [](const auto& note) {
      return note.find("has no gates for it; 8 tensors") != std::string::npos;
    }));
    EXPECT_NE(attention_text(load_model(scratch / "delta")->config()).find("gated_delta"), std::string::npos);

    std::filesystem::remove_all(scratch / "given");
    std::filesystem::rename(scratch / "delta", scratch / "given");
    Listener without;
    run_toy(request_for(scratch, "out", {{"steps", "2"}, {"attention", "decoder = causal"}}), without);
    EXPECT_TRUE(std::ranges::any_of(without.notes, [](const auto& note) {
      return note.find("8 tensors") != std::string::npos && note.find("are left out") != std::string::npos;
    }));
    EXPECT_EQ(attention_text(load_model(scratch / "out")->config()).find("gated_delta"), std::string::npos);
  }
}

/// Rows that are predicted alone have the loss they have among all.
TEST(FineTuning, ALossOverSomeRowsIsTheirPartOfTheWhole) {
  for (const char* name : {"bert-tiny", "llama-tiny"}) {
    const auto model = load_model(test_data + "/" + name);
    Context ctx;
    Batch batch;
    RaggedTokens& read = model->config().encoder_only() ? batch.source : batch.input;
    const std::vector<std::vector<std::int32_t>> texts{{3, 4, 5, 6}, {7, 8, 9}};
    read = RaggedTokens::of(texts);
    batch.targets = {4, 5, 6, 2, 8, 9, 2};
    const Tensor rows = ctx.allocate({7}, DType::f32);
    model->loss(ctx, batch, {.row_nll = rows});
    batch.predicted = {1, 2, 6};
    batch.targets = {5, 6, 2};
    const auto sums = model->loss(ctx, batch, {});
    EXPECT_NEAR(sums.negative_log_likelihood, rows.data<float>()[1] + rows.data<float>()[2] + rows.data<float>()[6],
                1e-5);
  }
}

TEST(FineTuning, EndsDocumentsWithTheModelsEnd) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  const RunRequest request = request_for(scratch, "out");
  const ModelConfig config = read_config(scratch / "given");
  Listener listener;
  const auto task = prepare_fine_tuning(Context(), resolve_recipe(fine_tuning_recipe(config), {}), request.files,
                                        *request.fine_tuning, config, scratch / "given", listener);
  ASSERT_EQ(task->documents.size(), 10U);
  for (std::size_t i = 0; i < task->documents.size(); ++i) EXPECT_EQ(task->documents[i].back(), config.eos);
  EXPECT_EQ(load_tokenizer(scratch / "given")->decode(task->documents[3]), "we like tea");
}

/// What the assistant says is learnt, and nothing else.
TEST(FineTuning, LearnsTheAnswersOfConversations) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  put(scratch / "given" / "chat_template.jinja",
      "{% for m in messages %}{{ m.role[0] }} {{ m.content }}{{ eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}{{ 'a ' }}{% endif %}");
  const auto message = [](const char* role, const char* content) {
    return OrderedJson{{"role", role}, {"content", content}};
  };
  const OrderedJson two{
      {"id", 7},
      {"messages",
       {message("user", "hi"), message("assistant", "yes sir"), message("user", "ok"), message("assistant", "bye")}}};
  const OrderedJson silent{{"messages", OrderedJson::array({message("user", "hi")})}};
  put(scratch / "chat", json_line(two) + "\n" + json_line(silent) + "\n\n" + json_line(two) + "\n");
  RunRequest request = request_for(scratch, "out");
  request.fine_tuning->document = "chat";
  request.files.text = request.files.dev_text = scratch / "chat";
  const ModelConfig config = read_config(scratch / "given");
  const auto tokenizer = load_tokenizer(scratch / "given");
  Listener listener;
  const auto prepare = [&](const Settings& settings) {
    return prepare_fine_tuning(Context(), resolve_recipe(fine_tuning_recipe(config), settings), request.files,
                               *request.fine_tuning, config, scratch / "given", listener);
  };
  const auto learnt = [&](const Batch& batch) {
    std::string text;
    for (const std::int32_t id : batch.targets) text += tokenizer->pieces()[static_cast<std::size_t>(id)];
    return text;
  };
  const auto task = prepare({});
  EXPECT_EQ(listener.notes.front(), "corpus: 2 conversations, 52 tokens; dropped 1 without an answer");
  const Batch batch = task->batches->batch({0, 0});
  EXPECT_EQ(learnt(batch), "yes▁sir</s>bye</s>yes▁sir</s>bye</s>");
  ASSERT_EQ(batch.predicted.size(), batch.targets.size());
  EXPECT_EQ(batch.input.ids.size(), 50U);
  const auto cut = prepare({{"context", "10"}});
  EXPECT_EQ(learnt(cut->batches->batch({0, 0})), "yes▁yes▁") << "the answers are cut with the conversation";

  const Outcome outcome = run_toy(request, listener);
  EXPECT_EQ(outcome.step, 150);
  EXPECT_LT(listener.steps.back().nll, 0.1);

  std::filesystem::remove_all(scratch / "out");
  const auto refused = [&](const std::string& line, const std::string& part) {
    put(scratch / "chat", line + "\n");
    const std::string refusal = refusal_of(request);
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
  };
  refused("{\"text\": 3}", "chat: conversation 1: the conversation: \"messages\"");
  refused("no json", "conversation 1");
  refused("{\"messages\": [{\"role\": \"user\"}]}", "content");
  refused(json_line(silent), "no conversation has an answer");
  request.files.dev_text.reset();
  refused(json_line(two), "chat: there is one conversation, of which none can be held out");
  refused(json_line(two) + "\n" + json_line(two) + "\n{}", "chat: conversation 3: the conversation: \"messages\"");
  refused(json_line(two) + "\n" + json_line(silent), "no conversation of those held out for validation has an answer");
  std::filesystem::remove(scratch / "given" / "chat_template.jinja");
  refused(json_line(two), "has no chat template");
}

TEST(FineTuning, MarksTextsWithTheirLanguage) {
  const Scratch scratch;
  put_tiny_model("m2m_100-tiny", scratch / "given");
  RunRequest request = request_for(scratch, "out");
  request.fine_tuning->prefix = "say ";
  const ModelConfig config = read_config(scratch / "given");
  const auto tokenizer = load_tokenizer(scratch / "given");
  Listener listener;
  const auto task = prepare_fine_tuning(Context(), resolve_recipe(fine_tuning_recipe(config), {}), request.files,
                                        *request.fine_tuning, config, scratch / "given", listener);
  const auto shown = [&](std::span<const std::int32_t> ids) {
    std::string text;
    for (const std::int32_t id : ids) text += tokenizer->pieces()[static_cast<std::size_t>(id)];
    return text;
  };
  EXPECT_EQ(shown(task->pairs.source[0]), "en_XXsay▁the▁dog▁runs</s>");
  EXPECT_EQ(shown(task->pairs.target[0]), "de_DEder▁hund▁rennt</s>");
  put(scratch / "given" / "tokenizer_config.json", "{\"src_lang\": \"de_DE\"}");
  EXPECT_NE(refusal_of(request).find("\"src_lang\": expected the language that tokenizer.json puts around a text"),
            std::string::npos);
  put(scratch / "given" / "tokenizer_config.json", "{\"src_lang\": null}");
  RunRequest scored = request;
  scored.settings.emplace_back("validate-sentences", "2");
  EXPECT_NE(refusal_of(scored).find("config.json does not force translations to begin with de_DE"), std::string::npos);
  request.fine_tuning->target_language = "fr_XX";
  EXPECT_NE(refusal_of(request).find("--target-language fr_XX: the tokenizer has no such language"), std::string::npos);
  request.fine_tuning->target_language = "";
  EXPECT_NE(refusal_of(request).find("give --source-language and --target-language, such as en_XX"), std::string::npos);
}

TEST(FineTuning, RefusesWhatContradictsTheModel) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  const auto refused = [&](const RunRequest& request, const std::string& part) {
    const std::string refusal = refusal_of(request);
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
    EXPECT_EQ(refusal.find('\n'), std::string::npos) << refusal;
  };
  const RunRequest good = request_for(scratch, "out");
  RunRequest bad = good;
  bad.recipe = "tiny";
  refused(bad, "--from and --recipe tiny contradict each other");
  refused(request_for(scratch, "out", {{"d-model", "64"}}), "--from and --d-model 64 contradict");
  refused(request_for(scratch, "out", {{"vocab-size", "64"}}), "--from and --vocab-size 64 contradict");
  bad = good;
  bad.files = {.pairs = ParallelFiles{scratch / "source", scratch / "target"}};
  refused(bad, "a llama model learns from text; give --text");
  bad = good;
  bad.fine_tuning->prefix = "x";
  refused(bad, "--prefix, --source-language and --target-language are for encoder-decoders");
  bad = good;
  bad.fine_tuning->document = "page";
  refused(bad, "--document: expected file, blank-line, line or chat, found \"page\"");
  bad = good;
  bad.fine_tuning->from = scratch / "nowhere";
  refused(bad, "is no model; give a directory");
  put(scratch / "empty", "");
  bad = good;
  bad.files.text = scratch / "empty";
  refused(bad, "no text (0 lines");
  put(scratch / "bytes",
      "good\nb\xff"
      "d\n");
  bad.files.text = scratch / "bytes";
  refused(bad, "line 2: byte 2 of the line is not UTF-8");

  std::filesystem::remove(scratch / "given" / "tokenizer.json");
  refused(good, "has no tokenizer that rapt knows");
  std::filesystem::remove(scratch / "given" / "config.json");
  refused(good, "config.json");
}

TEST(FineTuning, RefusesWhatTheModelCannotReadOrLearn) {
  const Scratch scratch;
  put_tiny_model("gpt2-tiny", scratch / "given");
  EXPECT_NE(refusal_of(request_for(scratch, "out", {{"context", "512"}}))
                .find("--context 512: this model reads 32 tokens at most"),
            std::string::npos);
  std::filesystem::remove_all(scratch / "given");
  put_tiny_model("xlm-roberta-tiny", scratch / "given");
  EXPECT_NE(refusal_of(request_for(scratch, "out")).find("no masked-language head"), std::string::npos);
  put_gguf_model("bert-tiny", scratch / "given.gguf");
  EXPECT_NE(refusal_of(request_for(scratch, "out", {}, "given.gguf")).find("no masked-language head"),
            std::string::npos);
}

TEST(FineTuning, ResumesOnlyWhatItBegan) {
  const Scratch scratch;
  put_tiny_model("gpt2-tiny", scratch / "given");
  Listener listener;
  run_toy(request_for(scratch, "out"), listener, 2);
  RunRequest other = resuming(scratch, "out");
  other.fine_tuning = FineTuning{.from = scratch / "other"};
  EXPECT_NE(refusal_of(other).find("the run was started with --from"), std::string::npos);
  other.fine_tuning = FineTuning{.from = scratch / "given", .document = "blank-line"};
  EXPECT_NE(refusal_of(other).find("the run was started with --document \"line\", not \"blank-line\""),
            std::string::npos);
  RunRequest again = resuming(scratch, "out");
  again.settings = {{"heads", "4"}};
  EXPECT_NE(refusal_of(again).find("--from and --heads 4 contradict"), std::string::npos);
}

TEST(FineTuning, MemoryIsCountedFromTheFiles) {
  const auto model = load_model(test_data + "/gpt2-tiny");
  EXPECT_EQ(count_parameters(test_data + "/gpt2-tiny"), model->parameter_count());
  EXPECT_EQ(count_parameters(test_data + "/gguf/gpt2-tiny.gguf"), model->parameter_count());
  const MemoryNeed need = memory_need(1000, Precision::bf16);
  EXPECT_EQ(need.state, 16'000U);
  EXPECT_EQ(need.total(), 20'000U);
  EXPECT_EQ(memory_need(1000, Precision::f32).total(), 24'000U);
  const auto parameters = static_cast<std::uint64_t>(model->parameter_count());
  Listener listener;
  const auto check = [&](std::uint64_t available) {
    check_memory(test_data + "/gpt2-tiny", Precision::f32, available, listener);
  };
  check(24 * parameters);
  EXPECT_TRUE(listener.warnings.empty());
  check(16 * parameters);
  ASSERT_EQ(listener.warnings.size(), 1U);
  EXPECT_NE(listener.warnings[0].find("this may not be enough"), std::string::npos);
  EXPECT_THROW(check(16 * parameters - 1), Error);
  ASSERT_TRUE(available_memory().has_value());
  EXPECT_GT(*available_memory(), 1'000'000U);
}

}  // namespace
}  // namespace rapt::training
