#include "trainer/queue/sealed_folder.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

// The file's name is authenticated with its bytes, so that one cannot be put in another's place.
std::string Context(const std::string& name) { return absl::StrCat("work file ", name); }

absl::Status CheckName(const std::string& name) {
  if (!name.empty() && name[0] != '.' && !absl::StrContains(name, '/') &&
      !absl::StrContains(name, '\0')) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the name of a work file must be a plain file name that does not start with '.'");
}

}  // namespace

SealedFolder::SealedFolder(std::string path, std::shared_ptr<const SealingKey> key)
    : path_(std::move(path)), key_(std::move(key)) {}

absl::Status SealedFolder::Write(const std::string& name, absl::string_view bytes) {
  RETURN_IF_ERROR(CheckName(name));
  if (key_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("the key of ", path_, " is destroyed"));
  }
  RETURN_IF_ERROR(MakeFolders(path_, 0700));
  return WriteFileAtomically(JoinPath(path_, name), key_->Seal(bytes, Context(name)), 0600);
}

absl::StatusOr<std::string> SealedFolder::Read(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  if (key_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("the key of ", path_, " is destroyed"));
  }
  const std::string path = JoinPath(path_, name);
  ASSIGN_OR_RETURN(const std::string sealed, ReadFile(path));
  return key_->Open(sealed, Context(name), path);
}

bool SealedFolder::Has(const std::string& name) const {
  return CheckName(name).ok() && FileExists(JoinPath(path_, name));
}

absl::Status SealedFolder::Remove(const std::string& name) {
  RETURN_IF_ERROR(CheckName(name));
  return ShredFile(JoinPath(path_, name));
}

absl::Status SealedFolder::Destroy() { return ShredFolder(path_); }

}  // namespace unlearn
