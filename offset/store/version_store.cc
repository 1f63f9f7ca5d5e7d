#include "offset/store/version_store.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/store/durable_file.h"
#include "offset/store/folder_lock.h"
#include "offset/store/version_folder.h"
#include "offset/store/version_rules.h"

namespace unlearn {
namespace {

constexpr absl::string_view kFormat = "unlearn version store 1\n";
constexpr absl::string_view kTemporaryPrefix = ".tmp-";

// What STORE holds: the format, the key's MAC of it, and a checksum that needs no key.
std::string StoreContents(absl::string_view mac) {
  const std::string body = absl::StrCat(kFormat, mac, "\n");
  return absl::StrCat(body, Sha256Hex(body), "\n");
}

std::string StoreMac(const SealingKey& key) { return key.Mac(absl::StrCat("store\n", kFormat)); }

}  // namespace

VersionStore::VersionStore(std::string folder, SealingKey key)
    : folder_(std::move(folder)),
      key_(std::move(key)),
      audit_(JoinPath(folder_, "audit.log"), &key_) {}

std::string VersionStore::VersionsFolder() const { return JoinPath(folder_, "versions"); }
std::string VersionStore::VersionFolder(uint64_t version) const {
  return JoinPath(VersionsFolder(), absl::StrFormat("%06d", version));
}
std::string VersionStore::LockPath() const { return JoinPath(folder_, "LOCK"); }
std::string VersionStore::ActivePath() const { return JoinPath(folder_, "ACTIVE"); }

absl::StatusOr<std::unique_ptr<VersionStore>> VersionStore::Open(const std::string& folder,
                                                                 SealingKey key) {
  std::unique_ptr<VersionStore> store(new VersionStore(folder, std::move(key)));
  RETURN_IF_ERROR(store->CheckStoreFile());
  return store;
}

absl::StatusOr<std::unique_ptr<VersionStore>> VersionStore::Create(const std::string& folder,
                                                                   SealingKey key) {
  std::unique_ptr<VersionStore> store(new VersionStore(folder, std::move(key)));
  RETURN_IF_ERROR(MakeFolders(store->VersionsFolder()));
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(store->LockPath(), FolderLock::Kind::kExclusive));
  const std::string path = JoinPath(folder, "STORE");
  if (!FileExists(path)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(store->VersionsFolder()));
    if (!names.empty() || FileExists(store->ActivePath())) {
      return absl::DataLossError(
          absl::StrCat(path, " is missing, but ", folder,
                       " holds versions; restore it from a backup, or name a new folder"));
    }
    RETURN_IF_ERROR(ReplaceFile(path, StoreContents(StoreMac(store->key_))));
  }
  RETURN_IF_ERROR(store->CheckStoreFile());
  return store;
}

absl::Status VersionStore::CheckStoreFile() const {
  const std::string path = JoinPath(folder_, "STORE");
  const absl::StatusOr<std::string> contents = ReadFile(path);
  if (absl::IsNotFound(contents.status())) {
    return absl::NotFoundError(absl::StrCat(folder_, " is not a version store (", path,
                                            " is missing); make one with: unlearn offset init"));
  }
  RETURN_IF_ERROR(contents.status());
  const std::string mac = StoreMac(key_);
  if (*contents == StoreContents(mac)) return absl::OkStatus();
  if (contents->size() == StoreContents(mac).size() &&
      *contents == StoreContents(contents->substr(kFormat.size(), mac.size()))) {
    return absl::PermissionDeniedError(
        absl::StrCat("the store ", folder_,
                     " was made with another sealing key than the one given; give its own key"));
  }
  return absl::DataLossError(absl::StrCat(path, " (", contents->size(),
                                          " bytes) was changed, or a newer release wrote it; "
                                          "restore it from a backup"));
}

absl::Status VersionStore::ClearLeftovers() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(VersionsFolder()));
  for (const std::string& name : names) {
    if (absl::StartsWith(name, kTemporaryPrefix)) {
      RETURN_IF_ERROR(ShredFolder(JoinPath(VersionsFolder(), name)));
    }
  }
  return ShredFile(ActivePath() + ".tmp");
}

absl::Status VersionStore::InitVersionZero(const v1::Manifest& draft) {
  if (draft.request_ids_size() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("version 0 enforces no requests, but request_ids lists ",
                     draft.request_ids_size(), "; publish them as a later version"));
  }
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(LockPath(), FolderLock::Kind::kExclusive));
  RETURN_IF_ERROR(ClearLeftovers());
  ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, ListVersions());
  if (!versions.empty()) {
    return absl::AlreadyExistsError(
        absl::StrCat("the store ", folder_,
                     " has its version 0 already (highest version: ", versions.back(), ")"));
  }
  return PublishAs(0, draft, {});
}

absl::StatusOr<uint64_t> VersionStore::Publish(v1::Manifest draft,
                                               absl::Span<const NewAdapter> adapters) {
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(LockPath(), FolderLock::Kind::kExclusive));
  RETURN_IF_ERROR(ClearLeftovers());
  ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, ListVersions());
  if (versions.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store ", folder_, " has no version 0 yet; make it with: unlearn offset init"));
  }
  const uint64_t version = versions.back() + 1;
  RETURN_IF_ERROR(PublishAs(version, std::move(draft), adapters));
  return version;
}

