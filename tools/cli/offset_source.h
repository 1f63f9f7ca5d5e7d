#ifndef TOOLS_CLI_OFFSET_SOURCE_H_
#define TOOLS_CLI_OFFSET_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"
#include "tools/cli/connection.h"

namespace unlearn {

struct OffsetSourceFlags {
  std::string store;
  std::string store_key_file;
  ConnectionFlags connection;
};

// Where offset versions are read and activated: a store's folder, or a proxy that serves one.
class OffsetSource {
 public:
  virtual ~OffsetSource() = default;
  // Rising by version. A version that is damaged has its problem.
  virtual absl::StatusOr<std::vector<v1::VersionSummary>> List() = 0;
  // Returns the version that was active before. FAILED_PRECONDITION when requests would be
  // un-forgotten that `reintroduce` does not list.
  virtual absl::StatusOr<uint64_t> Activate(uint64_t version,
                                            const std::vector<std::string>& reintroduce) = 0;
};

// A usage error unless exactly one of --store and --server is given. A --store wins over a server
// that only the environment names.
absl::StatusOr<std::unique_ptr<OffsetSource>> OpenOffsetSource(const OffsetSourceFlags& flags);

absl::StatusOr<std::unique_ptr<VersionStore>> OpenStore(const std::string& folder,
                                                        const std::string& key_file);

}  // namespace unlearn

#endif  // TOOLS_CLI_OFFSET_SOURCE_H_
