#ifndef PROXY_UPSTREAM_UPSTREAM_H_
#define PROXY_UPSTREAM_UPSTREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// What is known of the large model M, fixed while the upstream object lives.
struct UpstreamInfo {
  std::string kind;  // "local", "native", ...
  std::string model_id;
  std::string weights_fingerprint;    // empty where the server cannot tell
  std::string tokenizer_fingerprint;  // hash of id -> bytes; empty where the server cannot tell
  int32_t vocab_size = 0;             // columns of a row of logits
  int32_t max_context = 0;            // tokens, prompt and completion together
  std::vector<int32_t> eos_token_ids;
  // 0: a step gives raw logits of the whole vocabulary. Else it gives so many of the most likely
  // tokens (UpstreamStep::top: up to most_top), whose log-probs are off by logprob_error each, and
  // by normaliser_error all together: what the server's probabilities sum to beside 1.
  int32_t top = 0;
  int32_t most_top = 0;
  double logprob_error = 0;
  double normaliser_error = 0;
  // Whether one call tells the rows of several positions, and rolling back costs little.
  bool scores_drafts = false;
  // Whether its sessions can Sample; and where a kind that could cannot, why not.
  bool samples = false;
  std::string samples_refused;
  // How far log-probs of likely tokens after one prompt may lie apart from one asking to the next,
  // in nats: some servers compute otherwise beside other requests. 0: by rounding only.
  double noise = 0;
};

// Tokens that follow position `base_position`; what the session held at or after it is rolled back.
struct UpstreamStep {
  enum class Positions { kNone, kLast, kAll };
  int32_t base_position = 0;
  std::vector<int32_t> token_ids;
  Positions positions = Positions::kLast;
  int32_t top = 0;  // where info().top > 0: another number of tokens for this step; 0: that one
};

// M's most likely next tokens, most likely first, and log softmax(z_M) of each. Those of
// probability 0 are left out.
struct TopRow {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
};

// Of M alone: never sent to a client.
struct UpstreamLogits {
  int64_t rows = 0;
  std::vector<float> logits;  // [rows, vocab_size], raw; empty where info().top > 0
  std::vector<TopRow> tops;   // [rows] there
};

// M goes on by itself after the tokens, drawing from softmax(z_M / temperature): the draft of
// stream and verify.
struct UpstreamSampling {
  int32_t base_position = 0;       // as in UpstreamStep
  std::vector<int32_t> token_ids;  // at least one
  double temperature = 0;          // 0: the most likely token
  int32_t max_tokens = 1;  // fewer where M's context ends: one token may follow the whole of it
  int32_t top = 0;         // as in UpstreamStep
};

// A token that M drew, and what it told of the law that it was drawn from, at temperature 1.
struct SampledRow {
  int32_t id = 0;
  double logprob = 0;  // where `top` is not empty
  // Empty where the server drew the token without telling its law: a Step of its position does.
  TopRow top;
};

struct SampledRows {
  std::vector<SampledRow> rows;  // the next ones, in order
  bool ended = false;            // the last of this Sample
};

// One growing token sequence inside M. Steps are answered in order. One caller at a time.
class UpstreamSession {
 public:
  using Callback = absl::AnyInvocable<void(absl::StatusOr<UpstreamLogits>)>;
  using SampleCallback = absl::AnyInvocable<void(absl::StatusOr<SampledRows>)>;

  // Ends the session and frees its cache. Steps under way are answered with CANCELLED or with
  // their result before the destructor returns (perhaps inside it), a Sample under way is not; no
  // callback runs afterwards.
  virtual ~UpstreamSession() = default;

  // Returns at once. `done` runs on a thread of the upstream, exactly once; it must not block and
  // must not destroy the session, but may call Step. Errors: UNAVAILABLE (M gone),
  // DEADLINE_EXCEEDED, FAILED_PRECONDITION (M was exchanged), INVALID_ARGUMENT (token or position
  // outside the model: the session is as before), RESOURCE_EXHAUSTED (no room). After the others
  // begin a new session.
  virtual void Step(UpstreamStep step, Callback done) = 0;

  // Where info().samples, else UNIMPLEMENTED. `rows` is called on a thread of the upstream as
  // tokens come, and for the last time with `ended` (max_tokens have come, or M's server ended its
  // text) or with an error: those of Step, INVALID_ARGUMENT also for a temperature that the server
  // cannot draw at. Its token_ids are part of the session from the call on, what it gave from then
  // on. The next Step or Sample ends it early: once that has been called, `rows` is not called any
  // more, perhaps but for a call that is under way. Each Sample draws with fresh randomness.
  virtual void Sample(UpstreamSampling sampling, SampleCallback rows);
};

// A large model M behind some protocol. Thread-safe.
class Upstream {
 public:
  virtual ~Upstream() = default;
  virtual const UpstreamInfo& info() const = 0;
  virtual absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() = 0;
  // Asks M again who it is; the proxy compares with info() to notice that M was exchanged.
  virtual absl::StatusOr<UpstreamInfo> Probe() = 0;
  // Grows when M's server may have been restarted, as far as its connections tell: before anything
  // is answered over the next connection. 0 for ever where that cannot happen.
  virtual int64_t connections() const { return 0; }
  // What the server makes of a text, without what it adds at the ends. UNIMPLEMENTED where it
  // cannot be asked.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text);
};

// Step and wait for its answer.
absl::StatusOr<UpstreamLogits> StepAndWait(UpstreamSession& session, UpstreamStep step);

// Opens "KIND:REST" as the flag --upstream spells it: `local:DIR`, `native:HOST:PORT`,
// `native:unix:PATH`, `kserve:HOST:PORT/MODEL`, `openai:URL`. INVALID_ARGUMENT lists the kinds.
struct UpstreamOptions {
  double connect_timeout_seconds = 10;
  double step_timeout_seconds = 120;
  // openai, of a Sample: for its first token, and between two of them.
  double first_token_timeout_seconds = 120;
  double idle_timeout_seconds = 30;
  std::string encoding = "fp32";  // native: fp32, fp16 or bf16 rows on the wire
  std::string dtype = "auto";     // local: auto (bf16 where the files are, else fp32), fp32, bf16
  int64_t kv_cache_tokens = 0;    // local: 0 sizes the cache for 64 full contexts, at most 2 GiB
  std::string tls_ca, tls_cert, tls_key, token_file;  // all but local: files; empty for plain text
  // What the server cannot tell; for local and native it can, and these must be empty.
  std::vector<int32_t> eos_token_ids;
  int32_t max_context = 0;  // tokens; 0: no limit but the pair's
  // openai: log-probs asked for with each token. 0: the whole vocabulary where that is small and
  // the server allows it, else as many as it allows, at most 1000.
  int32_t top = 0;
  double noise = -1;  // all but local: UpstreamInfo::noise; negative: what is usual for the kind
};
absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstream(const std::string& spec,
                                                       const UpstreamOptions& options);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_UPSTREAM_H_
