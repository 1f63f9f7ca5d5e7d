#ifndef PROXY_SERVER_SCORE_CALL_H_
#define PROXY_SERVER_SCORE_CALL_H_

#include "grpcpp/grpcpp.h"
#include "proto/unlearn/v1/generation.pb.h"
#include "proxy/scheduler/scheduler.h"

namespace unlearn {

// Runs one Score call: the scheduler forces the task's completion and gives each token's log-prob.
// Deletes itself when gRPC and the scheduler are both done with it.
grpc::ServerUnaryReactor* StartScoreCall(Scheduler* scheduler, StreamTask task,
                                         v1::ScoreResponse* response);

}  // namespace unlearn

#endif  // PROXY_SERVER_SCORE_CALL_H_
