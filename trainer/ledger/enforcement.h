#ifndef TRAINER_LEDGER_ENFORCEMENT_H_
#define TRAINER_LEDGER_ENFORCEMENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/offset.pb.h"

namespace unlearn {

struct EnforcementAnswer {
  bool enforced = false;
  std::string message;  // what is awaited; empty when enforced
};

// Whether a published request is in force everywhere.
class EnforcementChecker {
 public:
  virtual ~EnforcementChecker() = default;
  // May take as long as its proxies' time-outs. Thread-safe.
  virtual EnforcementAnswer Check(const std::string& request_id) = 0;
};

struct RegisteredProxy {
  std::string address;  // for messages
  std::shared_ptr<grpc::Channel> channel;
};

// Asks every registered proxy for its OffsetStatus, all at the same time. A request is enforced
// when each of them answers, has a version active under which the request is in force, and runs no
// stream of a version under which it is not. A proxy that cannot be reached proves nothing.
class ProxyEnforcement : public EnforcementChecker {
 public:
  // `store` must outlive this. `timeout` is for each call.
  ProxyEnforcement(const VersionStore* store, std::vector<RegisteredProxy> proxies,
                   absl::Duration timeout);
  EnforcementAnswer Check(const std::string& request_id) override;

 private:
  // Empty when the proxy enforces the request, else what is wrong.
  std::string Problem(const v1::OffsetStatus& status, const std::string& request_id) const;

  const VersionStore* const store_;
  const std::vector<RegisteredProxy> proxies_;
  const absl::Duration timeout_;
};

}  // namespace unlearn

#endif  // TRAINER_LEDGER_ENFORCEMENT_H_
