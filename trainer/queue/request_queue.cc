#include "trainer/queue/request_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "trainer/queue/request_id.h"
#include "trainer/queue/request_states.h"

namespace unlearn {
namespace {

constexpr char kOwnKey[] = "queue";

std::string PayloadContext(const std::string& id) { return absl::StrCat("payload ", id); }

// Equal bytes for equal messages; without what may differ between two tries of one submission.
std::string ComparableBytes(v1::SubmitRequest submit) {
  submit.clear_idempotency_key();
  return submit.SerializeAsString();  // no maps inside: deterministic within one program
}

absl::Status NotErasable(const QueuedRequest& queued) {
  return absl::FailedPreconditionError(
      absl::StrCat("request ", queued.request.request_id(), " is ",
                   v1::RequestState_Name(queued.request.state()),
                   "; only ENFORCED and CANCELLED requests are erased"));
}

}  // namespace

RequestQueue::RequestQueue(std::string folder, int lock_fd)
    : folder_(std::move(folder)), lock_fd_(lock_fd), keys_(JoinPath(folder_, "keys")) {}

RequestQueue::~RequestQueue() {
  {
    absl::MutexLock lock(&mutex_);
    table_.reset();
  }
  close(lock_fd_);
}

absl::StatusOr<std::unique_ptr<RequestQueue>> RequestQueue::Open(const std::string& state_folder) {
  RETURN_IF_ERROR(MakeFolders(state_folder, 0700));
  const std::string lock_path = JoinPath(state_folder, "lock");
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot open ", lock_path, " (--state): ", strerror(errno)));
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat("another trainer uses the folder ", state_folder,
                     " (--state); stop it, or give this one a folder of its own"));
  }
  std::unique_ptr<RequestQueue> queue(new RequestQueue(state_folder, fd));
  RETURN_IF_ERROR(queue->Prepare());
  return queue;
}

absl::Status RequestQueue::Prepare() {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(table_, RequestTable::Open(JoinPath(folder_, "queue.db")));
  }
  if (keys_.Has(kOwnKey)) {
    ASSIGN_OR_RETURN(own_key_, keys_.Get(kOwnKey));
  } else {
    ASSIGN_OR_RETURN(own_key_, keys_.Create(kOwnKey));
  }
  RETURN_IF_ERROR(SyncFolder(folder_));
  ASSIGN_OR_RETURN(const std::vector<std::string> orphans, Orphans());
  for (const std::string& name : orphans) RETURN_IF_ERROR(DestroyOrphan(name));
  return absl::OkStatus();
}

absl::StatusOr<std::string> RequestQueue::Submit(const v1::SubmitRequest& submit) {
  std::string id;
  {
    absl::MutexLock lock(&mutex_);
    std::string mac;
    if (!submit.idempotency_key().empty()) {
      mac = own_key_->Mac(submit.idempotency_key());
      ASSIGN_OR_RETURN(const absl::optional<std::string> known, FindIdempotent(mac, submit));
      if (known.has_value()) return *known;
    }
    id = RandomRequestId();
    // The key is on the disk before the row that needs it.
    const auto key = keys_.Create(id);
    absl::Status status = key.status();
    if (status.ok()) {
      const std::string sealed = (*key)->Seal(submit.SerializeAsString(), PayloadContext(id));
      status = table_->Insert(id, mac, sealed, submit);
    }
    if (!status.ok()) {
      // Only a row that is certainly absent may lose its key: a failed commit leaves doubt.
      if (absl::IsNotFound(table_->Get(id).status())) keys_.Destroy(id).IgnoreError();
      return absl::Status(status.code(),
                          absl::StrCat("the request was not accepted: ", status.message()));
    }
  }
  changes_.Changed(id);
  return id;
}

absl::StatusOr<absl::optional<std::string>> RequestQueue::FindIdempotent(
    const std::string& mac, const v1::SubmitRequest& submit) const {
  ASSIGN_OR_RETURN(absl::optional<std::string> id, table_->FindByIdempotencyMac(mac));
  if (!id.has_value()) return id;
  // After erasure nothing is left to compare with.
  const auto stored = StoredPayload(*id);
  if (stored.ok() && ComparableBytes(*stored) != ComparableBytes(submit)) {
    return absl::AlreadyExistsError(
        absl::StrCat("the field idempotency_key belongs to request ", *id,
                     ", which was submitted with other contents; use a new key"));
  }
  return id;
}

