#ifndef OFFSET_STORE_VERSION_STORE_H_
#define OFFSET_STORE_VERSION_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "offset/store/audit_log.h"
#include "offset/store/seal.h"
#include "unlearn/v1/manifest.pb.h"

namespace unlearn {

// An adapter on its way into the store, as plain bytes.
struct NewAdapter {
  std::string request_id;
  int64_t rank = 0;
  std::string bytes;
};

// The published versions of the offset, in a folder that several processes share: the trainer
// publishes, proxies watch and read, the command line lists and activates.
//
//   STORE                         format and a MAC: tells a wrong key from a damaged file
//   LOCK                          flock of those who write
//   ACTIVE                        the version that serves, with a MAC; replaced in one step
//   audit.log                     publications and activations (AuditLog)
//   versions/000003/              one version: immutable and complete once it has this name
//     manifest.textproto  manifest.mac  adapter-<request id>.sealed ...
//   versions/.tmp-*               a publication at work, or what is left of a killed one
//
// Readers of versions take no lock and never write (a read-only mount will do); those who write
// take LOCK and clear what killed ones left. Everything has mode 0600 or 0700. All methods are
// thread-safe. Damage is DATA_LOSS, naming the file and what to do.
class VersionStore {
 public:
  // NOT_FOUND when there is no store; PERMISSION_DENIED when it is another key's.
  static absl::StatusOr<std::unique_ptr<VersionStore>> Open(const std::string& folder,
                                                            SealingKey key);
  // Makes the folder and an empty store. A store that is there already under the same key is
  // opened, so that a set-up that was killed can be run again.
  static absl::StatusOr<std::unique_ptr<VersionStore>> Create(const std::string& folder,
                                                              SealingKey key);

  VersionStore(const VersionStore&) = delete;
  VersionStore& operator=(const VersionStore&) = delete;

  // Publishes version 0: no adapters, no requests. `draft` gives alpha, combiner, fingerprints.
  // ALREADY_EXISTS when it stands. Does not activate it.
  absl::Status InitVersionZero(const v1::Manifest& draft);

  // Publishes highest + 1 and returns it; does not activate it. `adapters` are all of the stack,
  // oldest first. The store sets the draft's version, adapters, created_unix_seconds (if 0), and
  // adds the adapters' requests to request_ids. INVALID_ARGUMENT for a draft that CheckManifest
  // refuses; RESOURCE_EXHAUSTED when the disk is full; after either, nothing was published.
  absl::StatusOr<uint64_t> Publish(v1::Manifest draft, absl::Span<const NewAdapter> adapters);

  // The lowest version whose newest adapter is this request's: a trainer that was killed after
  // Publish finds its version again instead of publishing it twice.
  absl::StatusOr<std::optional<uint64_t>> FindVersionOfRequest(absl::string_view request_id) const;

  absl::StatusOr<std::vector<uint64_t>> ListVersions() const;  // rising
  // Cheap: authenticates the manifest and looks that the files are there, but does not read them.
  absl::StatusOr<v1::Manifest> ReadManifest(uint64_t version) const;
  // The plain bytes of manifest.adapters(index).
  absl::StatusOr<std::string> ReadAdapter(const v1::Manifest& manifest, int index) const;
  // Reads and opens every file of the version.
  absl::Status Verify(uint64_t version) const;

  // NOT_FOUND when none was activated.
  absl::StatusOr<uint64_t> ActiveVersion() const;
  // Changes whenever ACTIVE is replaced; costs one stat(2). "" when there is none.
  std::string ActiveToken() const;

  // Verifies the version, then makes it the active one. FAILED_PRECONDITION when a request that is
  // enforced now would be lost and is not listed in `reintroduce` (ids that would not be lost are
  // ignored). `who` is the person or process, for the audit log, which gets its record first. With
  // ACTIVE missing or damaged the audit log tells what is enforced now, and with that damaged too,
  // whatever any version lists is taken as enforced.
  absl::Status Activate(uint64_t version, absl::Span<const std::string> reintroduce,
                        absl::string_view who);

  // The audit log's chain, that it holds the publication of each version and the activation that
  // ACTIVE names, and that ACTIVE is the newest one. DATA_LOSS otherwise.
  absl::Status VerifyAudit() const;
  // The records, oldest first, their chain checked.
  absl::StatusOr<std::vector<AuditRecord>> ReadAudit() const;

  const std::string& folder() const { return folder_; }

 private:
  struct Active {
    uint64_t version = 0;
    std::string audit_mac;  // of the record of this activation
  };

  VersionStore(std::string folder, SealingKey key);

  std::string VersionsFolder() const;
  std::string VersionFolder(uint64_t version) const;
  std::string LockPath() const;
  std::string ActivePath() const;
  absl::Status CheckStoreFile() const;
  // Shreds what killed processes left. The caller holds LOCK.
  absl::Status ClearLeftovers() const;
  // The caller holds LOCK.
  absl::Status PublishAs(uint64_t version, v1::Manifest draft,
                         absl::Span<const NewAdapter> adapters);
  absl::Status WriteVersion(const std::string& temporary, v1::Manifest draft,
                            absl::Span<const NewAdapter> adapters);

  // In active_version.cc:
  std::string ActiveContents(uint64_t version, absl::string_view audit_mac) const;
  absl::StatusOr<Active> ReadActive() const;
  absl::StatusOr<std::vector<std::string>> EnforcedNow() const;
  absl::Status CheckPublications(const std::vector<AuditRecord>& records) const;

  const std::string folder_;
  const SealingKey key_;
  AuditLog audit_;
};

}  // namespace unlearn

#endif  // OFFSET_STORE_VERSION_STORE_H_
