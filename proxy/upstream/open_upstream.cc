#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/kserve_upstream.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/openai_upstream.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstream(const std::string& spec,
                                                       const UpstreamOptions& options) {
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  const std::pair<absl::string_view, absl::string_view> kinds[] = {
      {"local", "local:DIR (a model folder, run in this process)"},
      {"native", "native:HOST:PORT or native:unix:PATH (an unlearn_model_server)"},
      {"kserve", "kserve:HOST:PORT/MODEL (Triton, KServe: a model that gives logits)"},
      {"openai", "openai:URL (vLLM or llama.cpp: completions with log-probs)"},
  };
  for (const auto& [name, form] : kinds) {
    if (kind == name && rest.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--upstream: ", spec, " is incomplete; write ", form));
    }
  }
  if (kind == "local" || kind == "native") {
    const char* const flag = !options.eos_token_ids.empty() ? "--upstream_eos_ids"
                             : options.max_context != 0     ? "--upstream_max_context"
                                                            : nullptr;
    if (flag != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " is set, but ", spec, " tells that itself; leave it out"));
    }
  }
  if (kind == "local") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, LocalUpstream::Open(rest, options));
    return upstream;
  }
  if (kind == "native") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, NativeUpstream::Open(rest, options));
    return upstream;
  }
  if (kind == "kserve") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, KserveUpstream::Open(rest, options));
    return upstream;
  }
  if (kind == "openai") {
    ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, OpenaiUpstream::Open(rest, options));
    return upstream;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--upstream: ", spec, " is of no known kind; write ",
                   absl::StrJoin(kinds, ", or ", [](std::string* out, const auto& known) {
                     absl::StrAppend(out, known.second);
                   })));
}

}  // namespace unlearn
