#ifndef TESTS_E2E_STREAMING_CALL_H_
#define TESTS_E2E_STREAMING_CALL_H_

#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "tools/harness/asker.h"

namespace unlearn {

// One call of Generate, read on a thread of its own, so that a test can look at it while it runs.
// Thread-safe.
class StreamingCall {
 public:
  // `token` goes along as the caller's, where it is not empty.
  StreamingCall(std::shared_ptr<grpc::Channel> channel, const v1::GenerateRequest& request,
                const std::string& token = "");
  ~StreamingCall();  // cancels it
  StreamingCall(const StreamingCall&) = delete;
  StreamingCall& operator=(const StreamingCall&) = delete;

  void Cancel();
  // False when it ends with fewer, or time is over.
  bool WaitForTokens(size_t count, absl::Duration patience);
  bool ended() const;
  // Until it ends. What came by then can be asked for in either case.
  absl::Status Wait();
  Answer answer() const;

 private:
  void Read(std::shared_ptr<grpc::Channel> channel, v1::GenerateRequest request);

  grpc::ClientContext context_;
  mutable absl::Mutex mutex_;
  Answer answer_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace unlearn

#endif  // TESTS_E2E_STREAMING_CALL_H_
