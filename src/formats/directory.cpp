#include "formats/directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "formats/json.h"
#include "formats/printable.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view manifest_format = "rapt checkpoint";
constexpr std::int64_t manifest_version = 1;
constexpr std::size_t max_manifest_bytes = std::size_t{1} << 24;

/// The path without links, dots and a slash at the end, so that siblings can be named after it.
fs::path resolved(const fs::path& path) {
  std::error_code error;
  fs::path result = fs::weakly_canonical(path, error);
  require(!error, "{}: cannot be used as a directory: {}", shown(path), error.message());
  result = fs::absolute(result);
  if (!result.has_filename()) result = result.parent_path();
  require(result.has_filename(), "{}: cannot be a checkpoint directory; name a directory below it", shown(path));
  return result;
}

fs::path sibling(const fs::path& directory, std::string_view role) {
  return directory.parent_path() / fmt::format(".{}.rapt-{}", directory.filename().native(), role);
}

void create_parents(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory.parent_path(), error);
  require(!error, "{}: cannot be created: {}", shown(directory.parent_path()), error.message());
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string hexadecimal(std::uint32_t value) {
  return fmt::format("{:08x}", value);
}

std::uint32_t read_crc32(const JsonObject& object) {
  const std::string text = object.text("crc32");
  std::uint32_t result = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result, 16);
  if (error != std::errc() || end != text.data() + text.size()) object.refuse("crc32", "8 hexadecimal digits");
  return result;
}

/// The checksum of the manifest itself is that of its text without the checksum.
std::string text_of(const Manifest& manifest) {
  OrderedJson json{{"format", manifest_format}, {"version", manifest_version}, {"step", manifest.step}};
  OrderedJson::object_t files;
  files.reserve(manifest.files.size());
  for (const auto& [name, digest] : manifest.files) {
    files.push_back({name, {{"bytes", digest.bytes}, {"crc32", hexadecimal(digest.crc32)}}});
  }
  json["files"] = std::move(files);
  Digest digest;
  const std::string listed = json_text(json);
  digest.add(std::as_bytes(std::span(listed)));
  json["crc32"] = hexadecimal(digest.crc32);
  return json_text(json);
}

/// "NAME", or "DIRECTORY/NAME".
bool is_place(std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return is_plain_name(name);
  return is_plain_name(name.substr(0, slash)) && is_plain_name(name.substr(slash + 1));
}

/// Whether a file of this name is listed, or one in a directory of this name.
bool lists(const std::map<std::string, Digest>& files, const std::string& name) {
  const auto next = files.lower_bound(name + "/");
  return files.contains(name) || (next != files.end() && next->first.starts_with(name + "/"));
}

Manifest parse_manifest(std::string_view text, const std::string& file) {
  const JsonObject root = JsonObject::parse(text, file, {.bytes = max_manifest_bytes});
  if (root.text("format") != manifest_format) root.refuse("format", fmt::format("\"{}\"", manifest_format));
  const std::int64_t version = root.integer("version", {.min = 1});
  require(version == manifest_version, "{}: written in version {} of the format, this rapt reads version {}", file,
          version, manifest_version);
  Manifest result{.step = root.integer("step", {.min = 0}), .files = {}};
  const JsonObject files = root.object("files");
  for (const std::string& name : files.keys()) {
    if (!is_place(name)) files.refuse(name, "the name of a file in the same directory or one in it");
    const JsonObject entry = files.object(name);
    const std::int64_t bytes = entry.integer("bytes", {.min = 0});
    result.files[name] = {.bytes = static_cast<std::uint64_t>(bytes), .crc32 = read_crc32(entry)};
  }
  return result;
}

