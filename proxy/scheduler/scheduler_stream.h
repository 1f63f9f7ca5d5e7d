#ifndef PROXY_SCHEDULER_SCHEDULER_STREAM_H_
#define PROXY_SCHEDULER_SCHEDULER_STREAM_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proxy/decode/draft_length.h"
#include "proxy/decode/streamed_position.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/stream_task.h"
#include "proxy/upstream/upstream.h"

// What the scheduler's own sources share.
namespace unlearn {

// Of stream and verify.
struct Scheduler::Streamed {
  std::vector<int32_t> text;    // prompt, and tokens that have gone out
  std::deque<SampledRow> rows;  // what M drew after it
  // Of the first of them, while it is not decided.
  std::optional<StreamedPosition> position;
  int32_t held = 0;          // tokens of text and rows that M's session holds
  int number = 0;            // of the last Sample; what earlier ones still give is void
  bool open = false;         // M draws
  bool asking = false;       // for more of M's law of the first row
  bool interrupted = false;  // M's stream, by that

  // Of text and rows.
  int32_t TokenAt(size_t position) const {
    return position < text.size() ? text[position] : rows[position - text.size()].id;
  }
};

// Everything but `cancelled` belongs to the scheduler's thread once submitted.
class Scheduler::Stream {
 public:
  StreamTask task;
  std::shared_ptr<StreamSink> sink;
  std::atomic<bool> cancelled{false};
  int64_t reserved = 0;
  Decoding decoding = Decoding::kLockstep;  // never kAuto

  std::unique_ptr<UpstreamSession> session;
  int pair_stream = -1;
  bool finished = false;

  int32_t length = 0;            // tokens before those of `feeding`
  std::vector<int32_t> feeding;  // given to M; the pair takes them in pieces
  size_t pair_fed = 0;
  int32_t wanted = 0;  // rows: predictions after the last `wanted` tokens of `feeding`
  bool model_ready = false;
  bool pair_ready = false;
  // While the pair drafts, `feeding` grows and M waits.
  int drafts_left = 0;
  std::optional<DraftLength> draft_length;  // not there: no drafts
  // Of the drawer, one for each wanted row: the first from admission to the end, more to score.
  std::vector<int> slots;
  int32_t drawn = 0;

  // Where M tells tops, in place of slots.
  std::deque<at::Tensor> deltas;  // [1, vocab] each; of the next tokens, as far as the pair is
  TopRow top;
  int32_t asked_top = 0;  // of the next token
  std::optional<Streamed> streamed;

  bool PairHasWork() const { return pair_fed < feeding.size(); }

  absl::Time submitted;
  absl::Time asked;  // M
  absl::Time last_token;
  StreamTiming timing;
};

struct Scheduler::ModelRows {
  std::shared_ptr<Stream> stream;
  absl::Status status;  // OK: the rows are in the stream's slots
  absl::Time arrived;
  TopRow top;           // where M tells that instead
  SampledRows sampled;  // of stream and verify
  int number = -1;      // its Sample; otherwise the answer to a step
};

// Of a delta, [1, vocab].
inline absl::Span<const float> RowOf(const at::Tensor& delta) {
  return {delta.const_data_ptr<float>(), static_cast<size_t>(delta.size(1))};
}

// A stack that somebody waits for.
struct Scheduler::Warming {
  std::shared_ptr<const LoraStack> stack;
  // Guarded by the scheduler's mutex.
  bool done = false;
  absl::Status result;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SCHEDULER_STREAM_H_
