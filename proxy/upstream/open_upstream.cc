#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstream(const std::string& spec,
                                                       const UpstreamOptions& options) {
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if ((kind == "local" || kind == "native") && rest.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream: ", spec, " lacks ",
                     kind == "local" ? "the model's folder: local:DIR"
                                     : "the address: native:HOST:PORT or native:unix:PATH"));
  }
  if (kind == "local") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, LocalUpstream::Open(rest, options));
    return upstream;
  }
  if (kind == "native") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, NativeUpstream::Open(rest, options));
    return upstream;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--upstream: ", spec,
                   " is of no known kind; use local:DIR (a model folder, run in this "
                   "process), native:HOST:PORT or native:unix:PATH (an unlearn_model_server)"));
}

}  // namespace unlearn