FileDescriptor open_directory(const fs::path& path) {
  return FileDescriptor(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/// Whether an open file is what the path names now.
bool is_same_file(const FileDescriptor& file, const fs::path& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(file.get(), &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

std::map<std::string, Digest> listed_files(const fs::path& directory) {
  try {
    return read_manifest(directory).files;
  } catch (const Error&) {
    return {};
  }
}

/// Moves what no manifest lists from a replaced directory into the new one, then deletes the rest. What cannot be moved
/// or deleted stays for the next writer: the new directory is complete either way.
void retire(const fs::path& old, const fs::path& destination) {
  const std::map<std::string, Digest> listed = listed_files(old);
  std::error_code error;
  std::vector<fs::path> unlisted;
  for (fs::directory_iterator entry(old, error); !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if (name != manifest_name && !lists(listed, name) && !is_there(destination / name)) unlisted.push_back(name);
  }
  for (const fs::path& name : unlisted) {
    if (!error) fs::rename(old / name, destination / name, error);
  }
  if (!error) fs::remove_all(old, error);
}

/// A temporary directory with a manifest may be an old checkpoint that was swapped out; without one it was never
/// finished.
void remove_leftover(const fs::path& leftover, const fs::path& destination) {
  std::error_code ignored;
  if (is_there(leftover / manifest_name)) {
    retire(leftover, destination);
  } else {
    fs::remove_all(leftover, ignored);
  }
}

/// Removes what interrupted writers left, except the temporary directories of writers that are alive.
void remove_leftovers(const fs::path& destination) {
  const std::string prefix = sibling(destination, "tmp.").filename();
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator entry(destination.parent_path(), error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().filename().native().starts_with(prefix)) leftovers.push_back(entry->path());
  }
  for (const fs::path& leftover : leftovers) {
    const FileDescriptor claim = open_directory(leftover);
    if (flock(claim.get(), LOCK_EX | LOCK_NB) == 0) remove_leftover(leftover, destination);
  }
  if (is_there(sibling(destination, "old"))) retire(sibling(destination, "old"), destination);
}

void require_replaceable_directory(const fs::path& destination) {
  if (!is_there(destination)) return;
  std::error_code error;
  require(fs::is_directory(destination, error), "{}: is not a directory; choose another name", shown(destination));
  const bool ours = is_there(destination / manifest_name) || fs::is_empty(destination, error);
  require(!error, "{}: cannot be examined: {}", shown(destination), error.message());
  require(ours, "{}: holds files that rapt did not write (there is no {}); choose another directory or empty this one",
          shown(destination), manifest_name);
}

std::string holder_of(const FileDescriptor& lock) {
  std::string text(20, '\0');
  const ssize_t got = pread(lock.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text.empty() ? "another process" : fmt::format("process {}", printable(text));
}

}  // namespace

Manifest read_manifest(const fs::path& directory) {
  const fs::path path = directory / manifest_name;
  const std::string text = read_file(path, max_manifest_bytes);
  Manifest result = parse_manifest(text, shown(path));
  require(text_of(result) == text, "{}: is damaged: its checksum does not match what it says", shown(path));
  return result;
}

Manifest verify_manifest(const fs::path& directory) {
  Manifest result = read_manifest(directory);
  for (const auto& [name, expected] : result.files) {
    const Digest found = digest_of(directory / name);
    require(found.bytes == expected.bytes, "{}: has {} bytes, {} says {}; the file is damaged", shown(directory / name),
            found.bytes, manifest_name, expected.bytes);
    require(found.crc32 == expected.crc32, "{}: has the checksum {}, {} says {}; the file is damaged",
            shown(directory / name), hexadecimal(found.crc32), manifest_name, hexadecimal(expected.crc32));
  }
  return result;
}

DirectoryWriter::DirectoryWriter(const fs::path& destination, FileOperations& operations)
    : operations_(operations), destination_(resolved(destination)) {
  create_parents(destination_);
  recover(destination_);
  remove_leftovers(destination_);
  require_replaceable_directory(destination_);
  create_temporary();
}

DirectoryWriter::~DirectoryWriter() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void DirectoryWriter::create_temporary() {
  constexpr int attempts = 100;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const fs::path path = sibling(destination_, fmt::format("tmp.{}.{}", getpid(), attempt));
    const bool created = operations_.mkdir(path.c_str(), 0777) == 0;
    require(created || errno == EEXIST, "{}: cannot be created: {}", shown(path), system_message(errno));
    if (!created) continue;
    claim_ = open_directory(path);
    const bool contended = flock(claim_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    // Another writer may have taken it for a leftover before it was claimed.
    if (!contended && is_same_file(claim_, path)) {
      temporary_ = path;
      return;
    }
  }
  fail("{}: no temporary directory could be created beside it", shown(destination_));
}

fs::path DirectoryWriter::path(std::string_view name) const {
  require(is_place(name) && name != manifest_name, "\"{}\" cannot name a file of a checkpoint", printable(name));
  fs::path result = temporary_ / name;
  const fs::path parent = result.parent_path();
  const bool there = is_there(parent) || operations_.mkdir(parent.c_str(), 0777) == 0;
  require(there, "{}: cannot be created: {}", shown(parent), system_message(errno));
  return result;
}

void DirectoryWriter::add_file(std::string_view name, const FileContents& contents) {
  OutputFile file(path(name), operations_);
  contents(file);
  file.close();
  files_[std::string(name)] = file.digest();
}

void DirectoryWriter::add_file(std::string_view name, std::string_view text) {
  add_file(name, [text](OutputFile& file) { file.write(text); });
}

void DirectoryWriter::commit(std::int64_t step) {
  write_manifest(step);
  sync_directory(temporary_, operations_);
  swap_in();
  try {
    sync_directory(destination_.parent_path(), operations_);
  } catch (const Error&) {
    swap_back();
    throw;
  }
  temporary_.clear();
  claim_ = FileDescriptor();
  if (!displaced_.empty()) retire(displaced_, destination_);
}

void DirectoryWriter::write_manifest(std::int64_t step) {
  std::error_code error;
  for (fs::directory_iterator entry(temporary_, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (files_.contains(path.filename())) continue;
    if (lists(files_, path.filename())) {
      sync_directory(path, operations_);
      continue;
    }
    require(entry->symlink_status().type() == fs::file_type::regular, "{}: only files belong into a checkpoint",
            shown(path));
    sync_file(path, operations_);
    files_[path.filename()] = digest_of(path);
  }
  require(!error, "{}: cannot be listed: {}", shown(temporary_), error.message());
  OutputFile file(temporary_ / manifest_name, operations_);
  file.write(text_of({.step = step, .files = files_}));
  file.close();
}

void DirectoryWriter::swap_in() {
  const char* from = temporary_.c_str();
  const char* to = destination_.c_str();
  if (!is_there(destination_)) {
    const bool renamed = operations_.rename(from, to) == 0;
    require(renamed, "{}: cannot be put in place: {}", shown(destination_), system_message(errno));
  } else if (operations_.exchange(from, to) == 0) {
    displaced_ = temporary_;
  } else {
    const bool unsupported = errno == EINVAL || errno == ENOSYS || errno == ENOTSUP;
    require(unsupported, "{}: cannot be replaced: {}", shown(destination_), system_message(errno));
    move_aside_and_in();
  }
}

void DirectoryWriter::move_aside_and_in() {
  const fs::path aside = sibling(destination_, "old");
  // Held between the two renames: recover() waits for it.
  const FileDescriptor claim = open_directory(destination_);
  flock(claim.get(), LOCK_EX);
  const bool moved = operations_.rename(destination_.c_str(), aside.c_str()) == 0;
  require(moved, "{}: cannot be moved aside: {}", shown(destination_), system_message(errno));
  if (operations_.rename(temporary_.c_str(), destination_.c_str()) != 0) {
    const int error = errno;
    operations_.rename(aside.c_str(), destination_.c_str());
    fail("{}: cannot be replaced: {}", shown(destination_), system_message(error));
  }
  displaced_ = aside;
}

void DirectoryWriter::swap_back() {
  const char* temporary = temporary_.c_str();
  const char* destination = destination_.c_str();
  bool back = false;
  if (displaced_ == temporary_) {
    back = operations_.exchange(temporary, destination) == 0;
  } else {
    back = operations_.rename(destination, temporary) == 0;
    if (back && !displaced_.empty()) back = operations_.rename(displaced_.c_str(), destination) == 0;
  }
  // What could not be put back may be the only complete copy.
  if (!back) temporary_.clear();
}

void recover(const fs::path& directory) {
  const fs::path destination = resolved(directory);
  const fs::path aside = sibling(destination, "old");
  if (is_there(destination) || !is_there(aside)) return;
  const FileDescriptor claim = open_directory(aside);
  flock(claim.get(), LOCK_EX);
  if (is_there(destination) || !is_there(aside)) return;
  const bool put_back = rename(aside.c_str(), destination.c_str()) == 0;
  require(put_back, "{}: cannot be put back from {}: {}", shown(destination), shown(aside), system_message(errno));
  sync_directory(destination.parent_path());
}

std::optional<ValidCheckpoint> newest_valid(std::span<const fs::path> directories) {
  std::vector<ValidCheckpoint> candidates;
  std::vector<std::string> warnings;
  for (const fs::path& directory : directories) {
    recover(directory);
    std::error_code ignored;
    if (!is_there(directory) || fs::is_empty(directory, ignored)) continue;
    try {
      candidates.push_back({.directory = directory, .manifest = read_manifest(directory), .warnings = {}});
    } catch (const Error& error) {
      warnings.emplace_back(error.what());
    }
  }
  std::ranges::stable_sort(candidates, std::greater(), [](const auto& candidate) { return candidate.manifest.step; });
  for (ValidCheckpoint& candidate : candidates) {
    try {
      verify_manifest(candidate.directory);
      candidate.warnings = std::move(warnings);
      return std::move(candidate);
    } catch (const Error& error) {
      warnings.emplace_back(error.what());
    }
  }
  require(warnings.empty(), "no checkpoint is complete and undamaged: {}", fmt::join(warnings, "; "));
  return std::nullopt;
}

DirectoryLock::DirectoryLock(const fs::path& directory) : path_(sibling(resolved(directory), "lock")) {
  create_parents(path_);
  do {
    file_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    require(file_.get() >= 0, "{}: cannot be created: {}", shown(path_), system_message(errno));
    if (flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
      require(errno == EWOULDBLOCK, "{}: cannot be locked: {}", shown(path_), system_message(errno));
      fail("{}: {} is already writing there; wait for it to end or choose another directory", shown(directory),
           holder_of(file_));
    }
    // The one before may have removed the name after this one opened it.
  } while (!is_same_file(file_, path_));
  const std::string pid = std::to_string(getpid());
  const bool written = ftruncate(file_.get(), 0) == 0 && pwrite(file_.get(), pid.data(), pid.size(), 0) > 0;
  require(written, "{}: cannot be written: {}", shown(path_), system_message(errno));
}

DirectoryLock::~DirectoryLock() {
  unlink(path_.c_str());
}

}  // namespace rapt
