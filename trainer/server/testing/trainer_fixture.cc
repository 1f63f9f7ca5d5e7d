#include "trainer/server/testing/trainer_fixture.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/file.h"
#include "offset/base/log.h"
#include "offset/store/version_rules.h"

namespace unlearn {
namespace {

template <typename T>
T Must(absl::StatusOr<T> value, const char* what) {
  if (!value.ok()) {
    LogError(what, ": ", value.status().ToString());
    std::abort();
  }
  return *std::move(value);
}

void Must(const absl::Status& status, const char* what) {
  Must(status.ok() ? absl::StatusOr<int>(0) : absl::StatusOr<int>(status), what);
}

}  // namespace

void FakeTrainer::Set(Script script) {
  absl::MutexLock lock(&mutex_);
  script_ = std::move(script);
}

std::vector<std::string> FakeTrainer::calls() const {
  absl::MutexLock lock(&mutex_);
  return calls_;
}

absl::StatusOr<TrainingOutcome> FakeTrainer::Train(
    const TrainingJob& job, SealedFolder& work,
    const std::function<void(const TrainingProgress&)>& progress,
    const std::function<bool()>& should_stop) {
  int step = 0;
  const auto checkpoint = work.Read("checkpoint");
  if (checkpoint.ok() && !absl::SimpleAtoi(*checkpoint, &step)) {
    return absl::InternalError("a strange checkpoint");
  }
  Script script;
  {
    absl::MutexLock lock(&mutex_);
    script = script_;
    calls_.push_back(absl::StrCat(job.request_id, " on ", job.stack.size(), " from ", step));
    if (script_.unavailable_times > 0) {
      --script_.unavailable_times;
      return absl::UnavailableError("M does not answer");
    }
  }
  // Forget text in the work folder, as the real one's caches hold it.
  absl::Status cached = work.Write("cache", job.request.SerializeAsString());
  if (!cached.ok()) return cached;
  for (; step < script.steps; ++step) {
    if (should_stop()) return absl::CancelledError("asked to stop");
    const absl::Status written = work.Write("checkpoint", absl::StrCat(step + 1));
    if (!written.ok()) return written;
    TrainingProgress now;
    now.step = step + 1;
    now.steps = script.steps;
    now.loss = 1.0 / (step + 1);
    progress(now);
    if (script.after_step) script.after_step(job, step + 1);
  }
  TrainingProgress judged;
  judged.step = judged.steps = script.steps;
  judged.evaluating = true;
  progress(judged);
  if (should_stop()) return absl::CancelledError("asked to stop");
  if (!script.fails.ok()) return script.fails;
  if (script.before_return) script.before_return(job);
  TrainingOutcome outcome;
  outcome.accepted = script.accepted;
  if (!script.accepted) outcome.reasons = {"forget_rate 0.5 is above 0.1", "keep 0.2 is below 0.9"};
  outcome.scores = {{"forget_rate", script.accepted ? 0.0 : 0.5}};
  outcome.adapter = absl::StrCat("adapter of ", job.request_id);
  outcome.rank = 4;
  outcome.alpha = 1;
  outcome.objective = job.request.settings().objective();
  outcome.seed = 3;
  return outcome;
}

TrainerFixture::TrainerFixture(const std::string& folder) : folder(folder) {
  options.first_retry = absl::Milliseconds(1);
  options.longest_retry = absl::Milliseconds(4);
  options.enforcement_interval = absl::Milliseconds(2);
  Must(MakeFolders(folder), "folder");
  Open();
}

TrainerFixture::~TrainerFixture() {
  if (runner != nullptr) runner->Stop();
}

void TrainerFixture::Open() {
  const std::string key_file = JoinPath(folder, "store.key");
  if (!FileExists(key_file)) Must(SealingKey::Generate().Save(key_file), "key");
  SealingKey key = Must(SealingKey::Load(key_file), "key");
  store = Must(VersionStore::Create(JoinPath(folder, "store"), std::move(key)), "store");
  v1::Manifest draft;
  draft.set_model_id("tiny");
  draft.set_alpha(1);
  draft.set_combiner("delta");
  draft.set_vocab_size(10);
  const absl::Status made = store->InitVersionZero(draft);
  if (!absl::IsAlreadyExists(made)) Must(made, "version 0");
  if (!store->ActiveVersion().ok()) Must(store->Activate(0, {}, "test"), "activation");
  queue = Must(RequestQueue::Open(JoinPath(folder, "state")), "queue");
  eraser = std::make_unique<Eraser>(queue.get());
  runner = std::make_unique<RequestRunner>(queue.get(), store.get(), &trainer, &enforcement,
                                           eraser.get(), options);
}

void TrainerFixture::Restart() {
  runner.reset();
  eraser.reset();
  queue.reset();
  store.reset();
  Open();
}

std::string TrainerFixture::Submit(const std::string& answer, const std::string& key) {
  v1::SubmitRequest submit;
  v1::Item* item = submit.add_forget();
  item->set_question("Where?");
  item->set_answer(answer);
  submit.set_idempotency_key(key);
  return Must(queue->Submit(submit), "submit");
}

v1::DeletionRequest TrainerFixture::Get(const std::string& id) {
  return Must(queue->Get(id), "get").request;
}

v1::DeletionRequest TrainerFixture::WaitFor(const std::string& id, v1::RequestState state) {
  const absl::Time deadline = absl::Now() + absl::Minutes(5);
  while (true) {
    const int64_t seen = queue->changes().ChangeCount();
    const QueuedRequest now = Must(queue->Get(id), "get");
    if (now.request.state() == state && (state != v1::CANCELLED || now.erased)) return now.request;
    if (!queue->changes().WaitForChange(seen, deadline)) {
      LogError("still ", v1::RequestState_Name(now.request.state()), " (", now.request.message(),
               "), not ", v1::RequestState_Name(state));
      std::abort();
    }
  }
}

std::vector<std::string> TrainerFixture::EnforcedNow() {
  const uint64_t active = Must(store->ActiveVersion(), "active");
  return EnforcedRequests(Must(store->ReadManifest(active), "manifest"));
}

}  // namespace unlearn
