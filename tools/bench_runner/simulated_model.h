#ifndef TOOLS_BENCH_RUNNER_SIMULATED_MODEL_H_
#define TOOLS_BENCH_RUNNER_SIMULATED_MODEL_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Standard normal rows, one for each sequence of tokens.
class NoiseRows {
 public:
  NoiseRows(int32_t vocab_size, uint64_t seed);
  // [vocab_size]; the same for the same tokens. Rows of different tokens may overlap, shifted.
  absl::Span<const float> Row(uint64_t key) const;
  // Keys are made token by token, from 0.
  static uint64_t Key(uint64_t before, int32_t token);

 private:
  const size_t vocab_size_;
  std::vector<float> numbers_;
};

struct SimulatedModelOptions {
  absl::Duration call;      // what a step takes
  absl::Duration position;  // on top for each of its tokens but the first
  double noise = 1;         // standard deviation of what is added to each logit
};

// A large model on another machine, as the proxy sees one: a step takes the time it is said to
// take, whatever number of other sessions have steps under way (continuous batching), and none of
// this machine's cores. Its rows are those of a small model plus noise; they are computed when the
// tokens are first asked about and remembered, 4 * vocab_size bytes each, so that a comparison
// whose first round is thrown away computes none. A session takes one step at a time. Thread-safe.
class SimulatedModel : public Upstream {
 public:
  // `inner` gives the rows before noise and outlives this; null: they are 0. vocab_size and
  // max_context of `info` must be those of `inner`.
  SimulatedModel(UpstreamInfo info, Upstream* inner, const SimulatedModelOptions& options);
  // After the last session has ended.
  ~SimulatedModel() override;

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }

  // The noise of every such model of this vocabulary, before it is scaled.
  static NoiseRows Noise(int32_t vocab_size) { return NoiseRows(vocab_size, /*seed=*/5); }

  // Rows that were computed so far.
  int64_t computed_rows() const;

 private:
  class Session;
  struct Answer {
    absl::Time due;
    Session* session = nullptr;
    UpstreamSession::Callback done;
    absl::StatusOr<UpstreamLogits> result;
  };
  static bool DueLater(const Answer& a, const Answer& b) { return a.due > b.due; }
  using Row = std::shared_ptr<const std::vector<float>>;

  Row Find(uint64_t key) const;
  Row Remember(uint64_t key, const float* before_noise);
  // Answers when it is due.
  void Hold(Answer answer);
  void Run();

  const UpstreamInfo info_;
  Upstream* const inner_;
  const SimulatedModelOptions options_;
  const NoiseRows noise_;

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::flat_hash_map<uint64_t, Row> rows_ ABSL_GUARDED_BY(mutex_);
  std::vector<Answer> held_ ABSL_GUARDED_BY(mutex_);  // a heap, the first due on top
  Session* answering_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_SIMULATED_MODEL_H_
