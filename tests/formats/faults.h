/// Operating systems that fail.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "formats/file.h"

namespace rapt {

/// Fails the call number `first` (from 1), and those after it up to `last`, with `error`.
class FailingOperations : public FileOperations {
 public:
  FailingOperations(int first, int last, int error) : first_(first), last_(last), error_(error) {}

  /// Whether as many calls were made as it takes to fail.
  bool failed() const { return calls_ >= first_; }

  int open(const char* path, int flags, mode_t mode) override {
    return fails() ? -1 : FileOperations::open(path, flags, mode);
  }
  ssize_t write(int file, const void* data, std::size_t size) override {
    return fails() ? -1 : FileOperations::write(file, data, size);
  }
  int fsync(int file) override { return fails() ? -1 : FileOperations::fsync(file); }
  int close(int file) override {
    // The descriptor is gone even when close reports an error.
    FileOperations::close(file);
    return fails() ? -1 : 0;
  }
  int mkdir(const char* path, mode_t mode) override { return fails() ? -1 : FileOperations::mkdir(path, mode); }
  int rename(const char* from, const char* to) override { return fails() ? -1 : FileOperations::rename(from, to); }
  int link(int file, const char* to) override { return fails() ? -1 : FileOperations::link(file, to); }
  int exchange(const char* one, const char* other) override {
    return fails() ? -1 : FileOperations::exchange(one, other);
  }

 protected:
  virtual bool fails() {
    ++calls_;
    const bool result = calls_ >= first_ && calls_ <= last_;
    if (result) errno = error_;
    return result;
  }

 private:
  int first_;
  int last_;
  int error_;
  int calls_ = 0;
};

/// Loses power at the call number `at`: the process ends, and what was written and not synced is gone.
class PowerLoss : public FailingOperations {
 public:
  static constexpr int status = 77;

  explicit PowerLoss(int at) : FailingOperations(at, at, EIO) {}

  int open(const char* path, int flags, mode_t mode) override {
    const int file = FailingOperations::open(path, flags, mode);
    if ((flags & O_ACCMODE) == O_WRONLY) unsynced_.insert(file);
    return file;
  }
  int fsync(int file) override {
    const int result = FailingOperations::fsync(file);
    unsynced_.erase(file);
    return result;
  }

 protected:
  bool fails() override {
    if (!FailingOperations::fails()) return false;
    for (const int file : unsynced_) {
      if (ftruncate(file, 0) != 0) _exit(1);
    }
    _exit(status);
  }

 private:
  std::set<int> unsynced_;
};

/// A file system that cannot swap two names, with the faults of `Base`.
template <typename Base>
class WithoutExchange : public Base {
 public:
  using Base::Base;
  int exchange(const char*, const char*) override {
    if (this->fails()) return -1;
    errno = EINVAL;
    return -1;
  }
};

/// A file system that has only files with names, with the faults of `Base`.
template <typename Base>
class WithoutUnnamedFiles : public Base {
 public:
  using Base::Base;
  int open(const char* path, int flags, mode_t mode) override {
    if ((flags & O_TMPFILE) != O_TMPFILE) return Base::open(path, flags, mode);
    errno = EOPNOTSUPP;
    return -1;
  }
};

/// Writes a few bytes at a time and is interrupted in between.
class ShortWrites : public FileOperations {
 public:
  ssize_t write(int file, const void* data, std::size_t size) override {
    interrupted_ = !interrupted_;
    if (interrupted_) {
      errno = EINTR;
      return -1;
    }
    return FileOperations::write(file, data, std::min<std::size_t>(size, 3));
  }

 private:
  bool interrupted_ = false;
};

}  // namespace rapt
