#ifndef OFFSET_STORE_FOLDER_LOCK_H_
#define OFFSET_STORE_FOLDER_LOCK_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace unlearn {

// Advisory lock (flock) on a file, between processes and between threads of one. It ends with the
// object, or with the process however that ends. Movable; one thread uses an object at a time.
class FolderLock {
 public:
  enum class Kind { kShared, kExclusive };

  // Makes the file (mode 0600) when it is missing. UNAVAILABLE when others hold the lock for longer
  // than `patience`. Not fair: meant for work of seconds.
  static absl::StatusOr<FolderLock> Acquire(const std::string& path, Kind kind,
                                            absl::Duration patience = absl::Minutes(1));

  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  FolderLock(const FolderLock&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace unlearn

#endif  // OFFSET_STORE_FOLDER_LOCK_H_
