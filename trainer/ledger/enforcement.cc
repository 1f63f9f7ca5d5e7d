#include "trainer/ledger/enforcement.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "offset/store/version_rules.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"

namespace unlearn {
namespace {

struct Call {
  std::unique_ptr<v1::OffsetService::Stub> stub;
  grpc::ClientContext context;
  v1::GetOffsetStatusRequest request;
  v1::OffsetStatus status;
  grpc::Status result;
};

}  // namespace

ProxyEnforcement::ProxyEnforcement(const VersionStore* store, std::vector<RegisteredProxy> proxies,
                                   absl::Duration timeout)
    : store_(store), proxies_(std::move(proxies)), timeout_(timeout) {}

EnforcementAnswer ProxyEnforcement::Check(const std::string& request_id) {
  if (proxies_.empty()) {
    return {false, "no proxy is registered (--proxy): enforcement cannot be proven"};
  }
  std::vector<Call> calls(proxies_.size());
  absl::BlockingCounter running(static_cast<int>(calls.size()));
  for (size_t i = 0; i < calls.size(); ++i) {
    Call& call = calls[i];
    call.stub = v1::OffsetService::NewStub(proxies_[i].channel);
    call.context.set_deadline(absl::ToChronoTime(absl::Now() + timeout_));
    call.stub->async()->GetStatus(&call.context, &call.request, &call.status,
                                  [&call, &running](grpc::Status result) {
                                    call.result = std::move(result);
                                    running.DecrementCount();
                                  });
  }
  running.Wait();
  std::vector<std::string> problems;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string problem =
        calls[i].result.ok()
            ? Problem(calls[i].status, request_id)
            : absl::StrCat("does not answer (", calls[i].result.error_message(), ")");
    if (!problem.empty()) problems.push_back(absl::StrCat(proxies_[i].address, " ", problem));
  }
  if (problems.empty()) return {true, ""};
  return {false, absl::StrCat("waiting for ", problems.size(), " of ", proxies_.size(),
                              " proxies: ", absl::StrJoin(problems, "; "))};
}

std::string ProxyEnforcement::Problem(const v1::OffsetStatus& status,
                                      const std::string& request_id) const {
  // A version that cannot be read proves nothing either.
  const auto lacks = [&](uint64_t version) {
    const absl::StatusOr<v1::Manifest> manifest = store_->ReadManifest(version);
    if (!manifest.ok()) return true;
    const std::vector<std::string> enforced = EnforcedRequests(*manifest);
    return std::find(enforced.begin(), enforced.end(), request_id) == enforced.end();
  };
  if (lacks(status.active_version())) {
    return absl::StrCat("serves version ", status.active_version(), ", which lacks the request",
                        status.problem().empty() ? "" : ": ", status.problem());
  }
  for (const v1::VersionStreams& streams : status.streams()) {
    if (streams.streams() > 0 && lacks(streams.version())) {
      return absl::StrCat("still runs ", streams.streams(), " streams of version ",
                          streams.version(), ", which lacks the request");
    }
  }
  return "";
}

}  // namespace unlearn
