#include "proxy/server/offset_service.h"

#include <map>
#include <string>
#include <vector>

#include "offset/base/status_macros.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {

grpc::Status OffsetService::ListVersions(grpc::ServerContext* context,
                                         const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) {
  const auto run = [&]() -> absl::Status {
    RETURN_IF_ERROR(authenticator_->Require(Role::kUser, *context, "listing versions"));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> versions, store_->ListVersions());
    const absl::StatusOr<uint64_t> active = store_->ActiveVersion();
    for (const uint64_t version : versions) {
      v1::VersionSummary& summary = *response->add_versions();
      absl::StatusOr<v1::Manifest> manifest = store_->ReadManifest(version);
      if (manifest.ok()) {
        *summary.mutable_manifest() = *std::move(manifest);
        // M's fingerprint holds log-probs of M alone, which never leave the server.
        summary.mutable_manifest()->clear_model_fingerprint();
      } else {
        summary.mutable_manifest()->set_version(version);
        summary.set_problem(std::string(manifest.status().message()));
      }
      summary.set_active(active.ok() && *active == version);
    }
    return absl::OkStatus();
  };
  return ToGrpcStatus(run());
}

grpc::Status OffsetService::GetStatus(grpc::ServerContext* context,
                                      const v1::GetOffsetStatusRequest* request,
                                      v1::OffsetStatus* response) {
  const absl::Status allowed =
      authenticator_->Require(Role::kUser, *context, "the offset's status");
  if (!allowed.ok()) return ToGrpcStatus(allowed);
  const auto current = versions_->Current();
  response->set_serving(current.ok());
  if (current.ok()) response->set_active_version((*current)->version);
  std::map<uint64_t, int> counts = scheduler_->StreamsByVersion();
  // A request may hold an old version before the scheduler counts it as a stream; until it lets go
  // of it the version is in use.
  for (const uint64_t version : versions_->RetiredInUse()) counts.emplace(version, 1);
  for (const auto& [version, count] : counts) {
    v1::VersionStreams& streams = *response->add_streams();
    streams.set_version(version);
    streams.set_streams(count);
  }
  response->set_problem(std::string(versions_->problem().message()));
  return grpc::Status::OK;
}

grpc::Status OffsetService::Activate(grpc::ServerContext* context,
                                     const v1::ActivateRequest* request,
                                     v1::ActivateResponse* response) {
  const auto run = [&]() -> absl::Status {
    RETURN_IF_ERROR(authenticator_->Require(Role::kAdmin, *context, "activating a version"));
    const absl::StatusOr<uint64_t> previous = store_->ActiveVersion();
    if (previous.ok()) response->set_previous_version(*previous);
    const std::vector<std::string> reintroduce(request->reintroduce().begin(),
                                               request->reintroduce().end());
    RETURN_IF_ERROR(store_->Activate(request->version(), reintroduce, context->peer()));
    versions_->Refresh();
    return versions_->problem();
  };
  return ToGrpcStatus(run());
}

}  // namespace unlearn
