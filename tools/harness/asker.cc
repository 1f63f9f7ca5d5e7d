#include "tools/harness/asker.h"

#include <atomic>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "grpcpp/grpcpp.h"
#include "offset/base/status_macros.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {

Asker::Asker(const std::string& address, int at_once)
    : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
      at_once_(at_once) {}

absl::StatusOr<Answer> Asker::Generate(const v1::GenerateRequest& request) const {
  const auto stub = v1::GenerationService::NewStub(channel_);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(5));
  const auto reader = stub->Generate(&context, request);
  Answer answer;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    answer.text += response.text();
    answer.tokens.insert(answer.tokens.end(), response.tokens().begin(), response.tokens().end());
    if (response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
      answer.finish_reason = response.finish_reason();
      answer.timing = response.timing();
    }
  }
  RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  return answer;
}

absl::StatusOr<ScoredAnswer> Asker::Score(const v1::ScoreRequest& request) const {
  const auto stub = v1::GenerationService::NewStub(channel_);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(5));
  v1::ScoreResponse response;
  RETURN_IF_ERROR(FromGrpcStatus(stub->Score(&context, request, &response)));
  ScoredAnswer scored;
  for (const float logprob : response.logprobs()) scored.losses.push_back(-logprob);
  return scored;
}

template <typename Result, typename Work>
absl::StatusOr<std::vector<Result>> Asker::RunAll(size_t count, const Work& work) const {
  std::vector<Result> results(count);
  absl::Mutex mutex;
  absl::Status status;
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < at_once_; ++i) {
    threads.emplace_back([&] {
      for (size_t index = next++; index < count; index = next++) {
        absl::StatusOr<Result> result = work(index);
        if (result.ok()) {
          results[index] = *std::move(result);
          continue;
        }
        absl::MutexLock lock(&mutex);
        status.Update(result.status());
        next = count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  RETURN_IF_ERROR(status);
  return results;
}

absl::StatusOr<std::vector<Answer>> Asker::GenerateAll(const std::vector<std::string>& prompts,
                                                       int max_tokens) const {
  return RunAll<Answer>(prompts.size(), [&](size_t index) {
    v1::GenerateRequest request;
    request.set_text(prompts[index]);
    request.mutable_sampling()->set_max_tokens(max_tokens);
    return Generate(request);
  });
}

absl::StatusOr<std::vector<ScoredAnswer>> Asker::ScoreAll(const std::vector<Pair>& pairs) const {
  return RunAll<ScoredAnswer>(pairs.size(), [&](size_t index) {
    v1::ScoreRequest request;
    request.set_text(pairs[index].prompt);
    request.set_completion_text(pairs[index].completion);
    request.set_append_eos(true);
    return Score(request);
  });
}

}  // namespace unlearn
