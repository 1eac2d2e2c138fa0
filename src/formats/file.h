/// Files: mapped or read to the end, and written so that a crash leaves the old contents or the new, never a mixture.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "formats/sigbus.h"

namespace rapt {

/// A regular file mapped to be read. Its pages come from the disk when they are touched, so that opening costs the same
/// for every size. The mapping stays valid when the file is renamed, replaced by a rename, or deleted. When the file is
/// truncated or written in place instead, which rapt itself never does, what is read changes, and touching a page that
/// is gone raises SIGBUS (see formats/sigbus.h).
class MappedFile {
 public:
  /// Throws Error unless `path` is a regular file that can be read.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// As long as the file was when it was opened.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size);

  std::filesystem::path path_;
  const std::byte* data_;
  std::size_t size_;
  NamedMapping name_;
};

/// Gives the memory of a part of a mapped file back to the system until somebody reads it again. Of whole pages: bytes
/// of pages that it shares with its neighbours stay.
void release_pages(std::span<const std::byte> mapped);

/// The contents of a regular file; throws Error when it is longer than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 30);

/// Size and CRC-32 (as zlib and gzip compute it) of some bytes.
struct Digest {
  std::uint64_t bytes = 0;
  std::uint32_t crc32 = 0;

  void add(std::span<const std::byte> more);
  bool operator==(const Digest&) const = default;
};

/// Of a whole regular file, read through a small buffer.
Digest digest_of(const std::filesystem::path& path);

/// The system calls that writing goes through, with their usual results and errno. Virtual so that a test can make each
/// of them fail.
class FileOperations {
 public:
  virtual ~FileOperations() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t write(int file, const void* data, std::size_t size);
  virtual int fsync(int file);
  virtual int close(int file);
  virtual int mkdir(const char* path, mode_t mode);
  virtual int rename(const char* from, const char* to);
  /// Gives a name to an open file that has none.
  virtual int link(int file, const char* to);
  /// Swaps two names at once; fails with EINVAL, ENOSYS or ENOTSUP where the file system cannot.
  virtual int exchange(const char* one, const char* other);

  /// Those of the operating system.
  static FileOperations& system();
};

struct OutputFileOptions {
  std::filesystem::path named = {};  ///< what errors call the file, where that is not its path
  /// The file has no name before close(), so that nothing is left of it when the process ends in whatever way. Where
  /// the file system has only files with names, it has its name at once.
  bool appears_when_closed = false;
};

/// A new file being written. Every failure throws Error with the path and the reason.
class OutputFile {
 public:
  /// Creates `path`, which must not exist.
  explicit OutputFile(const std::filesystem::path& path, FileOperations& operations = FileOperations::system(),
                      const OutputFileOptions& options = {});
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Closes; nothing is promised about the contents unless close() was called.
  ~OutputFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Returns when the contents are on the disk (fsync).
  void close();
  /// Of what was written so far.
  const Digest& digest() const { return digest_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path named_;
  FileOperations& operations_;
  int file_ = -1;
  bool has_name_ = true;
  Digest digest_;
};

/// Writes the contents of a file.
using FileContents = std::function<void(OutputFile&)>;

/// Replaces or creates `path`, whole or not at all: a temporary file beside it, which gets a name only to be renamed
/// (see OutputFileOptions), every write and close checked, fsync, rename, fsync of the directory. When it throws,
/// `path` is as it was (a failing last fsync excepted: then the new contents are in place, but may not survive a power
/// failure) and the temporary file is gone. A file that is mapped somewhere keeps its contents there. Refuses to
/// replace what is not a regular file.
void write_file_durably(const std::filesystem::path& path, const FileContents& contents,
                        FileOperations& operations = FileOperations::system());
void write_file_durably(const std::filesystem::path& path, std::string_view text,
                        FileOperations& operations = FileOperations::system());

/// Throws Error unless write_file_durably could begin to write `path`; leaves nothing behind. For what takes long
/// before it writes.
void require_writable(const std::filesystem::path& path);

/// Brings a file that something else wrote to the disk.
void sync_file(const std::filesystem::path& path, FileOperations& operations = FileOperations::system());
/// Brings the names in a directory to the disk.
void sync_directory(const std::filesystem::path& directory, FileOperations& operations = FileOperations::system());

/// Whether `name` names a file of a directory and nothing else: not empty, no "/", no NUL, not "." or "..".
bool is_plain_name(std::string_view name);

/// Closes a file descriptor at the end of its scope.
class FileDescriptor {
 public:
  explicit FileDescriptor(int file = -1) : file_(file) {}
  FileDescriptor(FileDescriptor&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return file_; }
  int release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

/// What may be opened to be read.
enum class Readable { regular_files, regular_files_and_streams };

/// Opens to read; throws Error when that fails or `path` is another kind of thing than allowed. A stream is a pipe, a
/// terminal, a socket or a character device.
FileDescriptor open_to_read(const std::filesystem::path& path, Readable allowed);

/// What the operating system calls an errno value.
std::string system_message(int error);

}  // namespace rapt
