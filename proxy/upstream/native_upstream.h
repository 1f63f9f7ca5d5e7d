#ifndef PROXY_UPSTREAM_NATIVE_UPSTREAM_H_
#define PROXY_UPSTREAM_NATIVE_UPSTREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proxy/transport/client_channel.h"
#include "proxy/upstream/connection_watch.h"
#include "proxy/upstream/native_session.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// M behind an unlearn_model_server, or any server of unlearn.v1.UpstreamService: one stream a
// session over one connection. Callbacks run on gRPC's threads. Sessions may outlive the upstream.
class NativeUpstream : public Upstream {
 public:
  // Connects and asks who M is. `address` is HOST:PORT or unix:PATH. A server that is still
  // starting is waited for until the connect timeout. UNAVAILABLE, UNAUTHENTICATED or
  // UNIMPLEMENTED with the address; INVALID_ARGUMENT for an option.
  static absl::StatusOr<std::unique_ptr<NativeUpstream>> Open(const std::string& address,
                                                              const UpstreamOptions& options);

  const UpstreamInfo& info() const override { return connection_->info; }
  // Does not wait for the server: what is wrong with the stream shows at its first step.
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  absl::StatusOr<UpstreamInfo> Probe() override;
  int64_t connections() const override { return watch_->lost(); }

 private:
  NativeUpstream(std::shared_ptr<const NativeConnection> connection, absl::Duration connect_timeout,
                 std::unique_ptr<ConnectionWatch> watch)
      : connection_(std::move(connection)),
        connect_timeout_(connect_timeout),
        watch_(std::move(watch)) {}

  const std::shared_ptr<const NativeConnection> connection_;
  const absl::Duration connect_timeout_;
  const std::unique_ptr<ConnectionWatch> watch_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_NATIVE_UPSTREAM_H_
