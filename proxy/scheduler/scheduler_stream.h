#ifndef PROXY_SCHEDULER_SCHEDULER_STREAM_H_
#define PROXY_SCHEDULER_SCHEDULER_STREAM_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/stream_task.h"
#include "proxy/upstream/upstream.h"

// What the scheduler's own sources share.
namespace unlearn {

// Everything but `cancelled` belongs to the scheduler's thread once submitted.
class Scheduler::Stream {
 public:
  StreamTask task;
  std::shared_ptr<StreamSink> sink;
  std::atomic<bool> cancelled{false};
  int64_t reserved = 0;

  std::unique_ptr<UpstreamSession> session;
  int pair_stream = -1;
  bool finished = false;

  int32_t length = 0;            // tokens fed before the current ones
  std::vector<int32_t> feeding;  // given to M; the pair takes them in pieces
  size_t pair_fed = 0;
  int32_t wanted = 0;  // rows: predictions after the last `wanted` tokens of `feeding`
  bool model_ready = false;
  bool pair_ready = false;
  // Of the drawer, one for each wanted row: the first from admission to the end, more to score.
  std::vector<int> slots;
  int32_t drawn = 0;

  // Where M tells tops, in place of slots: one row.
  TopRow top;
  at::Tensor delta;       // [1, vocab]
  int32_t asked_top = 0;  // of this position

  absl::Time submitted;
  absl::Time fed;
  absl::Time last_token;
  StreamTiming timing;
};

struct Scheduler::ModelRows {
  std::shared_ptr<Stream> stream;
  absl::Status status;  // OK: the rows are in the stream's slots
  absl::Time arrived;
  TopRow top;  // where M tells that instead
};

// A stack that somebody waits for.
struct Scheduler::Warming {
  std::shared_ptr<const LoraStack> stack;
  // Guarded by the scheduler's mutex.
  bool done = false;
  absl::Status result;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SCHEDULER_STREAM_H_
