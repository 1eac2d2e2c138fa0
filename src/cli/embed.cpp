#include "cli/embed.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.h"
#include "cli/embed_words.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/error.h"
#include "embedding/pooling.h"
#include "embedding/sentence_encoder.h"
#include "formats/file.h"
#include "formats/gguf.h"
#include "formats/npy.h"

namespace rapt {
namespace {

enum class Format { jsonl, npy };

struct EmbedCommand {
  std::string model;
  std::string input = "-";
  std::string output;
  Format format = Format::jsonl;
  bool similarity = false;
  bool words = false;
  std::string layer = "-1";
  EmbedderOptions embedder;
  cli::ComputeOptions compute;
};

using Write = std::function<void(std::string_view)>;
using Vectors = std::vector<embedding::Embedding>;

/// Embeds one part of the input after the other.
class Embedding {
 public:
  Embedding(embedding::SentenceEncoder& encoder, const cli::Input& input) : encoder_(encoder), input_(input) {}

  Vectors next(std::span<const std::string> lines) {
    const auto before = static_cast<double>(line_);
    Vectors vectors = encoder_.embed(lines, [&](double part) {
      progress_.show(before + part * static_cast<double>(lines.size()), input_.expected_lines());
    });
    for (const embedding::Embedding& vector : vectors) {
      ++line_;
      if (vector.tokens_left_out > 0)
        cli::warn("line {} is too long: its last {} tokens are left out, as the model reads {}", line_,
                  vector.tokens_left_out, encoder_.max_tokens());
    }
    return vectors;
  }

