#include "trainer/ledger/eraser.h"

#include "offset/base/status_macros.h"

namespace unlearn {

absl::Status Eraser::Erase(const std::string& request_id) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const QueuedRequest queued, queue_->Get(request_id));
  if (queued.erased) return absl::OkStatus();
  RETURN_IF_ERROR(queue_->Erase(request_id));
  RETURN_IF_ERROR(queue_->WorkFolder(request_id).Destroy());
  return queue_->MarkErased(request_id);
}

}  // namespace unlearn
