#ifndef PROXY_UPSTREAM_KSERVE_CONNECTION_H_
#define PROXY_UPSTREAM_KSERVE_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grpcpp/support/status.h"
#include "inference/open_inference.grpc.pb.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// A model behind the Open Inference Protocol, as it was found: one input of token ids, one output
// of logits. Shared by all sessions; immutable once opened.
struct KserveConnection {
  std::shared_ptr<inference::GRPCInferenceService::Stub> stub;
  std::string address;
  std::string model;
  std::string version;  // empty: the server's choice
  absl::Duration timeout;

  std::string input;  // of token ids
  bool input_is_int64 = true;
  std::string output;        // of logits
  std::string output_type;   // FP32, FP16 or BF16
  bool batched = false;      // tensors have a batch dimension in front
  bool keeps_state = false;  // sequences: a request brings what follows the one before
  bool decoupled = false;    // answers by ModelStreamInfer only
  int32_t vocab_size = 0;    // 0: not known yet
  bool last_row_only = false;
};

// Parts of a sequence that the server keeps under an id.
struct KserveSequence {
  int64_t id = 0;  // positive; 0: none
  bool start = false;
  bool end = false;
};

// A request with the token ids as raw contents.
inference::ModelInferRequest KserveRequest(const KserveConnection& connection,
                                           absl::Span<const int32_t> token_ids,
                                           const KserveSequence& sequence);

// Appends the last `rows` rows of what the server answered, or all with rows = 0, as fp32. INTERNAL
// for an answer that is not the model's: type, shape and size are checked.
absl::Status AppendRows(const KserveConnection& connection,
                        const inference::ModelInferResponse& response, int64_t rows,
                        UpstreamLogits* logits);

// What a failed call means to us: INVALID_ARGUMENT stays, UNAVAILABLE for what a server that is
// alive and well would not say. Names address and model.
absl::Status KserveError(const KserveConnection& connection, const grpc::Status& status);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_KSERVE_CONNECTION_H_
