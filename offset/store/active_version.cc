// The part of VersionStore that is about which version serves, and about the audit log.

#include <sys/stat.h>

#include <map>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "offset/store/durable_file.h"
#include "offset/store/folder_lock.h"
#include "offset/store/version_rules.h"
#include "offset/store/version_store.h"

namespace unlearn {
namespace {

// A string field of a record; "" when it has another type.
std::string Text(const AuditRecord& record, const char* field) {
  const auto found = record.fields.find(field);
  return found != record.fields.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> Enforces(const AuditRecord& record) {
  std::vector<std::string> requests;
  const auto found = record.fields.find("enforces");
  if (found == record.fields.end() || !found->is_array()) return requests;
  for (const auto& request_id : *found) {
    if (request_id.is_string()) requests.push_back(request_id.get<std::string>());
  }
  return requests;
}

// The newest activation that was carried out; null when there is none.
const AuditRecord* NewestActivation(const std::vector<AuditRecord>& records) {
  absl::flat_hash_set<std::string> failed;
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    const std::string event = Text(*record, "event");
    if (event == "activation_failed") failed.insert(Text(*record, "activation"));
    if (event == "activate" && !failed.contains(record->mac)) return &*record;
  }
  return nullptr;
}

}  // namespace

std::string VersionStore::ActiveContents(uint64_t version, absl::string_view audit_mac) const {
  const std::string body = absl::StrCat("version ", version, "\naudit ", audit_mac, "\n");
  return absl::StrCat(body, "mac ", key_.Mac(absl::StrCat("active\n", body)), "\n");
}

absl::StatusOr<VersionStore::Active> VersionStore::ReadActive() const {
  const std::string path = ActivePath();
  const absl::StatusOr<std::string> contents = ReadFile(path);
  if (absl::IsNotFound(contents.status())) {
    return absl::NotFoundError(absl::StrCat("the store ", folder_, " has no active version (", path,
                                            " is missing); run: unlearn offset activate"));
  }
  RETURN_IF_ERROR(contents.status());
  const std::vector<absl::string_view> words = absl::StrSplit(*contents, absl::ByAnyChar(" \n"));
  Active active;
  if (words.size() < 4 || !absl::SimpleAtoi(words[1], &active.version) ||
      *contents != ActiveContents(active.version, words[3])) {
    return absl::DataLossError(
        absl::StrCat(path, " (", contents->size(),
                     " bytes) was changed; activate the version that is to serve "
                     "again: unlearn offset activate"));
  }
  active.audit_mac = std::string(words[3]);
  return active;
}

absl::StatusOr<uint64_t> VersionStore::ActiveVersion() const {
  ASSIGN_OR_RETURN(const Active active, ReadActive());
  return active.version;
}

std::string VersionStore::ActiveToken() const {
  struct stat info;
  if (stat(ActivePath().c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_ino, ".", info.st_size, ".", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, ".", info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
}

absl::StatusOr<std::vector<std::string>> VersionStore::EnforcedNow() const {
  const absl::StatusOr<Active> active = ReadActive();
  if (active.ok()) {
    const absl::StatusOr<v1::Manifest> manifest = ReadManifest(active->version);
    if (manifest.ok()) return EnforcedRequests(*manifest);
  }
  const absl::StatusOr<std::vector<AuditRecord>> records = audit_.Read();
  if (records.ok() && CheckPublications(*records).ok()) {
    if (active.ok()) {
      for (const AuditRecord& record : *records) {
        if (record.mac == active->audit_mac) return Enforces(record);
      }
    } else {
      const AuditRecord* newest = NewestActivation(*records);
      return newest == nullptr ? std::vector<std::string>() : Enforces(*newest);
    }
  }
  ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, ListVersions());
  std::vector<std::string> all;
  absl::flat_hash_set<std::string> seen;
  for (const uint64_t version : versions) {
    const absl::StatusOr<v1::Manifest> manifest = ReadManifest(version);
    if (!manifest.ok()) continue;
    for (const std::string& request_id : manifest->request_ids()) {
      if (seen.insert(request_id).second) all.push_back(request_id);
    }
  }
  return all;
}

absl::Status VersionStore::Activate(uint64_t version, absl::Span<const std::string> reintroduce,
                                    absl::string_view who) {
  if (who.empty()) {
    return absl::InvalidArgumentError(
        "activating a version needs the name of who does it, for the audit log");
  }
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(LockPath(), FolderLock::Kind::kExclusive));
  RETURN_IF_ERROR(ClearLeftovers());
  RETURN_IF_ERROR(Verify(version));
  ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifest(version));
  ASSIGN_OR_RETURN(const std::vector<std::string> enforced, EnforcedNow());
  const std::vector<std::string> lost = RequestsLost(enforced, manifest);
  RETURN_IF_ERROR(
      CheckNothingUnforgotten(absl::StrCat("activating version ", version), lost, reintroduce));

