#include "tools/bench_runner/bare_streams.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

// Counts the streams that are still decoding.
class Open {
 public:
  explicit Open(int count) : count_(count) {}
  void Done(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    status_.Update(status);
    --count_;
  }
  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](Open* open) ABSL_NO_THREAD_SAFETY_ANALYSIS { return open->count_ == 0; }, this));
    return status_;
  }

 private:
  absl::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Feeds each answer's most likely token back. Its steps come one after the other, so nothing but
// the end is shared between threads.
class BareStream {
 public:
  BareStream(std::unique_ptr<UpstreamSession> session, int tokens, Open* open)
      : session_(std::move(session)), left_(tokens), open_(open) {}

  void Feed(std::vector<int32_t> tokens) {
    UpstreamStep step;
    step.base_position = length_;
    length_ += static_cast<int32_t>(tokens.size());
    step.token_ids = std::move(tokens);
    session_->Step(std::move(step), [this](absl::StatusOr<UpstreamLogits> result) {
      if (!result.ok() || --left_ == 0) {
        open_->Done(result.status());
        return;
      }
      const std::vector<float>& row = result->logits;
      Feed({static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin())});
    });
  }

 private:
  const std::unique_ptr<UpstreamSession> session_;
  int left_;
  int32_t length_ = 0;
  Open* const open_;
};

}  // namespace

absl::Status DecodeBare(Upstream& upstream, const std::vector<std::vector<int32_t>>& prompts,
                        int tokens) {
  Open open(static_cast<int>(prompts.size()));
  std::vector<std::unique_ptr<BareStream>> streams;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSIGN_OR_RETURN(auto session, upstream.NewSession());
    streams.push_back(std::make_unique<BareStream>(std::move(session), tokens, &open));
  }
  for (size_t i = 0; i < prompts.size(); ++i) streams[i]->Feed(prompts[i]);
  return open.Wait();
}

}  // namespace unlearn