void RequestQueue::AddProgress(QueuedRequest* queued) const {
  const auto progress = progress_.find(queued->request.request_id());
  if (progress == progress_.end()) return;
  queued->request.set_step(progress->second.step);
  queued->request.set_steps(progress->second.steps);
  queued->request.set_loss(progress->second.loss);
}

absl::StatusOr<QueuedRequest> RequestQueue::GetLocked(const std::string& id) const {
  ASSIGN_OR_RETURN(QueuedRequest queued, table_->Get(id));
  AddProgress(&queued);
  return queued;
}

absl::StatusOr<QueuedRequest> RequestQueue::Get(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  return GetLocked(id);
}

absl::StatusOr<std::vector<QueuedRequest>> RequestQueue::List() const {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(std::vector<QueuedRequest> all, table_->All());
  for (QueuedRequest& queued : all) AddProgress(&queued);
  return all;
}

absl::StatusOr<absl::optional<QueuedRequest>> RequestQueue::Next() const {
  absl::MutexLock lock(&mutex_);
  return table_->OldestToTrain();
}

absl::StatusOr<std::vector<QueuedRequest>> RequestQueue::AfterTraining() const {
  absl::MutexLock lock(&mutex_);
  return table_->AfterTraining();
}

absl::Status RequestQueue::Transition(const std::string& id, v1::RequestState from,
                                      v1::RequestState to, const std::string& message) {
  RETURN_IF_ERROR(CheckTransition(from, to));
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(QueuedRequest queued, GetLocked(id));
    if (queued.request.state() != from) {
      return absl::FailedPreconditionError(
          absl::StrCat("request ", id, " is ", v1::RequestState_Name(queued.request.state()),
                       ", not ", v1::RequestState_Name(from)));
    }
    if (to == v1::CANCELLED && queued.publishing) {
      return absl::FailedPreconditionError(
          absl::StrCat("request ", id, " is being published; it is too late to cancel it"));
    }
    queued.request.set_state(to);
    queued.request.set_message(message);
    queued.publishing = false;
    RETURN_IF_ERROR(table_->Update(queued));
    if (!NeedsTraining(to)) progress_.erase(id);
  }
  changes_.Changed(id);
  return absl::OkStatus();
}

absl::Status RequestQueue::Retry(const std::string& id,
                                 const absl::optional<v1::TrainingSettings>& settings) {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(QueuedRequest queued, table_->Get(id));
    v1::DeletionRequest& request = queued.request;
    if (!IsRetryable(request.state())) {
      return absl::FailedPreconditionError(
          absl::StrCat("request ", id, " is ", v1::RequestState_Name(request.state()),
                       "; only FAILED and NEEDS_OPERATOR requests are trained again"));
    }
    request.set_state(v1::RECEIVED);
    if (settings.has_value()) *request.mutable_settings() = *settings;
    request.clear_message();
    request.clear_step();
    request.clear_steps();
    request.clear_loss();
    request.clear_scores();
    queued.publishing = false;
    RETURN_IF_ERROR(table_->Update(queued));
    progress_.erase(id);
  }
  changes_.Changed(id);
  return absl::OkStatus();
}

absl::Status RequestQueue::BeginPublishing(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(QueuedRequest queued, GetLocked(id));
  if (queued.request.state() != v1::EVALUATING) {
    return absl::FailedPreconditionError(absl::StrCat(
        "request ", id, " is ", v1::RequestState_Name(queued.request.state()), ", not EVALUATING"));
  }
  queued.publishing = true;
  return table_->Update(queued);
}

absl::Status RequestQueue::SetMessage(const std::string& id, const std::string& message) {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(QueuedRequest queued, GetLocked(id));
    if (queued.request.message() == message) return absl::OkStatus();
    queued.request.set_message(message);
    RETURN_IF_ERROR(table_->Update(queued));
  }
  changes_.Changed(id);
  return absl::OkStatus();
}