  nlohmann::json record = {{"event", "activate"},
                           {"version", version},
                           {"who", std::string(who)},
                           {"enforces", EnforcedRequests(manifest)},
                           {"reintroduced", lost}};
  if (const absl::StatusOr<Active> before = ReadActive(); before.ok()) {
    record["before"] = before->version;
  }
  ASSIGN_OR_RETURN(const std::string mac, audit_.Append(std::move(record)));
  const absl::Status status = ReplaceFile(ActivePath(), ActiveContents(version, mac));
  if (!status.ok()) {
    const absl::StatusOr<Active> now = ReadActive();
    if (!now.ok() || now->audit_mac != mac) {
      const absl::Status noted =
          audit_.Append({{"event", "activation_failed"}, {"activation", mac}}).status();
      if (!noted.ok()) LogWarning("the audit log lacks a failed activation: ", noted.message());
    }
  }
  return status;
}

absl::Status VersionStore::CheckPublications(const std::vector<AuditRecord>& records) const {
  std::map<uint64_t, absl::flat_hash_set<std::string>> published;
  for (const AuditRecord& record : records) {
    const auto version = record.fields.find("version");
    if (Text(record, "event") != "publish" || version == record.fields.end() ||
        !version->is_number_unsigned()) {
      continue;
    }
    published[version->get<uint64_t>()].insert(Text(record, "manifest_mac"));
  }
  ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, ListVersions());
  for (const uint64_t version : versions) {
    const std::string path = JoinPath(VersionFolder(version), "manifest.mac");
    const absl::StatusOr<std::string> mac = ReadFile(path);
    if (!mac.ok() || mac->empty() || mac->back() != '\n' ||
        !published[version].contains(mac->substr(0, mac->size() - 1))) {
      return absl::DataLossError(absl::StrCat(JoinPath(folder_, "audit.log"),
                                              " does not hold the publication of version ", version,
                                              " as it stands in ", path,
                                              ": lines are missing at its end, or the version was "
                                              "changed; compare both with a backup"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AuditRecord>> VersionStore::ReadAudit() const {
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(LockPath(), FolderLock::Kind::kShared));
  return audit_.Read();
}

absl::Status VersionStore::VerifyAudit() const {
  ASSIGN_OR_RETURN(const FolderLock lock,
                   FolderLock::Acquire(LockPath(), FolderLock::Kind::kShared));
  ASSIGN_OR_RETURN(const std::vector<AuditRecord> records, audit_.Read());
  RETURN_IF_ERROR(CheckPublications(records));
  const AuditRecord* newest = NewestActivation(records);
  const absl::StatusOr<Active> active = ReadActive();
  if (absl::IsNotFound(active.status()) && newest == nullptr) return absl::OkStatus();
  if (absl::IsNotFound(active.status())) {
    return absl::DataLossError(
        absl::StrCat(ActivePath(),
                     " is missing, but the audit log holds an activation; activate the version "
                     "that is to serve again: unlearn offset activate"));
  }
  RETURN_IF_ERROR(active.status());
  if (newest != nullptr && newest->mac == active->audit_mac) return absl::OkStatus();
  for (const AuditRecord& record : records) {
    if (record.mac != active->audit_mac) continue;
    return absl::DataLossError(absl::StrCat(
        ActivePath(), " (version ", active->version,
        ") is older than the newest activation in the audit log: an activation was killed, or an "
        "older copy was put in its place; activate the version that is to serve again: unlearn "
        "offset activate"));
  }
  return absl::DataLossError(absl::StrCat(
      JoinPath(folder_, "audit.log"), " does not hold the activation of version ", active->version,
      " that ", ActivePath(), " names: lines are missing at its end; compare it with a backup"));
}

}  // namespace unlearn
