#include "offset/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

absl::Status ErrnoStatus(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string message = absl::StrCat(what, " ", path, ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    default:
      return absl::InternalError(message);
  }
}

// Closes on scope exit; Close() reports what close(2) says.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int Close() {
    const int result = close(fd_);
    fd_ = -1;
    return result;
  }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, absl::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t written = write(fd, contents.data(), contents.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("cannot write", path);
    }
    contents.remove_prefix(written);
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus("cannot open", path);
  std::string contents;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("cannot read", path);
    }
    if (got == 0) return contents;
    contents.append(buffer, got);
  }
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents, int mode) {
  // A name of its own for each call: two threads may write the same file.
  static std::atomic<uint64_t> calls{0};
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid(), ".", calls++);
  {
    Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (file.get() < 0) return ErrnoStatus("cannot create", temporary);
    absl::Status status = WriteAll(file.get(), contents, temporary);
    if (status.ok() && fsync(file.get()) != 0) status = ErrnoStatus("cannot sync", temporary);
    if (status.ok() && file.Close() != 0) status = ErrnoStatus("cannot close", temporary);
    if (!status.ok()) {
      unlink(temporary.c_str());
      return status;
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status status = ErrnoStatus("cannot rename to", path);
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(FolderOf(path));
}

absl::Status ShredFile(const std::string& path) {
  {
    Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.get() < 0) {
      if (errno == ENOENT) return absl::OkStatus();
      return ErrnoStatus("cannot open for erasure", path);
    }
    struct stat info;
    if (fstat(file.get(), &info) != 0) return ErrnoStatus("cannot stat", path);
    const std::string zeros(1 << 16, '\0');
    for (off_t left = info.st_size; left > 0;) {
      const size_t now = std::min<off_t>(left, zeros.size());
      RETURN_IF_ERROR(WriteAll(file.get(), absl::string_view(zeros).substr(0, now), path));
      left -= now;
    }
    if (fsync(file.get()) != 0) return ErrnoStatus("cannot sync", path);
  }
  if (unlink(path.c_str()) != 0) return ErrnoStatus("cannot remove", path);
  return SyncFolder(FolderOf(path));
}

absl::Status ShredFolder(const std::string& folder) {
  if (!FileExists(folder)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) return ErrnoStatus("cannot stat", path);
    if (S_ISDIR(info.st_mode)) {
      RETURN_IF_ERROR(ShredFolder(path));
    } else if (S_ISREG(info.st_mode)) {
      RETURN_IF_ERROR(ShredFile(path));
    } else if (unlink(path.c_str()) != 0) {
      return ErrnoStatus("cannot remove", path);
    }
  }
  if (rmdir(folder.c_str()) != 0) return ErrnoStatus("cannot remove", folder);
  return SyncFolder(FolderOf(folder));
}

absl::Status MakeFolders(const std::string& path, int mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoStatus("cannot make the folder", part);
    }
    if (end == std::string::npos) return absl::OkStatus();
  }
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return ErrnoStatus("cannot list", path);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(folder)) {
    const absl::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status SyncFolder(const std::string& path) {
  Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return ErrnoStatus("cannot open", path);
  if (fsync(folder.get()) != 0) return ErrnoStatus("cannot sync", path);
  return absl::OkStatus();
}

bool FileExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty()) return std::string(name);
  return absl::EndsWith(folder, "/") ? absl::StrCat(folder, name) : absl::StrCat(folder, "/", name);
}

}  // namespace unlearn
