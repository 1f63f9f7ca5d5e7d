#include "offset/store/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/store/durable_file.h"

namespace unlearn {

absl::StatusOr<FolderLock> FolderLock::Acquire(const std::string& path, Kind kind,
                                               absl::Duration patience) {
  // A shared lock needs no right to write, so that a reader's read-only mount works too.
  int fd = kind == Kind::kShared ? open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot open the lock file", path);
  FolderLock lock(fd);
  const int operation = (kind == Kind::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  const absl::Time deadline = absl::Now() + patience;
  while (flock(fd, operation) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return FileError("cannot lock", path);
    if (absl::Now() >= deadline) {
      return absl::UnavailableError(absl::StrCat(
          "another process has held the lock ", path, " for ", absl::FormatDuration(patience),
          "; see whether a publication or activation hangs (fuser shows who), and try again"));
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  return lock;
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace unlearn
