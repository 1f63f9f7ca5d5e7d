#include "trainer/server/request_runner.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "offset/base/log.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "trainer/queue/request_states.h"

namespace unlearn {
namespace {

// What the files in a request's work folder were made for: with another job they are useless.
constexpr char kJobFile[] = "job";

std::string JobFingerprint(const TrainingJob& job, const ActiveStack& base) {
  Sha256 hash;
  hash.Update(job.request.SerializeAsString());
  hash.Update(base.Fingerprint());
  for (const std::string& adapter : job.stack) hash.Update(Sha256Hex(adapter));
  return hash.HexDigest();
}

absl::Status PrepareWork(const TrainingJob& job, const ActiveStack& base, SealedFolder& work) {
  const std::string fingerprint = JobFingerprint(job, base);
  const auto found = work.Read(kJobFile);
  if (found.ok() && *found == fingerprint) return absl::OkStatus();
  RETURN_IF_ERROR(work.Destroy());
  return work.Write(kJobFile, fingerprint);
}

}  // namespace

RequestRunner::RequestRunner(RequestQueue* queue, VersionStore* store, OffsetTrainer* trainer,
                             EnforcementChecker* enforcement, Eraser* eraser, RunnerOptions options)
    : queue_(queue),
      store_(store),
      trainer_(trainer),
      enforcement_(enforcement),
      eraser_(eraser),
      options_(options) {}

RequestRunner::~RequestRunner() { Stop(); }

void RequestRunner::Start() {
  train_thread_ = std::thread([this] { TrainLoop(); });
  care_thread_ = std::thread([this] { CareLoop(); });
}

void RequestRunner::Stop() {
  stop_ = true;
  queue_->changes().WakeAll();
  if (train_thread_.joinable()) train_thread_.join();
  if (care_thread_.joinable()) care_thread_.join();
}

absl::Status RequestRunner::Cancel(const std::string& request_id) {
  // The state may move on between the two calls; a few tries are enough, it only moves forward.
  absl::Status status;
  for (int tries = 0; tries < 10; ++tries) {
    ASSIGN_OR_RETURN(const QueuedRequest queued, queue_->Get(request_id));
    const v1::RequestState state = queued.request.state();
    if (state == v1::CANCELLED) return absl::OkStatus();
    if (!IsCancellable(state)) {
      return absl::FailedPreconditionError(
          absl::StrCat("request ", request_id, " is ", v1::RequestState_Name(state),
                       "; only a request that is not yet PUBLISHED can be cancelled"));
    }
    status =
        queue_->Transition(request_id, state, v1::CANCELLED, "withdrawn; its text is being erased");
    if (status.ok()) {
      {
        absl::MutexLock lock(&mutex_);
        if (current_ == request_id) cancel_current_ = true;
      }
      queue_->changes().WakeAll();
      return status;
    }
    if (!absl::IsFailedPrecondition(status)) return status;
  }
  return status;
}

absl::Status RequestRunner::WaitUntilErased(const std::string& request_id, absl::Time deadline) {
  while (true) {
    const int64_t seen = queue_->changes().ChangeCount();
    ASSIGN_OR_RETURN(const QueuedRequest queued, queue_->Get(request_id));
    if (queued.erased) return absl::OkStatus();
    if (stop_ || !queue_->changes().WaitForChange(seen, deadline)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "request ", request_id, " is withdrawn, but its text is not erased yet; it will be"));
    }
  }
}

