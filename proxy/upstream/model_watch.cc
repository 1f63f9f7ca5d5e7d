#include "proxy/upstream/model_watch.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"

namespace unlearn {
namespace {

// How soon a lost connection is noticed while nobody asks M anything.
constexpr absl::Duration kLook = absl::Seconds(1);

prometheus::Counter& Checks(prometheus::Registry& registry, const std::string& result) {
  return prometheus::BuildCounter()
      .Name("unlearn_upstream_identity_checks_total")
      .Help("How often M was compared with the model that the offset was made for, by result")
      .Register(registry)
      .Add({{"result", result}});
}

// M could not be asked; anything else that goes wrong with a probe is not what the right M does.
bool CouldNotAsk(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

}  // namespace

ModelWatch::ModelWatch(Upstream* upstream, const Options& options, prometheus::Registry& registry)
    : upstream_(upstream),
      options_(options),
      same_(Checks(registry, "same")),
      another_(Checks(registry, "another")),
      failed_(Checks(registry, "failed")),
      thread_([this] { Run(); }) {}

ModelWatch::~ModelWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::Status ModelWatch::Confirm(const v1::ModelFingerprint& expected) {
  std::string bytes = expected.SerializeAsString();
  absl::MutexLock lock(&mutex_);
  if (!expected_.has_value() || bytes != expected_bytes_) {
    expected_ = expected;
    expected_bytes_ = std::move(bytes);
    wanted_ = true;
    checked_ = confirmed_ = false;
  }
  const auto known = [this]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return checked_ || stopping_; };
  mutex_.Await(absl::Condition(&known));
  if (!verdict_.ok()) return verdict_;
  if (confirmed_) return absl::OkStatus();
  return last_.ok() ? absl::UnavailableError("the server is stopping") : last_;
}

absl::StatusOr<bool> ModelWatch::MayPass(Released released) {
  absl::MutexLock lock(&mutex_);
  if (!expected_.has_value()) return true;
  if (!verdict_.ok()) return verdict_;
  const int64_t connections = upstream_->connections();
  if (connections == known_connections_) return true;
  if (stopping_) return absl::UnavailableError("the server is stopping; ask another one");
  held_.push_back({connections, std::move(released)});
  wanted_ = true;
  return false;
}

absl::Status ModelWatch::verdict() const {
  absl::MutexLock lock(&mutex_);
  return verdict_;
}

bool ModelWatch::Due() const { return stopping_ || wanted_; }

void ModelWatch::Run() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.AwaitWithDeadline(absl::Condition(this, &ModelWatch::Due),
                             std::min(next_, absl::Now() + kLook));
    if (stopping_) break;
    const int64_t connections = upstream_->connections();
    const bool lost = expected_.has_value() && failures_ == 0 && connections != known_connections_;
    if (!wanted_ && !lost && absl::Now() < next_) continue;
    wanted_ = false;
    const v1::ModelFingerprint expected = *expected_;
    const std::string bytes = expected_bytes_;
    mutex_.Unlock();
    const absl::Status status = Check(expected);
    mutex_.Lock();
    if (stopping_) break;
    // Something else is expected meanwhile: that is compared at once.
    if (bytes != expected_bytes_) continue;
    Take(status, connections);
    Release(status.ok() ? connections : std::numeric_limits<int64_t>::max(), status);
    if (!held_.empty()) wanted_ = true;
  }
  Release(std::numeric_limits<int64_t>::max(),
          absl::UnavailableError("the server is stopping; ask another one"));
}

void ModelWatch::Release(int64_t connections, const absl::Status& status) {
  const auto later = std::stable_partition(held_.begin(), held_.end(), [&](const Held& held) {
    return held.connections <= connections;
  });
  std::vector<Held> released(std::make_move_iterator(held_.begin()),
                             std::make_move_iterator(later));
  held_.erase(held_.begin(), later);
  mutex_.Unlock();
  for (Held& held : released) held.released(status);
  released.clear();
  mutex_.Lock();
}

void ModelWatch::Take(const absl::Status& status, int64_t connections) {
  last_ = status;
  checked_ = true;
  if (status.ok()) {
    same_.Increment();
    if (!verdict_.ok()) LogInfo("upstream: M is the expected model again");
    verdict_ = absl::OkStatus();
    confirmed_ = true;
    known_connections_ = connections;
    failures_ = 0;
    next_ = absl::Now() + options_.every;
    return;
  }
  const bool could_not = CouldNotAsk(status);
  (could_not ? failed_ : another_).Increment();
  if (!could_not) {
    if (verdict_ != status) LogError("upstream: ", status.message());
    verdict_ = status;
  }
  const absl::Duration wait =
      std::min(options_.longest_wait, absl::Seconds(1 << std::min(failures_, 10)));
  ++failures_;
  next_ = absl::Now() + std::min(options_.every, wait);
}

absl::Status ModelWatch::Check(const v1::ModelFingerprint& expected) {
  const auto check = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const UpstreamInfo now, upstream_->Probe());
    const UpstreamInfo& before = upstream_->info();
    if (now.vocab_size != before.vocab_size ||
        now.tokenizer_fingerprint != before.tokenizer_fingerprint ||
        now.weights_fingerprint != before.weights_fingerprint) {
      return absl::FailedPreconditionError(absl::StrCat(
          "M was exchanged: its server has another model now (", now.model_id,
          ") than when this process connected (", before.model_id,
          "); start that model again, or restart this process with a store for the new one"));
    }
    if (expected.probes_size() == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(
        const v1::ModelFingerprint seen,
        TakeModelFingerprint(*upstream_, [this](UpstreamSession& session, UpstreamStep step) {
          return Ask(session, std::move(step));
        }));
    return CompareModelFingerprints(expected, seen, before.noise);
  };
  absl::Status status = check();
  if (status.ok() || CouldNotAsk(status) || absl::IsFailedPrecondition(status)) return status;
  return absl::FailedPreconditionError(absl::StrCat(
      "M does not answer as the model that the offset was made for: ", status.message(),
      "; point --upstream at that model"));
}

absl::StatusOr<UpstreamLogits> ModelWatch::Ask(UpstreamSession& session, UpstreamStep step) {
  struct Answer {
    bool come = false;
    absl::StatusOr<UpstreamLogits> logits = absl::UnknownError("no answer");
  };
  const auto answer = std::make_shared<Answer>();
  session.Step(std::move(step), [this, answer](absl::StatusOr<UpstreamLogits> logits) {
    absl::MutexLock lock(&mutex_);
    answer->logits = std::move(logits);
    answer->come = true;
  });
  absl::MutexLock lock(&mutex_);
  const auto over = [&]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return answer->come || stopping_; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&over), options_.timeout)) {
    return absl::DeadlineExceededError(
        absl::StrCat("M did not answer a probe within ", absl::FormatDuration(options_.timeout)));
  }
  if (!answer->come) return absl::CancelledError("the server is stopping");
  return std::move(answer->logits);
}

}  // namespace unlearn
