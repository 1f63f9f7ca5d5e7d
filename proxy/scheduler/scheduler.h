#ifndef PROXY_SCHEDULER_SCHEDULER_H_
#define PROXY_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "offset/pair/ensemble_drawer.h"
#include "offset/pair/pair_engine.h"
#include "proxy/decode/draft_length.h"
#include "proxy/scheduler/drawer_slots.h"
#include "proxy/scheduler/scheduler_metrics.h"
#include "proxy/scheduler/stream_task.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Draws tokens of many streams. In lockstep each token's step of M runs at the same time as the
// pair's pass; when both are there, the ensemble is combined and sampled where the pair lives. With
// drafts the pair runs ahead, and M's step is about all that it drafted. One thread owns the pair
// and batches it over all streams that are ready, prefills in pieces between them. Thread-safe.
class Scheduler {
 public:
  struct Options {
    // Each stream takes a row of what tokens are drawn from, and streams that draft or score share
    // kSpareRows more: on a GPU 12 bytes of its memory for each row and id of the vocabulary.
    int max_streams = 256;
    int pair_tokens_per_pass = 256;  // of prefill, so that running streams are not stalled
    // Ids of the tokenizer. Rows that the pair or M have beyond them are padding: they stand for no
    // token and are never drawn. 0: as many as the pair has.
    int64_t tokens = 0;
    // Where M tells its most likely tokens only, and these cannot decide a token: it is drawn from
    // the ensemble over them if no more of M's law than this is missing. 0: never.
    double max_truncated_mass = 0;
  };

  // A submitted stream; Cancel ends it with CANCELLED at the next token boundary.
  class Stream;

  // Rows that streams that draft or score may ask M for beyond one each, all of them together.
  static constexpr int kSpareRows = 128;

  // RESOURCE_EXHAUSTED when the pair's GPU has no memory for the rows of so many streams.
  static absl::StatusOr<std::unique_ptr<Scheduler>> Create(Upstream* upstream,
                                                           std::unique_ptr<PairEngine> pair,
                                                           const Options& options,
                                                           SchedulerMetrics* metrics);
  // Ends every stream with UNAVAILABLE, then stops the thread.
  ~Scheduler();

  // RESOURCE_EXHAUSTED when max_streams run or the pair's cache has no room for prompt and
  // completion; UNIMPLEMENTED for what M's server cannot do, such as to score where it tells its
  // most likely tokens only; UNAVAILABLE when M takes no session or the scheduler is stopping.
  // The decoding of a task that was taken is never kAuto.
  absl::StatusOr<std::shared_ptr<Stream>> Submit(StreamTask task, std::shared_ptr<StreamSink> sink);
  void Cancel(const std::shared_ptr<Stream>& stream);

  // Gets the pair ready for a version's stack, between two passes; returns when it is, which on the
  // CPU is at once. To be called before the version's first stream, which would wait otherwise.
  // UNAVAILABLE when the scheduler is stopping.
  absl::Status Warm(std::shared_ptr<const LoraStack> stack);

  // Streams under way by offset version.
  std::map<uint64_t, int> StreamsByVersion() const;
  // How many ids can be drawn.
  int64_t vocab_size() const { return vocab_size_; }

 private:
  struct ModelRows;
  struct Streamed;
  struct Warming;

  Scheduler(Upstream* upstream, std::unique_ptr<PairEngine> pair,
            std::unique_ptr<EnsembleDrawer> drawer, const Options& options,
            SchedulerMetrics* metrics, int64_t vocab_size);

  void Run();
  // The steps of the thread's loop, in order.
  void TakeEvents() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Admit(const std::shared_ptr<Stream>& stream);
  void WarmStacks(const absl::Status& stopping) ABSL_LOCKS_EXCLUDED(mutex_);
  void RunPairPass();
  // Until when the pair's next pass had better wait for streams that may join it; in the past where
  // there is nothing to be gained.
  absl::Time GatherUntil() const;
  // Whatever can be drawn now.
  void Draw();
  // Streams that draft get their next draft, or ask M when they have enough.
  void DrawDrafts();
  void DrawReady();
  // The same where M tells its most likely tokens only.
  void DrawReadyTops();
  // What did not settle the stream's next token: asks M for more of the same place, or ends the
  // stream. `step`: the tokens that M needs to be there.
  bool CanAskMore(const Stream& stream, bool more_helps) const;
  // Whether the operator and the request allow a token over the told part of M's law.
  bool MayTruncate(const Stream& stream, bool more_helps, double truncated_mass) const;
  void AskForMore(const std::shared_ptr<Stream>& stream, bool more_helps, size_t known,
                  UpstreamStep step);
  // Tokens that M's server drew and the pair has seen.
  void VerifyStreamed();
  // The first of them; false when there is no more to do for the stream now.
  bool VerifyOne(const std::shared_ptr<Stream>& stream);
  absl::Status TakeSampled(Stream& stream, SampledRows sampled, absl::Time arrived);
  // M goes on after all that is known of the stream's text.
  void OpenSample(const std::shared_ptr<Stream>& stream);
  // The pair's next tokens, of those that M drew.
  void FeedSampled(Stream& stream);
  // What was drawn for the stream's rows goes out, its next tokens go to M and the pair.
  void Take(const std::shared_ptr<Stream>& stream,
            const std::vector<absl::StatusOr<SampledToken>>& drawn);
  // One token goes out; false if the stream has ended with it.
  bool Emit(const std::shared_ptr<Stream>& stream, DrawnToken token);

  // The stream's next tokens, for the pair; rows are wanted for the last `wanted` of them, as many
  // as it has slots at most.
  static void Begin(Stream& stream, std::vector<int32_t> tokens, int32_t wanted);
  // After a drawn token: a draft, or M's next step.
  void GoOn(const std::shared_ptr<Stream>& stream, int32_t token);
  // Gives M the same tokens; the answer comes as an event.
  void AskModel(const std::shared_ptr<Stream>& stream);
  void Ask(const std::shared_ptr<Stream>& stream, UpstreamStep step);
  // How many streams want more rows than their own.
  size_t CountSharers() const;
  void Finish(const std::shared_ptr<Stream>& stream, const absl::Status& status, bool hit_end);
  bool HasEvents() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Upstream* const upstream_;
  const std::unique_ptr<PairEngine> pair_;
  const std::unique_ptr<EnsembleDrawer> drawer_;  // of pair_
  const Options options_;
  SchedulerMetrics* const metrics_;
  const int64_t vocab_size_;
  const bool tells_tops_;  // M, its most likely tokens only

  // Of the scheduler's thread only.
  std::vector<std::shared_ptr<Stream>> running_;
  std::vector<std::shared_ptr<Stream>> new_streams_;
  std::vector<ModelRows> new_rows_;
  std::vector<std::shared_ptr<Warming>> new_warmings_;
  DrawerSlots slots_;  // of drawer_
  DraftCosts costs_;

  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<Stream>> submitted_ ABSL_GUARDED_BY(mutex_);
  std::vector<ModelRows> arrived_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Warming>> warmings_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t reserved_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, int> by_version_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SCHEDULER_H_
