#ifndef TOOLS_CLI_REQUEST_VIEW_H_
#define TOOLS_CLI_REQUEST_VIEW_H_

#include <string>

#include "absl/status/status.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "tools/cli/output.h"

namespace unlearn {

// {"request_id","state",...}; "offset_version" is null until the request is PUBLISHED.
Json RequestJson(const v1::DeletionRequest& request);

// One line: id, state, how far its training is.
std::string RequestLine(const v1::DeletionRequest& request);

// All that is known, over several lines, each ended.
std::string RequestDetails(const v1::DeletionRequest& request);

// How a wait for a request ended: OK for ENFORCED and ERASED, RefusedByGateError for
// NEEDS_OPERATOR, an error with the reason for FAILED and CANCELLED.
absl::Status EndStatus(const v1::DeletionRequest& request);

// Shows a request's way to `err`: on a terminal a bar that redraws itself, otherwise a line
// whenever the state changes or a tenth of the training is done.
class ProgressView {
 public:
  explicit ProgressView(Console& console) : console_(console) {}
  ~ProgressView();
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void Show(const v1::DeletionRequest& request);
  // A line of its own, such as a lost connection.
  void Note(const std::string& text);

 private:
  void EndBar();

  Console& console_;
  bool bar_drawn_ = false;
  bool any_shown_ = false;
  v1::RequestState state_ = v1::REQUEST_STATE_UNSPECIFIED;
  int tenth_ = 0;
};

}  // namespace unlearn

#endif  // TOOLS_CLI_REQUEST_VIEW_H_
