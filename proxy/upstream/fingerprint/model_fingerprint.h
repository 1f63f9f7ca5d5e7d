#ifndef PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_
#define PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/unlearn/v1/manifest.pb.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Recognises M by what it says: its most likely tokens and their log-probs after a few fixed,
// public token sequences. An offset fits one M only, and a server behind an address may be given
// other weights at any time.
absl::StatusOr<v1::ModelFingerprint> TakeModelFingerprint(Upstream& upstream);

// FAILED_PRECONDITION tells where and how far `seen` differs from `expected`. Log-probs may differ
// by 0.05 (another kernel, another batch), ranks where they are that close.
absl::Status CompareModelFingerprints(const v1::ModelFingerprint& expected,
                                      const v1::ModelFingerprint& seen);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_FINGERPRINT_MODEL_FINGERPRINT_H_
