#ifndef PROXY_UPSTREAM_KSERVE_UPSTREAM_H_
#define PROXY_UPSTREAM_KSERVE_UPSTREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proxy/upstream/connection_watch.h"
#include "proxy/upstream/kserve_connection.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// M behind the Open Inference Protocol v2 over gRPC: Triton, KServe, MLServer, OpenVINO. The model
// takes token ids (INT64 or INT32) and gives logits (FP32, FP16 or BF16) of all positions or of the
// last; with Triton's sequence batching it keeps what it has seen, else each step sends the whole
// prefix. What such a server cannot tell (where texts end, its context, its tokenizer) comes from
// the options, or stays empty in info().
class KserveUpstream : public Upstream {
 public:
  // `address` is HOST:PORT/MODEL or HOST:PORT/MODEL/VERSION. Asks the server what the model takes
  // and gives, and tries it on two tokens. FAILED_PRECONDITION for a model that is not of this
  // kind, naming its tensors; INVALID_ARGUMENT for the address or an option.
  static absl::StatusOr<std::unique_ptr<KserveUpstream>> Open(const std::string& address,
                                                              const UpstreamOptions& options);

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  // Whether the model is still there with the tensors it had.
  absl::StatusOr<UpstreamInfo> Probe() override;
  int64_t connections() const override { return watch_->lost(); }

 private:
  KserveUpstream(std::shared_ptr<const KserveConnection> connection, UpstreamInfo info,
                 absl::Duration connect_timeout, std::unique_ptr<ConnectionWatch> watch)
      : connection_(std::move(connection)),
        info_(std::move(info)),
        connect_timeout_(connect_timeout),
        watch_(std::move(watch)) {}

  const std::shared_ptr<const KserveConnection> connection_;
  const UpstreamInfo info_;
  const absl::Duration connect_timeout_;
  const std::unique_ptr<ConnectionWatch> watch_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_KSERVE_UPSTREAM_H_
