#include "formats/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 18;

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "a special file";
}

struct stat status_of(int file, const std::filesystem::path& path) {
  struct stat status {};
  const bool known = fstat(file, &status) == 0;
  require(known, "{}: cannot be examined: {}", shown(path), system_message(errno));
  return status;
}

/// Reads up to the end of the buffer or the file.
std::size_t read_fully(int file, std::span<std::byte> buffer, const std::filesystem::path& path) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t got = read(file, buffer.data() + filled, buffer.size() - filled);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    require(got > 0, "{}: cannot be read: {}", shown(path), system_message(errno));
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

template <typename Use>
void for_each_chunk(const std::filesystem::path& path, Use use) {
  const FileDescriptor file = open_to_read(path, Readable::regular_files);
  std::vector<std::byte> buffer(buffer_bytes);
  for (std::size_t got = buffer.size(); got == buffer.size();) {
    got = read_fully(file.get(), buffer, path);
    use(std::span<const std::byte>(buffer.data(), got));
  }
}

/// Removes a temporary file unless it was renamed.
class TemporaryName {
 public:
  explicit TemporaryName(const std::filesystem::path& beside) {
    static std::atomic<unsigned> counter{0};
    path_ = beside.parent_path() /
            fmt::format(".{}.rapt-tmp.{}.{}", beside.filename().native(), getpid(), counter.fetch_add(1));
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  ~TemporaryName() {
    if (!renamed_) unlink(path_.c_str());
  }
  const std::filesystem::path& path() const { return path_; }
  void renamed() { renamed_ = true; }

 private:
  std::filesystem::path path_;
  bool renamed_ = false;
};

void require_replaceable_file(const std::filesystem::path& path) {
  require(path.has_filename(), "{}: expected the name of a file to write", shown(path));
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return;
  require(S_ISREG(status.st_mode), "{}: is {} and cannot be replaced by a file; choose another name", shown(path),
          kind_of(status.st_mode));
}

/// Where the system shows an open file as a name.
std::string name_of_descriptor(int file) {
  return fmt::format("/proc/self/fd/{}", file);
}

/// A new file without a name that can be given `path` for one; -1 where there is no such thing.
int open_without_name(const std::filesystem::path& path, FileOperations& operations) {
  struct stat status {};
  const bool is_free = lstat(path.c_str(), &status) != 0 && errno == ENOENT;
  if (!is_free) return -1;
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
  const int file = operations.open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (file < 0 || access(name_of_descriptor(file).c_str(), F_OK) == 0) return file;
  operations.close(file);
  return -1;
}

/// Opens, syncs and closes; errno of what failed, or 0.
int sync_error(const std::filesystem::path& path, int flags, FileOperations& operations) {
  const int file = operations.open(path.c_str(), flags, 0);
  if (file < 0) return errno;
  const int error = operations.fsync(file) == 0 ? 0 : errno;
  const bool closed = operations.close(file) == 0 || errno == EINTR;
  return error != 0 || closed ? error : errno;
}

}  // namespace

std::string system_message(int error) {
  return std::generic_category().message(error);
}

bool is_plain_name(std::string_view name) {
  constexpr std::string_view forbidden("/\0", 2);
  return !name.empty() && name != "." && name != ".." && name.find_first_of(forbidden) == std::string_view::npos;
}

FileDescriptor::~FileDescriptor() {
  if (file_ >= 0) ::close(file_);
}

FileDescriptor open_to_read(const std::filesystem::path& path, Readable allowed) {
  // Without O_NONBLOCK opening a pipe that nobody writes to would wait for ever.
  const int nonblock = allowed == Readable::regular_files ? O_NONBLOCK : 0;
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | nonblock));
  require(file.get() >= 0, "{}: cannot be opened: {}", shown(path), system_message(errno));
  const mode_t mode = status_of(file.get(), path).st_mode;
  const bool stream = S_ISFIFO(mode) || S_ISCHR(mode) || S_ISSOCK(mode);
  require(S_ISREG(mode) || (stream && allowed == Readable::regular_files_and_streams),
          "{}: is {}; expected a regular file", shown(path), kind_of(mode));
  return file;
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const FileDescriptor file = open_to_read(path, Readable::regular_files);
  const auto size = static_cast<std::size_t>(status_of(file.get(), path).st_size);
  void* data = nullptr;
  if (size > 0) {
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    require(data != MAP_FAILED, "{}: cannot be mapped into memory: {}", shown(path), system_message(errno));
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size)
    : path_(std::move(path)), data_(data), size_(size), name_(data, size, path_.native()) {}

MappedFile::~MappedFile() {
  if (size_ > 0) munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  std::string result;
  for_each_chunk(path, [&](std::span<const std::byte> chunk) {
    require(chunk.size() <= limit - result.size(), "{}: is longer than the {} bytes allowed for it", shown(path),
            limit);
    result.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
  });
  return result;
}

