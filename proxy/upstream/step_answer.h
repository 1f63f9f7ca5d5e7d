#ifndef PROXY_UPSTREAM_STEP_ANSWER_H_
#define PROXY_UPSTREAM_STEP_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "grpcpp/support/byte_buffer.h"
#include "unlearn/v1/upstream.pb.h"

namespace unlearn {

// v1::StepResponse on the wire, written and read around protobuf's own message, which would hold
// the logits once more on either side: a row of a large vocabulary is half a megabyte.

// `response` and its `rows` as the field logits, encoded where they are sent from, in the
// response's encoding. They are [response.rows(), vocab]; fp16 is shifted as EncodingShift says.
grpc::ByteBuffer WriteStepAnswer(const v1::StepResponse& response, absl::Span<const float> rows);

struct StepAnswer {
  int32_t length = 0;
  int32_t rows = 0;
  v1::LogitsEncoding encoding = v1::LOGITS_ENCODING_UNSPECIFIED;
  absl::Status logits;  // what is wrong with them; nothing was appended then
};

// Reads a message. Its logits, which must be `count` numbers of `encoding`, are appended to `out`
// straight from the buffers that gRPC received. INVALID_ARGUMENT for bytes that are no
// StepResponse.
absl::StatusOr<StepAnswer> ReadStepAnswer(grpc::ByteBuffer& message, size_t count,
                                          v1::LogitsEncoding encoding, std::vector<float>* out);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_STEP_ANSWER_H_
