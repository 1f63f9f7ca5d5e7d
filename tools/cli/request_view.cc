#include "tools/cli/request_view.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

constexpr int kBarWidth = 30;

// 0 to 1.
double Done(const v1::DeletionRequest& request) {
  if (request.steps() <= 0) return 0;
  return std::clamp(static_cast<double>(request.step()) / request.steps(), 0.0, 1.0);
}

std::string StateName(const v1::DeletionRequest& request) {
  return v1::RequestState_Name(request.state());
}

std::string Reason(const v1::DeletionRequest& request) {
  return request.message().empty() ? "the trainer gave no reason" : ForTerminal(request.message());
}

// A map's entries in the order of their names, which protobuf does not keep.
std::map<std::string, double> SortedScores(const v1::DeletionRequest& request) {
  return {request.scores().begin(), request.scores().end()};
}

}  // namespace

Json RequestJson(const v1::DeletionRequest& request) {
  Json scores = Json::object();
  for (const auto& [name, score] : SortedScores(request)) scores[name] = score;
  const v1::TrainingSettings& settings = request.settings();
  // Version 0 is the empty stack: no request is published as it.
  const Json version =
      request.offset_version() == 0 ? Json(nullptr) : Json(request.offset_version());
  return {{"request_id", request.request_id()},
          {"state", StateName(request)},
          {"name", request.name()},
          {"received_unix_seconds", request.received_unix_seconds()},
          {"updated_unix_seconds", request.updated_unix_seconds()},
          {"forget_items", request.forget_items()},
          {"retain_items", request.retain_items()},
          {"settings",
           {{"objective", settings.objective()},
            {"steps", settings.steps()},
            {"learning_rate", settings.learning_rate()},
            {"seed", settings.seed()}}},
          {"step", request.step()},
          {"steps", request.steps()},
          {"loss", request.loss()},
          {"offset_version", version},
          {"scores", scores},
          {"message", request.message()}};
}

std::string RequestLine(const v1::DeletionRequest& request) {
  std::string line = absl::StrCat(request.request_id(), "  ", StateName(request));
  if (request.state() == v1::TRAINING && request.steps() > 0) {
    absl::StrAppendFormat(&line, "  step %d of %d  loss %.4f", request.step(), request.steps(),
                          request.loss());
  }
  if (request.offset_version() > 0) {
    absl::StrAppend(&line, "  offset version ", request.offset_version());
  }
  if (!request.name().empty()) absl::StrAppend(&line, "  ", ForTerminal(request.name()));
  return line;
}

std::string RequestDetails(const v1::DeletionRequest& request) {
  std::string text = absl::StrCat(RequestLine(request), "\n");
  absl::StrAppend(&text, "  received ", FormatUnixSeconds(request.received_unix_seconds()),
                  ", changed ", FormatUnixSeconds(request.updated_unix_seconds()), "\n");
  absl::StrAppend(&text, "  ", request.forget_items(), " items to forget, ", request.retain_items(),
                  " to keep");
  if (!request.settings().objective().empty()) {
    absl::StrAppend(&text, ", objective ", ForTerminal(request.settings().objective()));
  }
  absl::StrAppend(&text, "\n");
  for (const auto& [name, score] : SortedScores(request)) {
    absl::StrAppendFormat(&text, "  %s: %.4f\n", ForTerminal(name), score);
  }
  if (!request.message().empty()) {
    absl::StrAppend(&text, "  ", ForTerminal(request.message()), "\n");
  }
  return text;
}

absl::Status EndStatus(const v1::DeletionRequest& request) {
  const std::string& id = request.request_id();
  switch (request.state()) {
    case v1::ENFORCED:
    case v1::ERASED:
      return absl::OkStatus();
    case v1::NEEDS_OPERATOR:
      return RefusedByGateError(absl::StrCat(
          "request ", id, " was not accepted by the quality gate and nothing was published: ",
          Reason(request), "; try other settings with `unlearn delete retry ", id,
          "` or withdraw it with `unlearn delete cancel ", id, "`"));
    case v1::FAILED:
      return absl::InternalError(absl::StrCat("request ", id, " failed: ", Reason(request),
                                              "; go on with `unlearn delete retry ", id, "`"));
    case v1::CANCELLED:
      return absl::CancelledError(absl::StrCat("request ", id, " was cancelled"));
    default:
      return absl::UnavailableError(absl::StrCat("the trainer ended the watch while request ", id,
                                                 " was ", StateName(request),
                                                 "; go on with `unlearn delete watch ", id, "`"));
  }
}

ProgressView::~ProgressView() { EndBar(); }

void ProgressView::Show(const v1::DeletionRequest& request) {
  const int tenth = static_cast<int>(Done(request) * 10);
  const bool state_changed = !any_shown_ || request.state() != state_;
  const bool moved = request.state() == v1::TRAINING && tenth != tenth_;
  any_shown_ = true;
  state_ = request.state();
  tenth_ = tenth;
  if (console_.err_is_terminal && request.state() == v1::TRAINING) {
    const int filled = static_cast<int>(Done(request) * kBarWidth);
    console_.err << absl::StrFormat("\r\033[K%s  TRAINING [%s%s] %3.0f %%  loss %.4f",
                                    request.request_id(), std::string(filled, '#'),
                                    std::string(kBarWidth - filled, '-'), Done(request) * 100,
                                    request.loss())
                 << std::flush;
    bar_drawn_ = true;
    return;
  }
  if (!state_changed && !moved) return;
  EndBar();
  console_.err << RequestLine(request) << '\n' << std::flush;
}

void ProgressView::Note(const std::string& text) {
  EndBar();
  console_.err << text << '\n' << std::flush;
}

void ProgressView::EndBar() {
  if (bar_drawn_) console_.err << '\n' << std::flush;
  bar_drawn_ = false;
}

}  // namespace unlearn
