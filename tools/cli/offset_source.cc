#include "tools/cli/offset_source.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

// Who acts, for the store's audit log.
std::string Who() {
  const passwd* user = getpwuid(geteuid());
  return user != nullptr ? absl::StrCat("unlearn, user ", user->pw_name)
                         : absl::StrCat("unlearn, uid ", geteuid());
}

class StoreSource : public OffsetSource {
 public:
  explicit StoreSource(std::unique_ptr<VersionStore> store) : store_(std::move(store)) {}

  absl::StatusOr<std::vector<v1::VersionSummary>> List() override {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, store_->ListVersions());
    const absl::StatusOr<uint64_t> active = store_->ActiveVersion();
    if (!active.ok() && active.status().code() != absl::StatusCode::kNotFound) {
      return active.status();
    }
    std::vector<v1::VersionSummary> summaries;
    for (const uint64_t version : versions) {
      v1::VersionSummary summary;
      absl::StatusOr<v1::Manifest> manifest = store_->ReadManifest(version);
      if (manifest.ok()) {
        *summary.mutable_manifest() = *std::move(manifest);
      } else {
        summary.mutable_manifest()->set_version(version);
        summary.set_problem(std::string(manifest.status().message()));
      }
      summary.set_active(active.ok() && *active == version);
      summaries.push_back(std::move(summary));
    }
    return summaries;
  }

  absl::StatusOr<uint64_t> Activate(uint64_t version,
                                    const std::vector<std::string>& reintroduce) override {
    ASSIGN_OR_RETURN(const uint64_t previous, store_->ActiveVersion());
    RETURN_IF_ERROR(store_->Activate(version, reintroduce, Who()));
    return previous;
  }

 private:
  const std::unique_ptr<VersionStore> store_;
};

class ServerSource : public OffsetSource {
 public:
  explicit ServerSource(Connection connection)
      : connection_(std::move(connection)),
        stub_(v1::OffsetService::NewStub(connection_.channel())) {}

  absl::StatusOr<std::vector<v1::VersionSummary>> List() override {
    grpc::ClientContext context;
    connection_.Arm(context);
    v1::ListVersionsResponse response;
    RETURN_IF_ERROR(
        connection_.ToStatus(stub_->ListVersions(&context, v1::ListVersionsRequest(), &response)));
    return std::vector<v1::VersionSummary>(response.versions().begin(), response.versions().end());
  }

  absl::StatusOr<uint64_t> Activate(uint64_t version,
                                    const std::vector<std::string>& reintroduce) override {
    grpc::ClientContext context;
    connection_.Arm(context);
    v1::ActivateRequest request;
    request.set_version(version);
    for (const std::string& id : reintroduce) request.add_reintroduce(id);
    v1::ActivateResponse response;
    RETURN_IF_ERROR(connection_.ToStatus(stub_->Activate(&context, request, &response)));
    return response.previous_version();
  }

 private:
  const Connection connection_;
  const std::unique_ptr<v1::OffsetService::Stub> stub_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<VersionStore>> OpenStore(const std::string& folder,
                                                        const std::string& key_file) {
  ASSIGN_OR_RETURN(SealingKey key, SealingKey::Load(key_file));
  return VersionStore::Open(folder, std::move(key));
}

absl::StatusOr<std::unique_ptr<OffsetSource>> OpenOffsetSource(const OffsetSourceFlags& flags) {
  if (flags.store.empty() && flags.connection.address.empty()) {
    return UsageError(
        "name the versions: --store FOLDER with --store_key_file FILE, or a proxy with --server "
        "(or UNLEARN_SERVER)");
  }
  if (flags.store.empty()) {
    ASSIGN_OR_RETURN(Connection connection, Connection::Open(flags.connection));
    return std::make_unique<ServerSource>(std::move(connection));
  }
  const char* environment = std::getenv("UNLEARN_SERVER");
  if (!flags.connection.address.empty() &&
      (environment == nullptr || flags.connection.address != environment)) {
    return UsageError("--store and --server exclude each other: give one of them");
  }
  if (flags.store_key_file.empty()) {
    return UsageError("--store needs --store_key_file, the file with the store's key");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<VersionStore> store,
                   OpenStore(flags.store, flags.store_key_file));
  return std::make_unique<StoreSource>(std::move(store));
}

}  // namespace unlearn
