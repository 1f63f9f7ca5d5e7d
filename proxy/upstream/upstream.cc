#include "proxy/upstream/upstream.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace unlearn {

void UpstreamSession::Sample(UpstreamSampling, SampleCallback rows) {
  rows(absl::UnimplementedError("this kind of upstream draws no tokens by itself"));
}

absl::StatusOr<std::vector<int32_t>> Upstream::Tokenize(absl::string_view) {
  return absl::UnimplementedError("this kind of upstream cannot be asked to tokenise");
}

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