absl::Status VersionStore::PublishAs(uint64_t version, v1::Manifest draft,
                                     absl::Span<const NewAdapter> adapters) {
  draft.set_version(version);
  if (draft.created_unix_seconds() == 0) {
    draft.set_created_unix_seconds(absl::ToUnixSeconds(absl::Now()));
  }
  draft.clear_adapters();
  absl::flat_hash_set<std::string> requests(draft.request_ids().begin(), draft.request_ids().end());
  for (const NewAdapter& adapter : adapters) {
    if (requests.insert(adapter.request_id).second) draft.add_request_ids(adapter.request_id);
    v1::AdapterFile* file = draft.add_adapters();
    file->set_file(AdapterFileName(adapter.request_id));
    file->set_request_id(adapter.request_id);
    file->set_rank(adapter.rank);
    file->set_sha256(std::string(64, '0'));  // until the file is written
  }
  RETURN_IF_ERROR(CheckManifest(draft));  // before request ids become parts of paths

  const std::string temporary =
      JoinPath(VersionsFolder(), absl::StrFormat("%s%06d-%d", kTemporaryPrefix, version, getpid()));
  if (mkdir(temporary.c_str(), 0700) != 0) return FileError("cannot make the folder", temporary);
  absl::Status status = WriteVersion(temporary, std::move(draft), adapters);
  const std::string folder = VersionFolder(version);
  if (status.ok() && rename(temporary.c_str(), folder.c_str()) != 0) {
    status = FileError("cannot rename the finished version to", folder);
  }
  if (!status.ok()) {
    ShredFolder(temporary).IgnoreError();  // else the next one who writes does it
    return status;
  }
  return SyncFolder(VersionsFolder());
}

absl::Status VersionStore::WriteVersion(const std::string& temporary, v1::Manifest draft,
                                        absl::Span<const NewAdapter> adapters) {
  for (size_t i = 0; i < adapters.size(); ++i) {
    ASSIGN_OR_RETURN(*draft.mutable_adapters(i),
                     WriteAdapterFile(temporary, key_, adapters[i].request_id, adapters[i].rank,
                                      adapters[i].bytes));
  }
  RETURN_IF_ERROR(WriteManifestFiles(temporary, key_, draft));
  RETURN_IF_ERROR(SyncFolder(temporary));
  RETURN_IF_ERROR(VerifyVersionFolder(temporary, key_, draft.version()));
  ASSIGN_OR_RETURN(const std::string mac, ReadFile(JoinPath(temporary, "manifest.mac")));
  // Recorded before it can be seen: a version that is not in the audit log was not published here.
  return audit_
      .Append({{"event", "publish"},
               {"version", draft.version()},
               {"requests",
                std::vector<std::string>(draft.request_ids().begin(), draft.request_ids().end())},
               {"manifest_mac", mac.substr(0, mac.size() - 1)}})
      .status();
}

absl::StatusOr<std::vector<uint64_t>> VersionStore::ListVersions() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(VersionsFolder()));
  std::vector<uint64_t> versions;
  for (const std::string& name : names) {
    uint64_t version = 0;
    if (absl::SimpleAtoi(name, &version) && name == absl::StrFormat("%06d", version)) {
      versions.push_back(version);
    }
  }
  std::sort(versions.begin(), versions.end());  // names of 6 and of 7 digits sort otherwise
  return versions;
}

absl::StatusOr<std::optional<uint64_t>> VersionStore::FindVersionOfRequest(
    absl::string_view request_id) const {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, ListVersions());
  absl::Status unreadable;
  for (const uint64_t version : versions) {
    const absl::StatusOr<v1::Manifest> manifest = ReadManifest(version);
    if (!manifest.ok()) {
      // The request may still be found in another; if not, "not published" would be a guess.
      if (unreadable.ok()) unreadable = manifest.status();
      continue;
    }
    const int count = manifest->adapters_size();
    if (count > 0 && manifest->adapters(count - 1).request_id() == request_id) return version;
  }
  RETURN_IF_ERROR(unreadable);
  return std::nullopt;
}

absl::StatusOr<v1::Manifest> VersionStore::ReadManifest(uint64_t version) const {
  return ReadManifestFiles(VersionFolder(version), key_, version);
}

absl::StatusOr<std::string> VersionStore::ReadAdapter(const v1::Manifest& manifest,
                                                      int index) const {
  if (index < 0 || index >= manifest.adapters_size()) {
    return absl::InvalidArgumentError(absl::StrCat("version ", manifest.version(), " has ",
                                                   manifest.adapters_size(),
                                                   " adapters; there is no index ", index));
  }
  return ReadAdapterFile(VersionFolder(manifest.version()), key_, manifest.adapters(index));
}

absl::Status VersionStore::Verify(uint64_t version) const {
  return VerifyVersionFolder(VersionFolder(version), key_, version);
}

}  // namespace unlearn
