#ifndef PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_
#define PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/unlearn/v1/manifest.pb.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Recognises M by what it says: its most likely tokens and their log-probs after a few fixed,
// public token sequences. An offset fits one M only, and a server behind an address may be given
// other weights at any time. `ask` waits for a step's answer (StepAndWait).
using AskModel =
    absl::FunctionRef<absl::StatusOr<UpstreamLogits>(UpstreamSession& session, UpstreamStep step)>;
absl::StatusOr<v1::ModelFingerprint> TakeModelFingerprint(Upstream& upstream,
                                                          AskModel ask = StepAndWait);

// FAILED_PRECONDITION tells where and how far `seen` differs from `expected`. Log-probs may differ
// by 0.05 nats (another kernel, another batch), ranks where they are that close. A server with
// noise (UpstreamInfo::noise, nats) may be off by twice that in single tokens, and by a third of it
// on average: one token that lies far off is chance, all of them are another model.
absl::Status CompareModelFingerprints(const v1::ModelFingerprint& expected,
                                      const v1::ModelFingerprint& seen, double noise);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_
