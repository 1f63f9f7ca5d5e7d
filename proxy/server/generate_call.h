#ifndef PROXY_SERVER_GENERATE_CALL_H_
#define PROXY_SERVER_GENERATE_CALL_H_

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/generation.pb.h"
#include "proxy/scheduler/scheduler.h"

namespace unlearn {

struct GenerateCallOptions {
  v1::Decoding decoding = v1::DECODING_AUTO;  // what the last message says
  bool shows_bounds = false;                  // with each token, to admins
};

// Runs one Generate call: submits the task and writes what the scheduler draws. A client that reads
// slowly makes messages grow, not the scheduler wait. Deletes itself when gRPC and the scheduler
// are both done with it.
grpc::ServerWriteReactor<v1::GenerateResponse>* StartGenerateCall(
    Scheduler* scheduler, StreamTask task, std::shared_ptr<const Tokenizer> tokenizer,
    std::vector<std::string> stop, const GenerateCallOptions& options);

// A Generate call that was refused before it began.
grpc::ServerWriteReactor<v1::GenerateResponse>* RefuseGenerateCall(const absl::Status& status);

}  // namespace unlearn

#endif  // PROXY_SERVER_GENERATE_CALL_H_
