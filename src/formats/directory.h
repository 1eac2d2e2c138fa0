/// Checkpoint directories: written whole or not at all, verified by checksums, used by one writer at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/file.h"

namespace rapt {

/// "rapt.json" in a checkpoint directory: what belongs to the checkpoint, and its checksums. Files of the directory
/// that it does not list belong to the user.
struct Manifest {
  std::int64_t step = 0;  ///< of training, 0 outside of it
  std::map<std::string, Digest> files;
};

inline constexpr std::string_view manifest_name = "rapt.json";

/// Throws Error when the manifest is missing, damaged, or of a version that this rapt does not know.
Manifest read_manifest(const std::filesystem::path& directory);

/// Reads the manifest and every file it lists; throws Error naming the first that is missing or differs.
Manifest verify_manifest(const std::filesystem::path& directory);

/// Writes a directory that appears under its final name complete, or not at all.
///
/// Files go into a hidden directory beside the destination (".NAME.rapt-tmp.PID.N"). commit() writes the manifest,
/// brings everything to the disk, swaps the two names in one step (renameat2, RENAME_EXCHANGE) and deletes the old
/// directory last, so that at every instant the destination is the complete old or the complete new one. On file
/// systems that cannot swap, the old one is first renamed to ".NAME.rapt-old"; whoever is interrupted between the two
/// renames leaves the destination missing, and recover() puts the old one back.
///
/// Files of the old directory that its manifest does not list move into the new one, unless it has a file of that name.
/// What interrupted writers left beside the destination is removed by the next writer. Two writers of one destination
/// at the same time are for the callers to exclude (DirectoryLock).
class DirectoryWriter {
 public:
  /// Creates the temporary directory, and the parents of the destination where they are missing. Throws Error when that
  /// fails, or when the destination is something that rapt did not write and that is not an empty directory.
  explicit DirectoryWriter(const std::filesystem::path& destination,
                           FileOperations& operations = FileOperations::system());
  DirectoryWriter(const DirectoryWriter&) = delete;
  DirectoryWriter& operator=(const DirectoryWriter&) = delete;
  /// Without a commit(), removes what was written.
  ~DirectoryWriter();

  /// "NAME", or "DIRECTORY/NAME": there may be directories in the directory, of files that are added here.
  void add_file(std::string_view name, const FileContents& contents);
  void add_file(std::string_view name, std::string_view text);
  /// Where to put a file that something else writes, before commit().
  std::filesystem::path path(std::string_view name) const;

  /// Puts the directory in place. When it throws, the destination is as it was. Called once, last.
  void commit(std::int64_t step = 0);

 private:
  void create_temporary();
  void write_manifest(std::int64_t step);
  void swap_in();
  void swap_back();
  void move_aside_and_in();

  FileOperations& operations_;
  std::filesystem::path destination_;
  std::filesystem::path temporary_;  ///< empty: nothing to remove
  std::filesystem::path displaced_;  ///< where the old directory is, once the new one is in place
  FileDescriptor claim_;             ///< locks the temporary directory, so that no other writer takes it for a leftover
  std::map<std::string, Digest> files_;
};

/// Puts the old directory back when a writer was interrupted in the middle of commit() on a file system that cannot
/// swap names, and `destination` is missing. Does nothing otherwise. Waits for a writer that is in the middle.
void recover(const std::filesystem::path& destination);

/// A checkpoint whose checksums are right.
struct ValidCheckpoint {
  std::filesystem::path directory;
  Manifest manifest;
  std::vector<std::string> warnings;  ///< why newer ones were passed over, one line each
};

/// The checkpoint of the highest step that is complete and undamaged, after recover() on each. Nothing when none of the
/// directories exists; throws Error with every reason when some exist and all are damaged, so that nobody starts afresh
/// by mistake.
std::optional<ValidCheckpoint> newest_valid(std::span<const std::filesystem::path> directories);

/// Excludes a second process (or a second lock in this one) from a directory that is written over a long time. It is
/// held on ".NAME.rapt-lock" beside the directory, and the system releases it when the process ends in whatever way.
class DirectoryLock {
 public:
  /// Throws Error naming the process that holds the lock. The directory need not exist.
  explicit DirectoryLock(const std::filesystem::path& directory);
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
};

}  // namespace rapt
