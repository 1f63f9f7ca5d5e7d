#ifndef OFFSET_BASE_FILE_H_
#define OFFSET_BASE_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// The whole of a file. NOT_FOUND, PERMISSION_DENIED or INTERNAL with the path and the reason.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Replaces `path` in one step: a temporary file beside it is written with `mode`, fsynced, renamed,
// and the folder is fsynced, so that a crash or a full disk leaves the old file or the new one.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents,
                                 int mode = 0600);

// Overwrites the file's bytes once, fsyncs, and unlinks it. OK when it does not exist. (On copying
// file systems the old blocks may survive; what is secret is therefore sealed with a key as well.)
absl::Status ShredFile(const std::string& path);

// Shreds every file below `folder`, then removes the folders. OK when it does not exist.
absl::Status ShredFolder(const std::string& folder);

// mkdir -p, with `mode` for each folder that is made.
absl::Status MakeFolders(const std::string& path, int mode = 0700);

// The names (not paths) in a folder, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

absl::Status SyncFolder(const std::string& path);

bool FileExists(const std::string& path);

// "a" + "b" -> "a/b".
std::string JoinPath(absl::string_view folder, absl::string_view name);

}  // namespace unlearn

#endif  // OFFSET_BASE_FILE_H_
