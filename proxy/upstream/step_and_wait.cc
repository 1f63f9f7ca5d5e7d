#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

absl::StatusOr<UpstreamLogits> StepAndWait(UpstreamSession& session, UpstreamStep step) {
  absl::StatusOr<UpstreamLogits> result = absl::UnknownError("no answer");
  absl::Notification answered;
  session.Step(std::move(step), [&](absl::StatusOr<UpstreamLogits> logits) {
    result = std::move(logits);
    answered.Notify();
  });
  answered.WaitForNotification();
  return result;
}

}  // namespace unlearn