void RequestRunner::TrainLoop() {
  absl::Duration wait = options_.first_retry;
  while (true) {
    const int64_t seen = queue_->changes().ChangeCount();
    if (stop_) return;  // after the count: Stop() raises it after setting stop_
    const absl::Time next_expiry = ExpireWork();
    const auto next = queue_->Next();
    if (next.ok() && !next->has_value()) {
      wait = options_.first_retry;
      queue_->changes().WaitForChange(seen, next_expiry);
      continue;
    }
    Turn turn = Turn::kWait;
    if (!next.ok()) {
      LogError("the queue cannot be read: ", next.status().ToString());
    } else {
      const std::string& id = (*next)->request.request_id();
      {
        absl::MutexLock lock(&mutex_);
        current_ = id;
        cancel_current_ = false;
      }
      // Again, now that Cancel knows whom to stop.
      const auto queued = queue_->Get(id);
      if (queued.ok() && NeedsTraining(queued->request.state())) turn = TrainOne(*queued);
      if (queued.ok() && !NeedsTraining(queued->request.state())) turn = Turn::kDone;
      // A wait belongs to this request: only its cancellation or the end of the process cuts it
      // short, not what happens to others.
      const absl::Time until = absl::Now() + wait;
      while (turn == Turn::kWait) {
        const int64_t count = queue_->changes().ChangeCount();
        if (Interrupted() || !queue_->changes().WaitForChange(count, until)) break;
      }
      {
        absl::MutexLock lock(&mutex_);
        current_.clear();
      }
      const auto after = queue_->Get(id);
      if (after.ok() && after->request.state() == v1::CANCELLED) EraseOrLog(id);
    }
    if (!next.ok()) queue_->changes().WaitForChange(seen, absl::Now() + wait);
    wait = turn == Turn::kWait ? std::min(wait * 2, options_.longest_retry) : options_.first_retry;
  }
}

absl::Time RequestRunner::ExpireWork() {
  absl::Time next = absl::InfiniteFuture();
  const auto all = queue_->List();
  if (!all.ok()) return absl::Now() + options_.longest_retry;
  for (const QueuedRequest& queued : *all) {
    const v1::DeletionRequest& request = queued.request;
    if (!IsRetryable(request.state())) continue;
    SealedFolder work = queue_->WorkFolder(request.request_id());
    if (!work.Has(kJobFile)) continue;
    const absl::Time expiry =
        absl::FromUnixSeconds(request.updated_unix_seconds()) + options_.failed_retention;
    if (expiry > absl::Now()) {
      next = std::min(next, expiry);
      continue;
    }
    const absl::Status status = work.Destroy();
    if (status.ok()) {
      LogInfo("request ", request.request_id(), ": working files removed (--failed_retention)");
    } else {
      LogError("request ", request.request_id(), ": ", status.ToString());
      next = std::min(next, absl::Now() + options_.longest_retry);
    }
  }
  return next;
}

RequestRunner::Turn RequestRunner::TrainOne(const QueuedRequest& queued) {
  const std::string& id = queued.request.request_id();
  // Killed after Publish: the version is there, and only the queue does not know.
  const auto published = store_->FindVersionOfRequest(id);
  if (!published.ok()) return Wait(id, absl::StrCat("store: ", published.status().message()));
  if (published->has_value()) return FinishPublishing(id, **published);
  // Killed before it: nothing is out, so it can be cancelled again.
  if (queued.publishing && !MoveTo(id, v1::TRAINING)) return Turn::kDone;

  auto payload = queue_->Payload(id);
  if (!payload.ok()) return Fail(id, payload.status());
  auto base = ReadActiveStack(*store_);
  if (!base.ok()) return Wait(id, absl::StrCat("store: ", base.status().message()));
  TrainingJob job;
  job.request_id = id;
  job.request = *std::move(payload);
  job.stack = base->adapters;
  return HandleOutcome(id, *base, Train(job, *base));
}

absl::StatusOr<TrainingOutcome> RequestRunner::Train(const TrainingJob& job,
                                                     const ActiveStack& base) {
  const std::string& id = job.request_id;
  SealedFolder work = queue_->WorkFolder(id);
  RETURN_IF_ERROR(PrepareWork(job, base, work));
  bool lost = !MoveTo(id, v1::TRAINING);
  if (lost) return absl::CancelledError("the request is no longer to be trained");
  LogInfo("training ", id, " on top of version ", base.manifest.version());
  bool evaluating = false;
  const auto progress = [&](const TrainingProgress& now) {
    if (now.evaluating != evaluating) {
      evaluating = now.evaluating;
      lost = lost || !MoveTo(id, evaluating ? v1::EVALUATING : v1::TRAINING);
    }
    queue_->UpdateProgress(id, now.step, now.steps, now.loss);
  };
  const auto should_stop = [&] { return lost || Interrupted(); };
  return trainer_->Train(job, work, progress, should_stop);
}

