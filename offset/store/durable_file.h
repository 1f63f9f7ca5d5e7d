#ifndef OFFSET_STORE_DURABLE_FILE_H_
#define OFFSET_STORE_DURABLE_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// errno as a status: "<what> <path>: <reason>". A full disk, quota or file size limit is
// RESOURCE_EXHAUSTED, with what to do.
absl::Status FileError(absl::string_view what, const std::string& path);

// Writes until all is written; `path` is for the message.
absl::Status WriteAllTo(int fd, absl::string_view bytes, const std::string& path);

// Makes a file that does not exist yet (ALREADY_EXISTS otherwise), mode 0600, writes and fsyncs it.
// The folder is not fsynced: a caller that makes several files does that once. After an error the
// file is gone.
absl::Status WriteNewFile(const std::string& path, absl::string_view bytes);

// Puts `bytes` in the place of `path` in one step, mode 0600, and fsyncs file and folder. Callers
// hold a lock: the name of the temporary file, "<path>.tmp", is fixed.
absl::Status ReplaceFile(const std::string& path, absl::string_view bytes);

}  // namespace unlearn

#endif  // OFFSET_STORE_DURABLE_FILE_H_
