#ifndef PROXY_SCHEDULER_STREAM_TASK_H_
#define PROXY_SCHEDULER_STREAM_TASK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "offset/combine/sampler.h"
#include "proxy/decode/decoding.h"
#include "proxy/scheduler/served_version.h"

namespace unlearn {

// One stream's work, checked by the service before it comes here.
struct StreamTask {
  std::vector<int32_t> prompt;  // at least one token
  std::string tenant;           // whose prompts it may share computed states with
  std::shared_ptr<const ServedVersion> version;
  double alpha = 0;  // the version's, or an admin's override

  // To generate: at most this many tokens, until one of end_ids was drawn.
  int32_t max_tokens = 0;
  SamplingOptions sampling;
  uint64_t seed = 0;
  std::vector<int32_t> end_ids;
  Decoding decoding = Decoding::kAuto;

  // To score instead: the completion whose log-probs are wanted.
  std::vector<int32_t> forced;
};

struct DrawnToken {
  int32_t id = 0;
  float logprob = 0;  // natural log under the ensemble, temperature 1
  uint64_t offset_version = 0;
  bool is_end = false;  // one of end_ids
  // Where M tells its most likely tokens only: |logprob - true| at most, and how much of M's law
  // was not known. The token is the ensemble's all the same.
  double logprob_error = 0;
  double truncated_mass = 0;
};

struct StreamTiming {
  absl::Duration first_token;  // since submission
  absl::Duration total;
  absl::Duration upstream;  // waiting for M, summed
  absl::Duration pair;      // in the pair's passes, summed; on a GPU until they are queued
};

// Receives a stream's tokens. Called on the scheduler's thread: must not block.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // False ends the stream here, as if the token had been an end (a stop string was completed).
  virtual bool OnToken(const DrawnToken& token) = 0;
  // Exactly once, last. `hit_end` tells an end token or a false OnToken from running out of
  // max_tokens.
  virtual void OnDone(const absl::Status& status, bool hit_end, const StreamTiming& timing) = 0;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_STREAM_TASK_H_
