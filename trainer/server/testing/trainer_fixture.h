#ifndef TRAINER_SERVER_TESTING_TRAINER_FIXTURE_H_
#define TRAINER_SERVER_TESTING_TRAINER_FIXTURE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "offset/store/version_store.h"
#include "trainer/ledger/enforcement.h"
#include "trainer/ledger/eraser.h"
#include "trainer/queue/request_queue.h"
#include "trainer/server/request_runner.h"
#include "trainer/train/offset_trainer.h"

namespace unlearn {

// A trainer without models: counts steps in the work folder, goes on from there, and does what the
// test tells it to do between them.
class FakeTrainer : public OffsetTrainer {
 public:
  struct Script {
    int steps = 5;
    bool accepted = true;
    absl::Status fails;         // after the last step
    int unavailable_times = 0;  // before the first step
    // Called after each step; may block.
    std::function<void(const TrainingJob&, int step)> after_step;
    // Called once Train is about to return an outcome.
    std::function<void(const TrainingJob&)> before_return;
  };
  void Set(Script script);
  absl::StatusOr<TrainingOutcome> Train(
      const TrainingJob& job, SealedFolder& work,
      const std::function<void(const TrainingProgress&)>& progress,
      const std::function<bool()>& should_stop) override;

  // One line per call of Train: request, size of the stack, and the step it began at.
  std::vector<std::string> calls() const;

 private:
  mutable absl::Mutex mutex_;
  Script script_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mutex_);
};

class FakeEnforcement : public EnforcementChecker {
 public:
  EnforcementAnswer Check(const std::string&) override {
    absl::MutexLock lock(&mutex_);
    ++checks_;
    return answer_;
  }
  void Answer(EnforcementAnswer answer) {
    absl::MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  int checks() const {
    absl::MutexLock lock(&mutex_);
    return checks_;
  }

 private:
  mutable absl::Mutex mutex_;
  EnforcementAnswer answer_ ABSL_GUARDED_BY(mutex_) = {true, ""};
  int checks_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Queue, store (with version 0 active) and runner below one folder, as main() puts them together,
// with everything that takes time or a network replaced.
class TrainerFixture {
 public:
  // Opens what is there, or makes it. Ends the process on an error: tests cannot go on.
  explicit TrainerFixture(const std::string& folder);
  ~TrainerFixture();
  // Tears the objects down as the end of a process does, and opens them again; not started.
  void Restart();
  void Start() { runner->Start(); }

  std::string Submit(const std::string& answer = "an answer", const std::string& key = "");
  v1::DeletionRequest Get(const std::string& id);
  // Waits until the request is in the state (and erased, for CANCELLED), at most five minutes.
  v1::DeletionRequest WaitFor(const std::string& id, v1::RequestState state);
  std::vector<std::string> EnforcedNow();

  const std::string folder;
  RunnerOptions options;
  FakeTrainer trainer;
  FakeEnforcement enforcement;
  std::unique_ptr<VersionStore> store;
  std::unique_ptr<RequestQueue> queue;
  std::unique_ptr<Eraser> eraser;
  std::unique_ptr<RequestRunner> runner;

 private:
  void Open();
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_TESTING_TRAINER_FIXTURE_H_
