#include "proxy/upstream/retry_after.h"

#include <cstdint>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace unlearn {
namespace {

constexpr char kPayload[] = "unlearn/retry-after-ms";

std::optional<absl::Duration> ParseMilliseconds(absl::string_view text) {
  int64_t milliseconds;
  if (!absl::SimpleAtoi(text, &milliseconds) || milliseconds <= 0) return std::nullopt;
  return absl::Milliseconds(milliseconds);
}

}  // namespace

absl::Status WithRetryAfter(absl::Status status, std::optional<absl::Duration> wait) {
  if (!status.ok() && wait.has_value() && *wait > absl::ZeroDuration()) {
    const int64_t milliseconds =
        absl::ToInt64Milliseconds(absl::Ceil(*wait, absl::Milliseconds(1)));
    status.SetPayload(kPayload, absl::Cord(absl::StrCat(milliseconds)));
  }
  return status;
}

std::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  return ParseMilliseconds(std::string(*payload));
}

std::optional<absl::Duration> RetryPushback(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto found = metadata.find("grpc-retry-pushback-ms");
  if (found == metadata.end()) return std::nullopt;
  return ParseMilliseconds(absl::string_view(found->second.data(), found->second.size()));
}

}  // namespace unlearn
