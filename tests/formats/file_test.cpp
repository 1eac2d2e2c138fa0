#include "formats/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <ctime>

#include "formats/faults.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, HoldsTheContents) {
  const Scratch scratch;
  put(scratch / "full", "contents");
  put(scratch / "empty", "");
  EXPECT_EQ(text_of(*MappedFile::open(scratch / "full")), "contents");
  EXPECT_TRUE(MappedFile::open(scratch / "empty")->bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNotARegularFile) {
  const Scratch scratch;
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(refuses([&] { MappedFile::open(scratch / "missing"); }, "missing: cannot be opened: No such file"));
  EXPECT_TRUE(refuses([&] { MappedFile::open(scratch.path()); }, "is a directory; expected a regular file"));
  EXPECT_TRUE(refuses([&] { MappedFile::open(scratch / "pipe"); }, "is a pipe; expected a regular file"));
  EXPECT_TRUE(refuses([&] { MappedFile::open("/dev/zero"); }, "/dev/zero: is a device; expected a regular file"));
}

TEST(MappedFile, OpeningDoesNotRead) {
  const Scratch scratch;
  put(scratch / "large", "");
  fs::resize_file(scratch / "large", std::uintmax_t{1} << 34);
  const std::clock_t start = std::clock();
  const auto file = MappedFile::open(scratch / "large");
  EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC / 20);
  EXPECT_EQ(file->bytes().size(), std::size_t{1} << 34);
  EXPECT_EQ(file->bytes().back(), std::byte{0});
}

int read_after_truncation(const fs::path& path) {
  install_sigbus_message();
  const auto file = MappedFile::open(path);
  fs::resize_file(path, 0);
  const volatile std::byte* last = &file->bytes().back();
  return static_cast<int>(*last);
}

TEST(MappedFile, S8_TruncatedWhileMappedEndsWithOneLine) {
  const Scratch scratch;
  put(scratch / "weights\n", std::string(10000, 'x'));
  EXPECT_EXIT(_exit(read_after_truncation(scratch / "weights\n")), testing::ExitedWithCode(1),
              "^rapt: .*weights\\\\x0a: was truncated, or its disk failed, while in use; restore .* start again\n$");
}

TEST(MappedFile, S8_ReplacedOrDeletedWhileMappedStaysAsItWas) {
  const Scratch scratch;
  const std::string old(10000, 'o');
  put(scratch / "weights", old);
  const auto file = MappedFile::open(scratch / "weights");
  write_file_durably(scratch / "weights", "new");
  EXPECT_EQ(get(scratch / "weights"), "new");
  EXPECT_EQ(text_of(*file), old);
  fs::remove(scratch / "weights");
  EXPECT_EQ(text_of(*file), old);
}

TEST(Sigbus, OutsideOfMappedFilesKeepsItsDefault) {
  const auto elsewhere = [] {
    install_sigbus_message();
    raise(SIGBUS);
    raise(SIGBUS);
    return 0;
  };
  EXPECT_EXIT(_exit(elsewhere()), testing::KilledBySignal(SIGBUS), "^$");
}

TEST(ReadFile, GivesTheContentsUpToALimit) {
  const Scratch scratch;
  const std::string large(1 << 20, 'x');
  put(scratch / "file", large);
  EXPECT_EQ(read_file(scratch / "file"), large);
  EXPECT_EQ(read_file(scratch / "file", large.size()), large);
  EXPECT_TRUE(
      refuses([&] { read_file(scratch / "file", large.size() - 1); }, "file: is longer than the 1048575 bytes"));
  EXPECT_TRUE(refuses([] { read_file("/dev/zero"); }, "is a device"));
}

TEST(Digest, HasTheKnownAnswer) {
  const Scratch scratch;
  put(scratch / "file", "123456789");  // the check value of every catalogue of CRCs
  EXPECT_EQ(digest_of(scratch / "file"), (Digest{.bytes = 9, .crc32 = 0xcbf43926}));
}

TEST(PlainName, NamesAFileAndNothingElse) {
  EXPECT_TRUE(is_plain_name("model-00001-of-00002.safetensors"));
  EXPECT_TRUE(is_plain_name("..."));
  for (const std::string_view name : {"", ".", "..", "a/b", "/etc/passwd", "../x"}) EXPECT_FALSE(is_plain_name(name));
  EXPECT_FALSE(is_plain_name(std::string_view("a\0b", 3)));
}

TEST(WriteFileDurably, ReplacesWithoutLeavingAnythingElse) {
  const Scratch scratch;
  write_file_durably(scratch / "file", "old");
  ShortWrites slow;
  write_file_durably(scratch / "file", "rather new", slow);
  EXPECT_EQ(get(scratch / "file"), "rather new");
  EXPECT_EQ(count_names(scratch.path()), 1);
}

TEST(WriteFileDurably, ReplacesALinkAndNotItsTarget) {
  const Scratch scratch;
  put(scratch / "blob", "old");
  fs::create_symlink(scratch / "blob", scratch / "file");
  write_file_durably(scratch / "file", "new");
  EXPECT_EQ(get(scratch / "file"), "new");
  EXPECT_EQ(get(scratch / "blob"), "old");
}

