#ifndef PROXY_UPSTREAM_NATIVE_SESSION_H_
#define PROXY_UPSTREAM_NATIVE_SESSION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/status.h"
#include "proxy/upstream/upstream.h"
#include "unlearn/v1/upstream.grpc.pb.h"

namespace unlearn {

// Initial metadata in which a server says whose logits a stream carries.
inline constexpr char kModelMetadata[] = "unlearn-model";
// "WEIGHTS_FINGERPRINT/TOKENIZER_FINGERPRINT".
std::string ModelMetadata(const UpstreamInfo& info);

// What all sessions of one native upstream share.
struct NativeConnection {
  std::shared_ptr<grpc::Channel> channel;
  std::string address;
  UpstreamInfo info;
  v1::LogitsEncoding encoding = v1::LOGITS_ENCODING_FP32;
  absl::Duration step_timeout;
  // Answers larger than this are asked for in parts. Bytes of logits.
  int64_t max_answer_bytes = int64_t{256} << 20;
};

// What a failed call to the server means to us: UNAVAILABLE for everything that a server which is
// alive and well would not say. Names the address and what to do.
absl::Status NativeError(const std::string& address, const grpc::Status& status);

// One bidirectional stream. After an error of the stream every later step gets that error; a step
// that the server would refuse is refused here (INVALID_ARGUMENT) and breaks nothing.
std::unique_ptr<UpstreamSession> NewNativeSession(
    std::shared_ptr<const NativeConnection> connection);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_NATIVE_SESSION_H_
