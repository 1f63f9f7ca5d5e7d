#ifndef PROXY_MODEL_SERVER_STEP_CODEC_H_
#define PROXY_MODEL_SERVER_STEP_CODEC_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "proxy/upstream/upstream.h"
#include "unlearn/v1/upstream.pb.h"

namespace unlearn {

// A checked StepRequest: what to ask of M and how to write the answer.
struct StepPlan {
  UpstreamStep step;
  int32_t length = 0;  // of the session after the step
  v1::LogitsEncoding encoding = v1::LOGITS_ENCODING_FP32;
  int32_t top_k = 0;
  std::vector<int32_t> named_ids;
  bool whole_rows() const { return top_k == 0 && named_ids.empty(); }
};

// Bytes of logits in one answer; protobuf itself ends at 2 GiB.
inline constexpr int64_t kMaxAnswerBytes = int64_t{1} << 30;

// INVALID_ARGUMENT names the field and its value. Whether base_position is within the session only
// the session knows.
absl::StatusOr<StepPlan> PlanStep(const v1::StepRequest& request, const UpstreamInfo& info);

// A StepResponse as it is sent. `logits` are [rows, vocab_size]. INTERNAL when top_k or named_ids
// were asked of a row that holds NaN.
absl::StatusOr<grpc::ByteBuffer> EncodeAnswer(const StepPlan& plan, const UpstreamLogits& logits,
                                              int64_t vocab_size);

}  // namespace unlearn

#endif  // PROXY_MODEL_SERVER_STEP_CODEC_H_
