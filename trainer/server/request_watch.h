#ifndef TRAINER_SERVER_REQUEST_WATCH_H_
#define TRAINER_SERVER_REQUEST_WATCH_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/grpcpp.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/queue/request_queue.h"

namespace unlearn {

// One Watch stream. Sends the request's newest state whenever it differs from what was sent last (a
// slow client skips what it missed) and ends after a state that lasts. Deletes itself when gRPC is
// done with it.
class RequestWatch : public grpc::ServerWriteReactor<v1::DeletionRequest> {
 public:
  // `on_done` is called last.
  RequestWatch(RequestQueue* queue, std::string request_id,
               std::function<void(RequestWatch*)> on_done);

  // Begins; before, the watch does nothing.
  void Start();
  // Ends the stream with this status once no write is under way.
  void End(const grpc::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // What the queue's listener holds: it may run after this is gone.
  struct Link {
    absl::Mutex mutex;
    RequestWatch* watch ABSL_GUARDED_BY(mutex) = nullptr;
  };

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishOnce(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed();

  RequestQueue* const queue_;
  const std::string request_id_;
  const std::function<void(RequestWatch*)> on_done_;
  const std::shared_ptr<Link> link_;
  int64_t listener_ = 0;

  absl::Mutex mutex_;
  v1::DeletionRequest sent_ ABSL_GUARDED_BY(mutex_);  // stays as it is while it is written
  bool any_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_REQUEST_WATCH_H_