void Digest::add(std::span<const std::byte> more) {
  bytes += more.size();
  crc32 = static_cast<std::uint32_t>(crc32_z(crc32, reinterpret_cast<const unsigned char*>(more.data()), more.size()));
}

Digest digest_of(const std::filesystem::path& path) {
  Digest result;
  for_each_chunk(path, [&](std::span<const std::byte> chunk) { result.add(chunk); });
  return result;
}

int FileOperations::open(const char* path, int flags, mode_t mode) {
  return ::open(path, flags, mode);
}

ssize_t FileOperations::write(int file, const void* data, std::size_t size) {
  return ::write(file, data, size);
}

int FileOperations::fsync(int file) {
  return ::fsync(file);
}

int FileOperations::close(int file) {
  return ::close(file);
}

int FileOperations::mkdir(const char* path, mode_t mode) {
  return ::mkdir(path, mode);
}

int FileOperations::rename(const char* from, const char* to) {
  return ::rename(from, to);
}

int FileOperations::link(int file, const char* to) {
  return ::linkat(AT_FDCWD, name_of_descriptor(file).c_str(), AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

int FileOperations::exchange(const char* one, const char* other) {
  return ::renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
}

FileOperations& FileOperations::system() {
  static FileOperations operations;
  return operations;
}

OutputFile::OutputFile(const std::filesystem::path& path, FileOperations& operations, const OutputFileOptions& options)
    : path_(path), named_(options.named.empty() ? path : options.named), operations_(operations) {
  if (options.appears_when_closed) file_ = open_without_name(path, operations);
  has_name_ = file_ < 0;
  if (has_name_) file_ = operations.open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  require(file_ >= 0, "{}: cannot be created: {}; choose another place", shown(named_), system_message(errno));
}

OutputFile::~OutputFile() {
  if (file_ >= 0) operations_.close(file_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  for (std::span<const std::byte> rest = bytes; !rest.empty();) {
    const ssize_t written = operations_.write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot be written: {}; make room or choose another place", shown(named_),
            system_message(written < 0 ? errno : ENOSPC));
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
  digest_.add(bytes);
}

void OutputFile::close() {
  const bool synced = operations_.fsync(file_) == 0;
  require(synced, "{}: cannot be brought to the disk: {}", shown(named_), system_message(errno));
  const bool linked = std::exchange(has_name_, true) || operations_.link(file_, path_.c_str()) == 0;
  require(linked, "{}: cannot be put in place: {}", shown(named_), system_message(errno));
  // Linux closes the descriptor even when it reports EINTR.
  const int closed = operations_.close(std::exchange(file_, -1));
  require(closed == 0 || errno == EINTR, "{}: cannot be closed: {}", shown(named_), system_message(errno));
}

void sync_file(const std::filesystem::path& path, FileOperations& operations) {
  const int error = sync_error(path, O_RDONLY | O_CLOEXEC, operations);
  require(error == 0, "{}: cannot be brought to the disk: {}", shown(path), system_message(error));
}

void sync_directory(const std::filesystem::path& directory, FileOperations& operations) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const int error = sync_error(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, operations);
  // Some network file systems have no fsync for directories and say so.
  require(error == 0 || error == EINVAL || error == ENOTSUP, "{}: its names cannot be brought to the disk: {}",
          shown(path), system_message(error));
}

void write_file_durably(const std::filesystem::path& path, const FileContents& contents, FileOperations& operations) {
  require_replaceable_file(path);
  TemporaryName temporary(path);
  OutputFile file(temporary.path(), operations, {.named = path, .appears_when_closed = true});
  contents(file);
  file.close();
  const bool renamed = operations.rename(temporary.path().c_str(), path.c_str()) == 0;
  require(renamed, "{}: cannot be replaced: {}", shown(path), system_message(errno));
  temporary.renamed();
  sync_directory(path.parent_path(), operations);
}

void write_file_durably(const std::filesystem::path& path, std::string_view text, FileOperations& operations) {
  write_file_durably(
      path, [text](OutputFile& file) { file.write(text); }, operations);
}

void require_writable(const std::filesystem::path& path) {
  require_replaceable_file(path);
  const TemporaryName temporary(path);
  const OutputFile file(temporary.path(), FileOperations::system(), {.named = path, .appears_when_closed = true});
}

void release_pages(std::span<const std::byte> mapped) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto data = reinterpret_cast<std::uintptr_t>(mapped.data());
  const std::uintptr_t begin = (data + page - 1) / page * page;
  const std::uintptr_t end = (data + mapped.size()) / page * page;
  // Where it fails, the pages merely stay.
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace rapt
