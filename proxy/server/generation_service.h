#ifndef PROXY_SERVER_GENERATION_SERVICE_H_
#define PROXY_SERVER_GENERATION_SERVICE_H_

#include <memory>

#include "grpcpp/grpcpp.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/server/version_manager.h"
#include "proxy/transport/authenticator.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// GenerationService over the scheduler: checks requests, applies the server's policy for alpha and
// version, turns tokens into text. Thread-safe.
class GenerationService final : public v1::GenerationService::CallbackService {
 public:
  // Nothing is owned; all outlive the service.
  GenerationService(Scheduler* scheduler, VersionManager* versions, Upstream* upstream,
                    std::shared_ptr<const Tokenizer> tokenizer, int32_t max_context,
                    const Authenticator* authenticator);

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const v1::GetInfoRequest* request,
                                    v1::GetInfoResponse* response) override;

 private:
  absl::StatusOr<StreamTask> MakeGenerateTask(const grpc::ServerContextBase& context,
                                              const Caller& caller,
                                              const v1::GenerateRequest& request) const;
  absl::StatusOr<StreamTask> MakeScoreTask(const grpc::ServerContextBase& context,
                                           const v1::ScoreRequest& request) const;
  absl::StatusOr<std::vector<int32_t>> CheckIds(absl::string_view field,
                                                const v1::TokenIds& ids) const;
  absl::Status CheckFits(const StreamTask& task) const;

  Scheduler* const scheduler_;
  VersionManager* const versions_;
  Upstream* const upstream_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int32_t max_context_;
  const Authenticator* const authenticator_;
};

}  // namespace unlearn

#endif  // PROXY_SERVER_GENERATION_SERVICE_H_
