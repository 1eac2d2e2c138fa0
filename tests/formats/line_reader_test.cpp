#include "formats/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <thread>
#include <vector>

#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& path, const LineReaderOptions& options = {}) {
  LineReader reader(path, options);
  std::vector<std::string> result;
  for (std::string line; reader.next(line);) result.push_back(line);
  EXPECT_EQ(reader.lines(), static_cast<std::int64_t>(result.size()));
  return result;
}

void put_compressed(const fs::path& path, std::string_view text, const char* mode = "wb") {
  gzFile file = gzopen(path.c_str(), mode);
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

using Lines = std::vector<std::string>;

TEST(LineReader, EndsLinesAtNewlinesOnly) {
  const Scratch scratch;
  put(scratch / "text", std::string_view("one\ntwo\r\n\n\0nul\x85\xe2\x80\xa8\xff\nin\rside\nlast", 32));
  EXPECT_EQ(lines_of(scratch / "text"),
            (Lines{"one", "two", "", std::string("\0nul\x85\xe2\x80\xa8\xff", 9), "in\rside", "last"}));
}

TEST(LineReader, GivesNothingForAnEmptyFileAndOneLineForANewline) {
  const Scratch scratch;
  put(scratch / "empty", "");
  put(scratch / "newline", "\n");
  EXPECT_EQ(lines_of(scratch / "empty"), Lines{});
  EXPECT_EQ(lines_of(scratch / "newline"), Lines{""});
}

TEST(LineReader, ExpectsAsManyLinesAsTheFileMayHave) {
  const Scratch scratch;
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += "a line of some length, number " + std::to_string(i) + "\n";
  put(scratch / "plain", text);
  put_compressed(scratch / "compressed", text);
  for (const char* name : {"plain", "compressed"}) {
    LineReader reader(scratch / name);
    EXPECT_FALSE(reader.expected_lines().has_value());
    std::string line;
    for (int i = 0; i < 10'000; ++i) reader.next(line);
    EXPECT_NEAR(reader.expected_lines().value_or(0), 50'000, 15'000) << name;
    while (reader.next(line)) continue;
    EXPECT_EQ(reader.expected_lines(), 50'000) << name;
  }
}

TEST(LineReader, JoinsLinesAcrossItsBuffer) {
  const Scratch scratch;
  std::string text;
  Lines expected;
  for (std::size_t i = 0; i < 400; ++i) {
    expected.emplace_back(i * 37, static_cast<char>('a' + i % 26));
    text += expected.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  expected.emplace_back(1 << 20, 'z');
  text += expected.back();
  put(scratch / "text", text);
  put_compressed(scratch / "compressed", text);
  EXPECT_EQ(lines_of(scratch / "text"), expected);
  EXPECT_EQ(lines_of(scratch / "compressed"), expected);
}

TEST(LineReader, ReadsSeveralCompressedPartsInARow) {
  const Scratch scratch;
  put_compressed(scratch / "parts.txt", "one\ntwo\nth");
  put_compressed(scratch / "parts.txt", "ree\n", "ab");
  EXPECT_EQ(lines_of(scratch / "parts.txt"), (Lines{"one", "two", "three"}));
}

TEST(LineReader, NamesFileAndLineOfDamagedData) {
  const Scratch scratch;
  std::string text;
  for (int i = 0; i < 100000; ++i) text += std::to_string(i) + "\n";
  put_compressed(scratch / "text.gz", text);
  const std::string compressed = get(scratch / "text.gz");
  put(scratch / "short.gz", compressed.substr(0, compressed.size() / 2));
  EXPECT_TRUE(refuses([&] { lines_of(scratch / "short.gz"); }, "short.gz: line ", "the file is truncated"));
  put(scratch / "shorter.gz", compressed.substr(0, compressed.size() - 3));
  EXPECT_TRUE(refuses([&] { lines_of(scratch / "shorter.gz"); }, "shorter.gz: line ", "the file is truncated"));
  std::string flipped = compressed;
  flipped[flipped.size() - 6] ^= 1;  // in the checksum at the end
  put(scratch / "flipped.gz", flipped);
  EXPECT_TRUE(refuses([&] { lines_of(scratch / "flipped.gz"); }, "flipped.gz: line ", "are damaged"));
}

TEST(LineReader, RefusesLinesBeyondTheLimit) {
  const Scratch scratch;
  put(scratch / "text", "four\nfives\n");
  EXPECT_EQ(lines_of(scratch / "text", {.max_line_bytes = 5}), (Lines{"four", "fives"}));
  EXPECT_TRUE(
      refuses([&] { lines_of(scratch / "text", {.max_line_bytes = 4}); }, "text: line 2: is longer than 4 bytes"));
  put_compressed(scratch / "bomb.gz", std::string(1 << 24, 'x'));
  EXPECT_TRUE(
      refuses([&] { lines_of(scratch / "bomb.gz", {.max_line_bytes = 1 << 20}); }, "bomb.gz: line 1: is longer"));
}

TEST(LineReader, SaysWhereItIs) {
  const Scratch scratch;
  put(scratch / "text", "one\ntwo\n");
  LineReader reader(scratch / "text");
  std::string line;
  reader.next(line);
  reader.next(line);
  EXPECT_EQ(reader.where(), (scratch / "text").native() + ": line 2");
}

TEST(LineReader, ReadsPipesAndStandardInput) {
  const Scratch scratch;
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { put(scratch / "pipe", "from\na pipe"); });
  EXPECT_EQ(lines_of(scratch / "pipe"), (Lines{"from", "a pipe"}));
  writer.join();

  put_compressed(scratch / "input", "one\ntwo\n");
  const int status = wait_for(in_child([&] {
    const int input = open((scratch / "input").c_str(), O_RDONLY);
    if (dup2(input, STDIN_FILENO) < 0) return 1;
    return lines_of("-") == Lines{"one", "two"} ? 0 : 2;
  }));
  EXPECT_EQ(status, 0);
}

/// What a writer writes bit by bit.
class Writer {
 public:
  explicit Writer(const fs::path& pipe) : path_(pipe) {
    mkfifo(pipe.c_str(), 0600);
    file_ = open(pipe.c_str(), O_RDWR | O_CLOEXEC);  // which does not wait for the reader
  }
  ~Writer() { close(file_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(std::string_view bytes) const {
    ASSERT_EQ(::write(file_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int file_;
};

bool is_ready(LineReader& reader) {
  return reader.ready(std::chrono::steady_clock::now());
}

std::string next_of(LineReader& reader) {
  std::string line;
  EXPECT_TRUE(reader.next(line));
  return line;
}

TEST(LineReader, TellsWhetherALineHasCome) {
  const Scratch scratch;
  const Writer writer(scratch / "pipe");
  LineReader reader(writer.path());
  EXPECT_FALSE(is_ready(reader));
  writer.write("one\ntwo\nth");
  for (const char* line : {"one", "two"}) {
    EXPECT_TRUE(is_ready(reader));
    EXPECT_TRUE(is_ready(reader));
    EXPECT_EQ(next_of(reader), line);
  }
  EXPECT_FALSE(is_ready(reader));
  const std::string rest(50'000, 'r');
  writer.write(rest);
  EXPECT_FALSE(is_ready(reader));
  writer.write("ee\r\n");
  EXPECT_TRUE(is_ready(reader));
  EXPECT_EQ(next_of(reader), "th" + rest + "ee");
  EXPECT_EQ(reader.lines(), 3);
  // The first byte of gzip is that of many things.
  const Writer other(scratch / "other");
  LineReader one_byte(other.path());
  other.write("\x1f");
  EXPECT_FALSE(is_ready(one_byte));
  other.write("\n");
  EXPECT_TRUE(is_ready(one_byte));
  EXPECT_EQ(next_of(one_byte), "\x1f");
}

TEST(LineReader, TheEndIsReadyToo) {
  const Scratch scratch;
  put(scratch / "text", "one\ntwo");
  LineReader reader(scratch / "text");
  for (const char* line : {"one", "two"}) {
    EXPECT_TRUE(is_ready(reader));
    EXPECT_EQ(next_of(reader), line);
  }
  EXPECT_TRUE(is_ready(reader));
  std::string line = "before";
  EXPECT_FALSE(reader.next(line));
  EXPECT_EQ(line, "");
}

/// Of data that are compressed by the line, each part is read as far as it has come.
TEST(LineReader, CompressedLinesComeOneByOne) {
  const Scratch scratch;
  const Writer writer(scratch / "pipe");
  z_stream stream{};
  ASSERT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  const auto compressed = [&](std::string line, int flush) {
    std::string result(1000, '\0');
    stream.next_in = reinterpret_cast<unsigned char*>(line.data());
    stream.avail_in = static_cast<unsigned>(line.size());
    stream.next_out = reinterpret_cast<unsigned char*>(result.data());
    stream.avail_out = static_cast<unsigned>(result.size());
    deflate(&stream, flush);
    result.resize(result.size() - stream.avail_out);
    return result;
  };
  LineReader reader(writer.path());
  for (const char* line : {"one", "two", "three"}) {
    const std::string bytes = compressed(line + std::string("\n"), Z_SYNC_FLUSH);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const bool is_first_half = i < bytes.size() / 2;
      EXPECT_FALSE(is_first_half && is_ready(reader)) << line;
      writer.write(bytes.substr(i, 1));
    }
    EXPECT_TRUE(is_ready(reader));
    EXPECT_EQ(next_of(reader), line);
    EXPECT_FALSE(is_ready(reader));
  }
  deflateEnd(&stream);
}

/// As gzip itself has it: tapes are filled up with zeros.
TEST(LineReader, LeavesOutWhatStandsBehindCompressedData) {
  const Scratch scratch;
  put_compressed(scratch / "text.gz", "one\n");
  put(scratch / "padded.gz", get(scratch / "text.gz") + std::string(1000, '\0'));
  EXPECT_EQ(lines_of(scratch / "padded.gz"), Lines{"one"});
  put_compressed(scratch / "nothing.gz", "");
  put(scratch / "parts.gz", get(scratch / "nothing.gz") + get(scratch / "text.gz") + get(scratch / "nothing.gz"));
  EXPECT_EQ(lines_of(scratch / "parts.gz"), Lines{"one"});
}

TEST(LineReader, RefusesDirectoriesAndMissingFiles) {
  const Scratch scratch;
  EXPECT_TRUE(refuses([&] { LineReader reader(scratch.path()); }, "is a directory"));
  EXPECT_TRUE(refuses([&] { LineReader reader(scratch / "missing"); }, "missing: cannot be opened"));
}

}  // namespace
}  // namespace rapt
