#ifndef PROXY_SCHEDULER_SERVED_VERSION_H_
#define PROXY_SCHEDULER_SERVED_VERSION_H_

#include <cstdint>
#include <memory>

#include "proto/unlearn/v1/manifest.pb.h"

namespace unlearn {

struct LoraStack;

// An offset version in memory, ready to run. Immutable; shared by the streams that use it, so that
// it outlives its replacement until the last of them ends.
struct ServedVersion {
  uint64_t version = 0;
  double alpha = 0;
  std::shared_ptr<const LoraStack> stack;
  v1::Manifest manifest;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SERVED_VERSION_H_
