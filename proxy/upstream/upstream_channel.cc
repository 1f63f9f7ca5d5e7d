#include "proxy/upstream/upstream_channel.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::StatusOr<ClientChannel> ConnectUpstream(const std::string& address,
                                              const UpstreamOptions& options) {
  ASSIGN_OR_RETURN(const absl::Duration timeout, PositiveSeconds(options.connect_timeout_seconds,
                                                                 "the upstream's connect timeout"));
  ClientOptions client;
  client.address = address;
  client.address_flag = "upstream";
  client.tls.ca = options.tls_ca;
  client.tls.cert = options.tls_cert;
  client.tls.key = options.tls_key;
  client.tls.flag_prefix = "upstream_";
  client.token_file = options.token_file;
  ASSIGN_OR_RETURN(ClientChannel channel, ClientChannel::Create(client));
  RETURN_IF_ERROR(channel.WaitUntilConnected(timeout));
  return channel;
}

absl::StatusOr<absl::Duration> PositiveSeconds(double seconds, absl::string_view what) {
  if (!std::isfinite(seconds) || seconds <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", seconds, " is not a positive number of seconds"));
  }
  return absl::Seconds(seconds);
}

}  // namespace unlearn
