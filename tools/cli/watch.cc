#include "tools/cli/watch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr absl::Duration kReturnTimeout = absl::Seconds(60);
constexpr absl::Duration kBetweenAttempts = absl::Milliseconds(500);

}  // namespace

absl::StatusOr<v1::DeletionRequest> WatchRequest(
    const Connection& connection, v1::DeletionService::Stub& stub, const std::string& request_id,
    const std::function<void(const v1::DeletionRequest&)>& on_change,
    const std::function<void(const absl::Status&)>& on_lost) {
  v1::GetRequest request;
  request.set_request_id(request_id);
  v1::DeletionRequest last;
  bool any = false;
  absl::Time lost_at = absl::InfinitePast();  // since when the trainer has said nothing
  for (;;) {
    grpc::ClientContext context;
    connection.Arm(context);
    const auto reader = stub.Watch(&context, request);
    v1::DeletionRequest state;
    while (reader->Read(&state)) {
      last = state;
      any = true;
      lost_at = absl::InfinitePast();
      on_change(last);
    }
    const absl::Status status = connection.ToStatus(reader->Finish());
    if (status.ok() && any) return last;
    if (status.ok()) {
      return absl::InternalError(
          absl::StrCat("the watch of request ", request_id, " ended without a state"));
    }
    // An error before the first state is the answer: an unknown request, no permission.
    if (!any || status.code() != absl::StatusCode::kUnavailable) return status;
    if (lost_at == absl::InfinitePast()) {
      lost_at = absl::Now();
      on_lost(status);
    }
    const absl::Duration left = lost_at + kReturnTimeout - absl::Now();
    if (left <= absl::ZeroDuration()) return status;
    absl::SleepFor(kBetweenAttempts);
    RETURN_IF_ERROR(connection.WaitAgain(left));
  }
}

}  // namespace unlearn
