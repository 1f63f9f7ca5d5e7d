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

namespace {

template <typename Kind>
absl::StatusOr<std::unique_ptr<Upstream>> Open(const std::string& rest,
                                               const UpstreamOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, Kind::Open(rest, options));
  return upstream;
}

struct UpstreamKind {
  absl::string_view name;
  absl::string_view form;  // how --upstream spells it
  bool tells_all;          // UpstreamOptions' "what the server cannot tell"
  absl::StatusOr<std::unique_ptr<Upstream>> (*open)(const std::string&, const UpstreamOptions&);
};

constexpr UpstreamKind kKinds[] = {
    {"local", "local:DIR (a model folder, run in this process)", true, Open<LocalUpstream>},
    {"native", "native:HOST:PORT or native:unix:PATH (an unlearn_model_server)", true,
     Open<NativeUpstream>},
    {"kserve", "kserve:HOST:PORT/MODEL (Triton, KServe: a model that gives logits)", false,
     Open<KserveUpstream>},
    {"openai", "openai:URL (vLLM or llama.cpp: completions with log-probs)", false,
     Open<OpenaiUpstream>},
};

}  // namespace

absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstream(const std::string& spec,
                                                       const UpstreamOptions& options) {
  const size_t colon = spec.find(':');
  const std::string name = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  for (const UpstreamKind& kind : kKinds) {
    if (kind.name != name) continue;
    if (rest.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--upstream: ", spec, " is incomplete; write ", kind.form));
    }
    const char* const flag = !kind.tells_all                  ? nullptr
                             : !options.eos_token_ids.empty() ? "--upstream_eos_ids"
                             : options.max_context != 0       ? "--upstream_max_context"
                                                              : nullptr;
    if (flag != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " is set, but ", spec, " tells that itself; leave it out"));
    }
    return kind.open(rest, options);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--upstream: ", spec, " is of no known kind; write ",
      absl::StrJoin(kKinds, ", or ",
                    [](std::string* out, const auto& kind) { absl::StrAppend(out, kind.form); })));
}

}  // namespace unlearn
