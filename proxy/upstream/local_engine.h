#ifndef PROXY_UPSTREAM_LOCAL_ENGINE_H_
#define PROXY_UPSTREAM_LOCAL_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "offset/model/cached_forward.h"
#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// The device thread of LocalUpstream and its queue. A pass takes the first step of every session
// that has one: short steps (decoding, drafts) whole, long ones a chunk at a time in order of
// arrival. Thread-safe.
class LocalEngine {
 public:
  struct PendingStep {
    UpstreamStep step;
    UpstreamSession::Callback done;
    bool begun = false;
    bool finished = false;
    int64_t rows_run = 0;
    UpstreamLogits result;
  };

  // A session as the engine sees it.
  struct Sequence {
    // Guarded by the engine's mutex. While `active`, the first step belongs to the device thread;
    // others only append.
    std::deque<PendingStep> steps;
    bool active = false;  // the device thread knows that there are steps
    bool closed = false;  // the session's destructor has begun
    bool ended = false;   // no callback will run any more
    // Of the device thread.
    int cache_sequence = -1;
    int64_t length = 0;
  };

  LocalEngine(std::shared_ptr<const Decoder> decoder, std::unique_ptr<KvCache> cache,
              int64_t prefill_chunk);
  ~LocalEngine();

  void Step(const std::shared_ptr<Sequence>& sequence, UpstreamStep step,
            UpstreamSession::Callback done);
  // Waits until no callback of the sequence runs or will run.
  void Close(const std::shared_ptr<Sequence>& sequence);
  // Ends the thread. Idempotent; not from a callback.
  void Stop();

  int64_t free_tokens() const { return free_tokens_.load(std::memory_order_relaxed); }
  int64_t total_tokens() const { return total_tokens_; }

 private:
  using SequenceList = std::vector<std::shared_ptr<Sequence>>;

  // A part of a step that runs in this pass.
  struct Slice {
    Sequence* sequence;
    PendingStep* step;
    int64_t rows;
  };

  void Run();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops answered steps, cancels closed sequences, takes new ones; waits when there are none.
  // False: stopped.
  bool NextPass();
  void CancelAll();
  void RunPass();
  // Checks the step and reserves its pages.
  absl::Status Begin(Sequence& sequence, const UpstreamStep& step);
  std::vector<Slice> ChooseSlices();
  absl::Status RunSlices(const std::vector<Slice>& slices);
  void Finish(Sequence& sequence, PendingStep& step, absl::Status status);
  static void Cancel(std::deque<PendingStep> steps);

  const std::shared_ptr<const Decoder> decoder_;
  const std::unique_ptr<KvCache> cache_;  // of the device thread
  const int64_t prefill_chunk_;
  const int64_t total_tokens_;
  std::atomic<int64_t> free_tokens_;

  // Of the device thread: sequences with steps, oldest first, and their first steps.
  SequenceList active_;
  std::vector<std::pair<Sequence*, PendingStep*>> heads_;

  absl::Mutex mutex_;
  SequenceList arrivals_ ABSL_GUARDED_BY(mutex_);  // not yet in active_
  SequenceList released_ ABSL_GUARDED_BY(mutex_);  // closed while idle: their pages are to be freed
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool refusing_ ABSL_GUARDED_BY(mutex_) = false;  // the device thread takes no more steps
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_LOCAL_ENGINE_H_