TEST(WriteFileDurably, RefusesToReplaceWhatIsNotAFile) {
  const Scratch scratch;
  EXPECT_TRUE(refuses([&] { write_file_durably(scratch.path(), "x"); }, "is a directory and cannot be replaced"));
  EXPECT_TRUE(refuses([] { write_file_durably("/dev/null", "x"); }, "/dev/null: is a device and cannot be replaced"));
  EXPECT_TRUE(refuses([] { write_file_durably("/proc/rapt", "x"); }, "/proc/rapt: cannot be created"));
  EXPECT_TRUE(refuses([&] { write_file_durably(scratch / "missing/file", "x"); }, "No such file"));
  EXPECT_TRUE(
      refuses([&] { require_writable(scratch / std::string(250, 'x')); }, "cannot be created: File name too long"));
}

/// Fails each call in turn, of which the last two are of the directory.
template <typename Operations>
void expect_the_old_file_whatever_fails() {
  for (const int error : {ENOSPC, EDQUOT, EIO, EACCES}) {
    int call = 1;
    for (bool failed = true; failed; ++call) {
      const Scratch scratch;
      put(scratch / "file", "old");
      Operations operations(call, call, error);
      const auto write = [&] { write_file_durably(scratch / "file", "new", operations); };
      const bool refused = refuses(write, scratch.path().native(), system_message(error));
      const std::string left = get(scratch / "file");
      EXPECT_EQ(left, refused && !operations.renamed() ? "old" : "new") << "call " << call;
      EXPECT_EQ(count_names(scratch.path()), 1) << "call " << call;
      failed = operations.failed();
    }
    EXPECT_GT(call, 8);
  }
}

/// Knows whether the new file is in place.
class Renaming : public FailingOperations {
 public:
  using FailingOperations::FailingOperations;
  int rename(const char* from, const char* to) override {
    const int result = FailingOperations::rename(from, to);
    renamed_ = result == 0;
    return result;
  }
  bool renamed() const { return renamed_; }

 private:
  bool renamed_ = false;
};

TEST(WriteFileDurably, K3_AnyCallThatFailsKeepsTheOldFile) {
  expect_the_old_file_whatever_fails<Renaming>();
  expect_the_old_file_whatever_fails<WithoutUnnamedFiles<Renaming>>();
}

/// Names in the directory while a file is written there.
template <typename Operations>
std::ptrdiff_t names_while_writing() {
  const Scratch scratch;
  Operations operations;
  std::ptrdiff_t names = 0;
  const auto contents = [&](OutputFile& file) {
    file.write("new");
    names = count_names(scratch.path());
  };
  write_file_durably(scratch / "file", contents, operations);
  EXPECT_EQ(get(scratch / "file"), "new");
  EXPECT_EQ(count_names(scratch.path()), 1);
  return names;
}

TEST(WriteFileDurably, NothingIsThereBeforeTheEndWhereTheFileSystemAllowsIt) {
  EXPECT_EQ(names_while_writing<WithoutUnnamedFiles<FileOperations>>(), 1);
  const int file = open(fast_directory().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) GTEST_SKIP() << "this file system has no files without names";
  close(file);
  EXPECT_EQ(names_while_writing<FileOperations>(), 0);
}

TEST(WriteFileDurably, GivesTheFileTheModeThatTheUserWants) {
  const mode_t before = umask(027);
  const Scratch scratch;
  write_file_durably(scratch / "file", "x");
  WithoutUnnamedFiles<FileOperations> named;
  write_file_durably(scratch / "named", "x", named);
  umask(before);
  for (const char* name : {"file", "named"}) {
    struct stat status {};
    ASSERT_EQ(stat((scratch / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640U) << name;
  }
}

TEST(WriteFileDurably, KilledWhileWritingLeavesTheOldFileAlone) {
  const Scratch scratch;
  put(scratch / "file", "old");
  const int file = open(scratch.path().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) GTEST_SKIP() << "this file system has no files without names";
  close(file);
  const pid_t child = in_child([&] {
    write_file_durably(scratch / "file", [](OutputFile& output) {
      output.write("half");
      raise(SIGKILL);
    });
    return 0;
  });
  EXPECT_EQ(wait_for(child), -SIGKILL);
  EXPECT_EQ(get(scratch / "file"), "old");
  EXPECT_EQ(count_names(scratch.path()), 1);
}

TEST(WriteFileDurably, K3_FullDiskKeepsTheOldFile) {
  const Scratch scratch;
  put(scratch / "file", "old");
  const int status = wait_for(in_child([&] {
    const rlimit limit{.rlim_cur = 5000, .rlim_max = 5000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return 1;
    const auto write = [&] { write_file_durably(scratch / "file", std::string(10000, 'n')); };
    return refuses(write, "cannot be written: File too large") ? 0 : 2;
  }));
  EXPECT_EQ(status, 0);
  EXPECT_EQ(get(scratch / "file"), "old");
  EXPECT_EQ(count_names(scratch.path()), 1);
}

}  // namespace
}  // namespace rapt
