#include "offset/store/durable_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::Status FileError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string message = absl::StrCat(what, " ", path, ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; make room on that file system and try again"));
    case EEXIST:
      return absl::AlreadyExistsError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status WriteAllTo(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return FileError("cannot write", path);
    }
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, absl::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot create", path);
  absl::Status status = WriteAllTo(fd, bytes, path);
  if (status.ok() && fsync(fd) != 0) status = FileError("cannot sync", path);
  if (close(fd) != 0 && status.ok()) status = FileError("cannot close", path);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::Status ReplaceFile(const std::string& path, absl::string_view bytes) {
  const std::string temporary = path + ".tmp";
  unlink(temporary.c_str());  // a killed process may have left one
  RETURN_IF_ERROR(WriteNewFile(temporary, bytes));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status status = FileError("cannot rename to", path);
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(path.substr(0, path.rfind('/')));
}

}  // namespace unlearn