RequestRunner::Turn RequestRunner::HandleOutcome(const std::string& id, const ActiveStack& base,
                                                 const absl::StatusOr<TrainingOutcome>& outcome) {
  if (Interrupted() && !outcome.ok()) return Turn::kDone;
  if (absl::IsCancelled(outcome.status())) {
    // Nobody asked for it: the queue could not be written, or it was cancelled just now.
    const auto queued = queue_->Get(id);
    if (queued.ok() && !NeedsTraining(queued->request.state())) return Turn::kDone;
    return Wait(id, absl::StrCat("training stopped: ", outcome.status().message()));
  }
  if (absl::IsUnavailable(outcome.status())) {
    if (!MoveTo(id, v1::TRAINING)) return Turn::kDone;
    return Wait(id, absl::StrCat("waiting for the model: ", outcome.status().message()));
  }
  if (!outcome.ok()) return Fail(id, outcome.status());
  if (!MoveTo(id, v1::EVALUATING)) return Turn::kDone;
  if (outcome->accepted) return PublishOutcome(id, base, *outcome);
  const std::string reasons = outcome->reasons.empty() ? "the quality gate gave no reason"
                                                       : absl::StrJoin(outcome->reasons, "; ");
  LogWarning("request ", id, " needs the operator: ", reasons);
  absl::Status status = queue_->SetOutcome(id, 0, outcome->scores);
  if (status.ok()) {
    status = queue_->Transition(id, v1::EVALUATING, v1::NEEDS_OPERATOR, reasons);
  }
  if (status.ok() || absl::IsFailedPrecondition(status)) return Turn::kDone;
  return Wait(id, absl::StrCat("queue: ", status.message()));
}

RequestRunner::Turn RequestRunner::PublishOutcome(const std::string& id, const ActiveStack& base,
                                                  const TrainingOutcome& outcome) {
  const absl::Status begun = queue_->BeginPublishing(id);
  if (absl::IsFailedPrecondition(begun)) return Turn::kDone;  // cancelled
  if (!begun.ok()) return Wait(id, absl::StrCat("queue: ", begun.message()));
  const auto version = PublishAdapter(*store_, base, id, outcome);
  if (version.ok()) return FinishPublishing(id, *version);
  // An error may come after the version's last rename.
  const auto found = store_->FindVersionOfRequest(id);
  if (!found.ok()) return Wait(id, absl::StrCat("store: ", found.status().message()));
  if (found->has_value()) return FinishPublishing(id, **found);
  if (absl::IsAborted(version.status())) {
    LogWarning(version.status().message(), "; it is trained again");
    MoveTo(id, v1::TRAINING, std::string(version.status().message()));
    return Turn::kDone;
  }
  return Fail(id, version.status());
}

RequestRunner::Turn RequestRunner::FinishPublishing(const std::string& id, uint64_t version) {
  const auto finish = [&]() -> absl::Status {
    // A request whose version stands in the store can no longer be withdrawn.
    if (!MoveTo(id, v1::EVALUATING)) return absl::CancelledError("");
    RETURN_IF_ERROR(queue_->BeginPublishing(id));
    RETURN_IF_ERROR(EnsureActive(*store_, version, id));
    ASSIGN_OR_RETURN(const v1::Manifest manifest, store_->ReadManifest(version));
    RETURN_IF_ERROR(queue_->SetOutcome(
        id, version,
        std::map<std::string, double>(manifest.scores().begin(), manifest.scores().end())));
    return queue_->Transition(id, v1::EVALUATING, v1::PUBLISHED);
  };
  const absl::Status status = finish();
  if (status.ok()) {
    LogInfo("request ", id, " is published as version ", version);
    return Turn::kDone;
  }
  if (absl::IsCancelled(status)) return Turn::kDone;
  return Wait(
      id, absl::StrCat("version ", version, " is published but not active: ", status.message()));
}

