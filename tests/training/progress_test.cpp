#include "training/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "formats/scratch.h"
#include "training/journal.h"

namespace rapt::training {
namespace {

/// What `use` writes through a Progress.
template <typename Use>
std::string written(const ProgressOptions& options, Use&& use) {
  const Scratch scratch;
  std::FILE* file = std::fopen((scratch / "out").c_str(), "w");
  {
    Progress progress(file, options);
    use(progress);
  }
  std::fclose(file);
  return get(scratch / "out");
}

StepRecord a_step() {
  return {.step = 50,
          .position = {.epoch = 2, .batch = 3},
          .loss = 4.5,
          .nll = std::log(50.0),
          .learning_rate = 0.00125,
          .target_tokens = 2000,
          .tokens = 2000,
          .seconds = 2,
          .flops = 2e11,
          .progress = 0.25,
          .total_seconds = 100};
}

TEST(Progress, WritesPlainLines) {
  const std::string text = written({.seconds = 1}, [](Progress& progress) {
    progress.began({.recipe = find_recipe("tiny"), .parameters = 2'600'000, .threads = 2, .machine_flops = 4e11});
    StepRecord step = a_step();
    step.progress = 0;
    step.total_seconds = 0;
    progress.stepped(step);
    progress.stepped(a_step());
    progress.validated({.step = 50, .score = {.loss = 2, .bleu = 31.234, .chrf = {}}, .best = true});
    progress.warn("something");
  });
  EXPECT_NE(text.find("model: 2,600,000 parameters; recipe tiny, 2 threads; this machine multiplies at 400 GFLOP/s"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\nstep 50/8600  epoch 3  loss 4.5000  ppl 50  lr 0.00125  1,000 tok/s  100 GFLOP/s (25 %)  "
                      "5:00 left\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\nvalidation at step 50: loss 2.0000  ppl 7.389  BLEU 31.23  (best)\n"), std::string::npos);
  EXPECT_NE(text.find("\nwarning: something\n"), std::string::npos);
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Progress, WritesPlainLinesOnlyEverySoOften) {
  const std::string text = written({.seconds = 5}, [](Progress& progress) {
    for (int i = 0; i < 9; ++i) progress.stepped(a_step());
  });
  EXPECT_EQ(std::ranges::count(text, '\n'), 3);
}

TEST(Progress, RewritesOneLineOnATerminal) {
  const std::string text = written({.columns = [] { return 200; }}, [](Progress& progress) {
    progress.stepped(a_step());
    progress.stepped(a_step());
    progress.note("a note");
  });
  EXPECT_EQ(std::ranges::count(text, '\n'), 2) << "the note and the end";
  EXPECT_NE(text.find("\ra note\x1b[K\n"), std::string::npos) << text;
}

/// A line that wraps could not be written over.
TEST(Progress, ALineFitsTheTerminal) {
  for (const int columns : {100, 80, 60, 40, 20, 1}) {
    const std::string text = written({.columns = [&] { return columns; }}, [](Progress& progress) {
      StepRecord step = a_step();
      step.progress = 0;
      progress.stepped(step);
      progress.stepped(a_step());
    });
    const std::string line = text.substr(text.rfind('\r') + 1, text.rfind('\x1b') - text.rfind('\r') - 1);
    EXPECT_LT(std::ssize(line), columns);
    EXPECT_EQ(line.find("lr ") != std::string::npos, columns == 100) << line;
    if (columns >= 60) {
      EXPECT_TRUE(line.starts_with("step 50  ") && line.ends_with(" left")) << line;
    }
  }
}

TEST(Progress, LeavesSkippedStepsOutOfMeans) {
  const std::string text = written({.seconds = 3}, [](Progress& progress) {
    StepRecord bad = a_step();
    bad.skipped = true;
    bad.loss = std::nan("");
    progress.stepped(bad);
    StepRecord good = a_step();
    good.skipped_so_far = 1;
    progress.stepped(good);
  });
  EXPECT_NE(text.find("loss 4.5000"), std::string::npos) << text;
  EXPECT_NE(text.find("1 skipped"), std::string::npos) << text;
}

TEST(Progress, FormatsTimesAndNumbers) {
  EXPECT_EQ(clock_text(0.4), "0:00");
  EXPECT_EQ(clock_text(754), "12:34");
  EXPECT_EQ(clock_text(5025), "1:23:45");
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(progress_text(512.5, 2050, 60, "lines"), " 25 %  512 of 2,050 lines  8.5 lines/s  3:00 left");
  EXPECT_EQ(progress_text(4000, 0, 2, "tokens"), "4,000 tokens  2,000 tokens/s");
  EXPECT_EQ(progress_text(0, 10, 75, "lines"), "  0 %  0 of 10 lines  1:15");
  EXPECT_EQ(progress_text(12, 10, 1, "lines"), "100 %  12 of 10 lines  12 lines/s  0:00 left");
}

TEST(Journal, IsCutBackToWhatACheckpointHadSeen) {
  const Scratch scratch;
  std::int64_t bytes = 0;
  {
    Journal journal(scratch / "train.jsonl", 0);
    journal.write(a_step());
    bytes = journal.flush();
    journal.write(a_step());
  }
  EXPECT_EQ(std::ranges::count(get(scratch / "train.jsonl"), '\n'), 2);
  Journal journal(scratch / "train.jsonl", bytes);
  EXPECT_EQ(journal.flush(), bytes);
  EXPECT_EQ(std::ranges::count(get(scratch / "train.jsonl"), '\n'), 1);
}

TEST(Journal, WritesJsonWhateverTheNumbersAre) {
  const Scratch scratch;
  StepRecord step = a_step();
  step.loss = std::nan("");
  step.gradient_norm = INFINITY;
  {
    Journal journal(scratch / "train.jsonl", 0);
    journal.write(step);
    journal.write(ValidationRecord{.step = 3, .score = {.loss = 1, .bleu = 20.5, .chrf = 50.25}});
  }
  const std::string text = get(scratch / "train.jsonl");
  const std::size_t end = text.find('\n');
  const JsonObject first = JsonObject::parse(text.substr(0, end), "line 1");
  EXPECT_EQ(first.integer("step"), 50);
  EXPECT_EQ(first.integer("epoch"), 3);
  EXPECT_FALSE(first.find_number("loss"));
  EXPECT_FALSE(first.find_number("gradient_norm"));
  EXPECT_EQ(first.number("gflops"), 100);
  const JsonObject second = JsonObject::parse(text.substr(end + 1), "line 2");
  EXPECT_EQ(second.text("event"), "validation");
  EXPECT_EQ(second.number("bleu"), 20.5);
  EXPECT_EQ(second.number("chrf"), 50.25);
}

TEST(Journal, NamesAFileThatCannotBeWritten) {
  const Scratch scratch;
  EXPECT_TRUE(refuses([&] { Journal(scratch / "missing" / "train.jsonl", 0); }, "train.jsonl"));
}

}  // namespace
}  // namespace rapt::training