absl::Status RequestQueue::SetOutcome(const std::string& id, uint64_t offset_version,
                                      const std::map<std::string, double>& scores) {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(QueuedRequest queued, GetLocked(id));
    queued.request.set_offset_version(offset_version);
    queued.request.clear_scores();
    queued.request.mutable_scores()->insert(scores.begin(), scores.end());
    RETURN_IF_ERROR(table_->Update(queued));
  }
  changes_.Changed(id);
  return absl::OkStatus();
}

void RequestQueue::UpdateProgress(const std::string& id, int step, int steps, double loss) {
  {
    absl::MutexLock lock(&mutex_);
    progress_[id] = Progress{step, steps, loss};
  }
  changes_.Progressed(id);
}

absl::StatusOr<v1::SubmitRequest> RequestQueue::StoredPayload(const std::string& id) const {
  ASSIGN_OR_RETURN(const std::string sealed, table_->SealedPayload(id));
  const auto key = keys_.Get(id);
  if (!key.ok()) {
    return absl::DataLossError(
        absl::StrCat("the key of request ", id, " cannot be read: ", key.status().message()));
  }
  ASSIGN_OR_RETURN(
      const std::string bytes,
      (*key)->Open(sealed, PayloadContext(id), absl::StrCat("the payload of request ", id)));
  v1::SubmitRequest submit;
  if (!submit.ParseFromString(bytes)) {
    return absl::DataLossError(absl::StrCat("the payload of request ", id, " cannot be parsed"));
  }
  return submit;
}

absl::StatusOr<v1::SubmitRequest> RequestQueue::Payload(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const QueuedRequest queued, table_->Get(id));
  ASSIGN_OR_RETURN(v1::SubmitRequest submit, StoredPayload(id));
  *submit.mutable_settings() = queued.request.settings();
  return submit;
}

SealedFolder RequestQueue::WorkFolder(const std::string& id) const {
  auto key = keys_.Get(id);
  return SealedFolder(JoinPath(JoinPath(folder_, "work"), id), key.ok() ? *key : nullptr);
}

absl::Status RequestQueue::Erase(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const QueuedRequest queued, table_->Get(id));
  const v1::RequestState state = queued.request.state();
  if (state != v1::ENFORCED && state != v1::CANCELLED) return NotErasable(queued);
  RETURN_IF_ERROR(keys_.Destroy(id));
  return table_->DeletePayload(id);
}

absl::Status RequestQueue::MarkErased(const std::string& id) {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(QueuedRequest queued, table_->Get(id));
    const v1::RequestState state = queued.request.state();
    if (state != v1::ENFORCED && state != v1::CANCELLED) return NotErasable(queued);
    if (keys_.Has(id) || !absl::IsNotFound(table_->SealedPayload(id).status())) {
      return absl::FailedPreconditionError(
          absl::StrCat("the key or the payload of request ", id, " is still there"));
    }
    if (state == v1::ENFORCED) {
      queued.request.set_state(v1::ERASED);
      queued.request.clear_message();
    } else {
      queued.request.set_message("withdrawn; its text is erased");
    }
    queued.erased = true;
    RETURN_IF_ERROR(table_->Update(queued));
  }
  changes_.Changed(id);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> RequestQueue::Orphans() const {
  std::set<std::string> live = {kOwnKey};
  ASSIGN_OR_RETURN(const std::vector<QueuedRequest> requests, List());
  for (const QueuedRequest& queued : requests) {
    if (!queued.erased) live.insert(queued.request.request_id());
  }
  ASSIGN_OR_RETURN(std::vector<std::string> names, keys_.Names());
  const std::string work = JoinPath(folder_, "work");
  if (FileExists(work)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> folders, ListFolder(work));
    names.insert(names.end(), folders.begin(), folders.end());
  }
  std::set<std::string> orphans;
  for (const std::string& name : names) {
    if (absl::StartsWith(name, "req-") && live.count(name) == 0) orphans.insert(name);
  }
  return std::vector<std::string>(orphans.begin(), orphans.end());
}

absl::Status RequestQueue::DestroyOrphan(const std::string& name) {
  LogWarning("removing what an interrupted request left in ", folder_, ": ", name);
  RETURN_IF_ERROR(keys_.Destroy(name));
  return SealedFolder(JoinPath(JoinPath(folder_, "work"), name), nullptr).Destroy();
}

}  // namespace unlearn
