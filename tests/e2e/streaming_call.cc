#include "tests/e2e/streaming_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {

StreamingCall::StreamingCall(std::shared_ptr<grpc::Channel> channel,
                             const v1::GenerateRequest& request, const std::string& token) {
  if (!token.empty()) context_.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(4)));
  thread_ = std::thread([this, channel = std::move(channel), request] { Read(channel, request); });
}

StreamingCall::~StreamingCall() {
  Cancel();
  thread_.join();
}

void StreamingCall::Read(std::shared_ptr<grpc::Channel> channel, v1::GenerateRequest request) {
  const auto stub = v1::GenerationService::NewStub(channel);
  const auto reader = stub->Generate(&context_, request);
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    absl::MutexLock lock(&mutex_);
    answer_.text += response.text();
    answer_.tokens.insert(answer_.tokens.end(), response.tokens().begin(), response.tokens().end());
    if (response.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) continue;
    answer_.finish_reason = response.finish_reason();
    answer_.timing = response.timing();
  }
  const absl::Status status = FromGrpcStatus(reader->Finish());
  absl::MutexLock lock(&mutex_);
  status_ = status;
  ended_ = true;
}

void StreamingCall::Cancel() { context_.TryCancel(); }

bool StreamingCall::WaitForTokens(size_t count, absl::Duration patience) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return ended_ || answer_.tokens.size() >= count;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&enough), patience);
  return answer_.tokens.size() >= count;
}

bool StreamingCall::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

absl::Status StreamingCall::Wait() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&ended_));
  return status_;
}

Answer StreamingCall::answer() const {
  absl::MutexLock lock(&mutex_);
  return answer_;
}

}  // namespace unlearn
