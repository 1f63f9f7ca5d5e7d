#include "proxy/upstream/upstream_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::StatusOr<absl::Duration> PositiveSeconds(double seconds, absl::string_view what) {
  if (!std::isfinite(seconds) || seconds <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", seconds, " is not a positive number of seconds"));
  }
  return absl::Seconds(seconds);
}

TlsFiles TlsOf(const UpstreamOptions& options) {
  TlsFiles tls;
  tls.ca = options.tls_ca;
  tls.cert = options.tls_cert;
  tls.key = options.tls_key;
  tls.flag_prefix = "upstream_";
  return tls;
}

absl::Status RequireEosIds(const UpstreamOptions& options, absl::string_view server) {
  if (!options.eos_token_ids.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--upstream_eos_ids is empty: ", server,
                   " cannot tell which tokens end a text; take them from M's "
                   "generation_config.json"));
}

absl::Status CheckEosIds(const UpstreamOptions& options, int32_t vocab_size) {
  for (const int32_t id : options.eos_token_ids) {
    if (id >= 0 && id < vocab_size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_eos_ids: ", id, " is outside M's vocabulary of ", vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