 private:
  embedding::SentenceEncoder& encoder_;
  const cli::Input& input_;
  cli::ProgressLine progress_{"lines"};
  std::int64_t line_ = 0;
};

std::vector<std::string> read_all(cli::Input& input) {
  std::vector<std::string> all;
  for (std::vector<std::string> lines = input.next_lines(); !lines.empty(); lines = input.next_lines())
    std::ranges::move(lines, std::back_inserter(all));
  return all;
}

/// Embeds all lines of an input that has been read, and hands each part over.
template <typename Use>
void embed_all(embedding::SentenceEncoder& encoder, const cli::Input& input, std::span<const std::string> lines,
               Use&& use) {
  constexpr std::size_t at_once = 1024;
  Embedding embedding(encoder, input);
  for (std::size_t begin = 0; begin < lines.size(); begin += at_once)
    use(embedding.next(lines.subspan(begin, std::min(at_once, lines.size() - begin))));
}

void write_jsonl(embedding::SentenceEncoder& encoder, cli::Input& input, const Write& write) {
  Embedding embedding(encoder, input);
  for (std::vector<std::string> lines = input.next_lines(); !lines.empty(); lines = input.next_lines()) {
    for (const auto& [vector, left_out] : embedding.next(lines)) write(fmt::format("[{}]\n", fmt::join(vector, ", ")));
    cli::flush();
  }
}

void write_npy(embedding::SentenceEncoder& encoder, cli::Input& input, const Write& write) {
  const std::vector<std::string> lines = read_all(input);
  write(npy_header(static_cast<std::int64_t>(lines.size()), encoder.dimensions()));
  embed_all(encoder, input, lines, [&](const Vectors& vectors) {
    for (const auto& [vector, left_out] : vectors)
      write({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
  });
}

/// A line for each vector: its cosines with all of them.
void write_similarity(embedding::SentenceEncoder& encoder, cli::Input& input, const Write& write) {
  const std::vector<std::string> lines = read_all(input);
  const auto count = static_cast<std::int64_t>(lines.size());
  const std::int64_t width = encoder.dimensions();
  const Tensor rows = Tensor::empty({count, width}, DType::f32);
  float* to = rows.write<float>();
  embed_all(encoder, input, lines, [&](const Vectors& vectors) {
    for (const auto& [vector, left_out] : vectors) to = std::ranges::copy(vector, to).out;
  });
  embedding::normalize_rows(rows);
  std::vector<float> cosines(lines.size());
  cli::ProgressLine progress("lines of cosines");
  for (std::int64_t i = 0; i < count; ++i) {
    progress.show(static_cast<double>(i), static_cast<double>(count));
    const auto of_row = [&](std::int64_t row) { return rows.rows(row, row + 1).values<float>(); };
    const auto first = of_row(i);
    encoder.context().parallel_for(count, [&](std::int64_t j) {
      const auto second = of_row(j);
      cosines[static_cast<std::size_t>(j)] =
          static_cast<float>(std::inner_product(first.begin(), first.end(), second.begin(), 0.0));
    });
    write(fmt::format("{:.6f}\n", fmt::join(cosines, "\t")));
  }
}

void embed_sentences(const EmbedCommand& options, cli::Input& input, const Write& write) {
  EmbedderOptions embedder = options.embedder;
  embedder.threads = options.compute.threads;
  embedder.precision = options.compute.precision;
  embedding::SentenceEncoder encoder(options.model, embedder);
  if (!encoder.described())
    cli::warn("{}: there is no {}; a line's vector is the mean of its tokens' vectors", options.model,
              is_gguf(options.model) ? "key pooling_type" : "modules.json");
  if (options.similarity) return write_similarity(encoder, input, write);
  return options.format == Format::npy ? write_npy(encoder, input, write) : write_jsonl(encoder, input, write);
}

void embed_words(const EmbedCommand& options, cli::Input& input, const Write& write) {
  const cli::EmbedWordsOptions words{.model = options.model,
                                     .layer = options.layer,
                                     .npy = options.format == Format::npy,
                                     .embedder = {.threads = options.compute.threads,
                                                  .precision = options.compute.precision,
                                                  .attention = options.embedder.attention}};
  cli::embed_words(words, input, write);
}

void run(const EmbedCommand& options) {
  const bool binary = options.format == Format::npy && !options.similarity;
  cli::require_usage(!binary || !options.output.empty() || isatty(STDOUT_FILENO) == 0,
                     "--format npy is not for a terminal; name a file with --output, or redirect standard output");
  cli::Input input(options.input);
  const auto write_all = [&](const Write& write) {
    return options.words ? embed_words(options, input, write) : embed_sentences(options, input, write);
  };
  if (!options.output.empty())
    return write_file_durably(options.output,
                              [&](OutputFile& file) { write_all([&](std::string_view text) { file.write(text); }); });
  write_all(cli::print);
  cli::flush();
}

}  // namespace

void add_embed(CLI::App& app) {
  auto options = std::make_shared<EmbedCommand>();
  CLI::App* command = app.add_subcommand("embed", "turn lines of text, or their words, into vectors");
  cli::add_model_option(*command, options->model)->required();
  command->footer(
      "\nExamples:\n"
      "  rapt embed minilm < sentences > vectors.jsonl\n"
      "  rapt embed minilm --similarity < sentences\n"
      "  rapt embed smollm2 --words --layer all < sentences");
  command->add_option("--input", options->input, "lines to embed, plain or gzip (default: standard input)")
      ->type_name("FILE");
  cli::add_output_option(*command, "--output", options->output,
                         "file to write, whole or not at all (default: standard output)");
  static const std::map<std::string, Format> formats{{"jsonl", Format::jsonl}, {"npy", Format::npy}};
  CLI::Option* format =
      command
          ->add_option("--format", options->format,
                       "jsonl (default): a list of numbers for each line; npy: NumPy's, a matrix of f32")
          ->transform(cli::choice(formats));
  CLI::Option* similarity =
      command
          ->add_flag("--similarity", options->similarity,
                     "write the cosines of all pairs of lines instead: a line for each, separated by tabs")
          ->excludes(format);
  CLI::Option* words =
      command
          ->add_flag(
              "--words", options->words,
              "write a vector for each word instead, the mean of its tokens', as the model has it; of encoders and "
              "language models")
          ->excludes(similarity);
  command
      ->add_option("--layer", options->layer,
                   "of --words: 0 for embeddings as they enter the first block, N for what block N gives, -1 for the "
                   "last (the default), -2 for the one before, all")
      ->needs(words)
      ->type_name("N|all");
  CLI::Option* normalize = command
                               ->add_flag_callback(
                                   "--normalize", [options] { options->embedder.normalize = true; },
                                   "give vectors the length 1 (default: as modules.json says; of GGUF files, yes)")
                               ->excludes(words);
  command
      ->add_flag_callback(
          "--no-normalize", [options] { options->embedder.normalize = false; }, "leave vectors as long as they come")
      ->excludes(normalize)
      ->excludes(words);
  command
      ->add_option("--prompt", options->embedder.prompt,
                   "put this before every line (default: the model's default prompt, if it has one)")
      ->excludes(words)
      ->type_name("TEXT");
  cli::add_attention_option(*command, options->embedder.attention);
  cli::add_compute_options(*command, options->compute);
  command->callback([options] { run(*options); });
}

}  // namespace rapt