bool RequestRunner::MoveTo(const std::string& id, v1::RequestState to, const std::string& message) {
  const auto queued = queue_->Get(id);
  absl::Status status = queued.status();
  if (queued.ok()) {
    v1::RequestState from = queued->request.state();
    if (!NeedsTraining(from)) return false;
    if (from == to && message.empty()) return true;
    // A killed trainer may have left RECEIVED behind with its version in the store.
    if (from == v1::RECEIVED && to == v1::EVALUATING) {
      status = queue_->Transition(id, from, v1::TRAINING);
      from = v1::TRAINING;
    }
    if (status.ok()) {
      status =
          from == to ? queue_->SetMessage(id, message) : queue_->Transition(id, from, to, message);
    }
  }
  if (!status.ok() && !absl::IsFailedPrecondition(status)) {
    LogError("request ", id, ": ", status.ToString());
  }
  return status.ok();
}

RequestRunner::Turn RequestRunner::Fail(const std::string& id, const absl::Status& status) {
  LogError("request ", id, " failed: ", status.ToString());
  const auto queued = queue_->Get(id);
  absl::Status written = queued.status();
  if (queued.ok() && NeedsTraining(queued->request.state())) {
    written = queue_->Transition(id, queued->request.state(), v1::FAILED, status.ToString());
  }
  if (written.ok() || absl::IsFailedPrecondition(written)) return Turn::kDone;
  LogError("request ", id, ": ", written.ToString());
  return Turn::kWait;
}

RequestRunner::Turn RequestRunner::Wait(const std::string& id, const std::string& message) {
  LogWarning("request ", id, " waits: ", message);
  const absl::Status status = queue_->SetMessage(id, message);
  if (!status.ok()) LogError("request ", id, ": ", status.ToString());
  return Turn::kWait;
}

void RequestRunner::CareLoop() {
  absl::Time next_poll = absl::InfinitePast();
  while (true) {
    const int64_t seen = queue_->changes().ChangeCount();
    if (stop_) return;
    bool again = false;
    // Our own messages are changes as well: without the clock they would make the loop spin.
    const bool poll = absl::Now() >= next_poll;
    if (poll) next_poll = absl::Now() + options_.enforcement_interval;
    const auto requests = queue_->AfterTraining();
    if (!requests.ok()) {
      LogError("the queue cannot be read: ", requests.status().ToString());
      again = true;
    } else {
      for (const QueuedRequest& queued : *requests) {
        if (stop_) return;
        if (CareFor(queued, poll)) again = true;
      }
    }
    queue_->changes().WaitForChange(seen, again ? next_poll : absl::InfiniteFuture());
  }
}

bool RequestRunner::CareFor(const QueuedRequest& queued, bool poll) {
  const std::string& id = queued.request.request_id();
  if (queued.request.state() == v1::CANCELLED) {
    absl::MutexLock lock(&mutex_);
    if (current_ == id) return false;  // the training thread erases it when it has stopped
  }
  if (!poll) return true;
  absl::Status status;
  if (queued.request.state() == v1::PUBLISHED) {
    const EnforcementAnswer answer = enforcement_->Check(id);
    if (!answer.enforced) {
      status = queue_->SetMessage(id, answer.message);
      if (!status.ok()) LogError("request ", id, ": ", status.ToString());
      return true;
    }
    status = queue_->Transition(id, v1::PUBLISHED, v1::ENFORCED);
    if (status.ok()) LogInfo("request ", id, " is enforced by every proxy");
  }
  if (status.ok()) status = eraser_->Erase(id);
  if (status.ok()) return false;
  LogError("request ", id, ": ", status.ToString());
  queue_->SetMessage(id, absl::StrCat("erasure: ", status.message())).IgnoreError();
  return true;
}

void RequestRunner::EraseOrLog(const std::string& id) {
  const absl::Status status = eraser_->Erase(id);
  // The other thread tries again: it is woken by whatever changes next.
  if (!status.ok()) {
    LogError("request ", id, ": ", status.ToString());
    queue_->changes().WakeAll();
  }
}

}  // namespace unlearn
