#include "proxy/upstream/guarded_upstream.h"

#include <utility>

#include "offset/base/status_macros.h"
#include "proxy/upstream/upstream_guard.h"

namespace unlearn {

GuardedUpstream::GuardedUpstream(std::unique_ptr<Upstream> upstream, const GuardOptions& options,
                                 std::shared_ptr<prometheus::Registry> registry)
    : upstream_(std::move(upstream)),
      watch_(std::make_unique<ModelWatch>(upstream_.get(), options.watch, *registry)),
      guard_(std::make_shared<UpstreamGuard>(upstream_.get(), watch_.get(), options, registry)) {}

GuardedUpstream::~GuardedUpstream() { guard_->Close(); }

absl::StatusOr<std::unique_ptr<UpstreamSession>> GuardedUpstream::NewSession() {
  bool trial = false;
  ASSIGN_OR_RETURN(std::unique_ptr<UpstreamSession> session, guard_->NewSession(&trial));
  return NewGuardedSession(guard_, std::move(session), trial);
}

}  // namespace unlearn
