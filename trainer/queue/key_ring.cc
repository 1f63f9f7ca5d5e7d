#include "trainer/queue/key_ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr char kSuffix[] = ".key";
constexpr char kTemporarySuffix[] = ".new";

// Names become paths.
absl::Status CheckName(const std::string& name) {
  bool good = !name.empty() && name.size() <= 64;
  for (const char c : name) good = good && (absl::ascii_isalnum(c) || c == '-' || c == '_');
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError("a key's name must be 1 to 64 letters, digits, '-' or '_'");
}

}  // namespace

KeyRing::KeyRing(std::string folder) : folder_(std::move(folder)) {}

absl::StatusOr<std::shared_ptr<const SealingKey>> KeyRing::Create(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  const std::string path = JoinPath(folder_, absl::StrCat(name, kSuffix));
  if (FileExists(path)) return absl::AlreadyExistsError(absl::StrCat("there is a key ", path));
  // Under a temporary name first: a kill half way must not leave half a key under the real one.
  const std::string temporary = absl::StrCat(path, kTemporarySuffix);
  RETURN_IF_ERROR(ShredFile(temporary));
  auto key = std::make_shared<SealingKey>(SealingKey::Generate());
  RETURN_IF_ERROR(key->Save(temporary));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::InternalError(absl::StrCat("cannot rename to ", path, ": ", strerror(errno)));
  }
  RETURN_IF_ERROR(SyncFolder(folder_));
  return std::shared_ptr<const SealingKey>(std::move(key));
}

absl::StatusOr<std::shared_ptr<const SealingKey>> KeyRing::Get(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(SealingKey key,
                   SealingKey::Load(JoinPath(folder_, absl::StrCat(name, kSuffix))));
  return std::make_shared<const SealingKey>(std::move(key));
}

bool KeyRing::Has(const std::string& name) const {
  return CheckName(name).ok() && FileExists(JoinPath(folder_, absl::StrCat(name, kSuffix)));
}

absl::Status KeyRing::Destroy(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  if (!FileExists(folder_)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> files, ListFolder(folder_));
  const std::string file = absl::StrCat(name, kSuffix);
  for (const std::string& found : files) {
    if (found == file || absl::StartsWith(found, absl::StrCat(file, "."))) {
      RETURN_IF_ERROR(ShredFile(JoinPath(folder_, found)));
    }
  }
  return SyncFolder(folder_);
}

absl::StatusOr<std::vector<std::string>> KeyRing::Names() const {
  if (!FileExists(folder_)) return std::vector<std::string>();
  ASSIGN_OR_RETURN(const std::vector<std::string> files, ListFolder(folder_));
  std::set<std::string> names;
  for (const std::string& file : files) {
    const size_t end = file.find(kSuffix);
    if (end != std::string::npos && end > 0) names.insert(file.substr(0, end));
  }
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace unlearn
