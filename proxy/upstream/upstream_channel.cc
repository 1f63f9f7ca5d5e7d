#include "proxy/upstream/upstream_channel.h"

#include "offset/base/status_macros.h"
#include "proxy/upstream/upstream_options.h"

namespace unlearn {

absl::StatusOr<ClientChannel> ConnectUpstream(const std::string& address,
                                              const UpstreamOptions& options) {
  ASSIGN_OR_RETURN(const absl::Duration timeout, PositiveSeconds(options.connect_timeout_seconds,
                                                                 "the upstream's connect timeout"));
  ClientOptions client;
  client.address = address;
  client.address_flag = "upstream";
  client.tls = TlsOf(options);
  client.token_file = options.token_file;
  ASSIGN_OR_RETURN(ClientChannel channel, ClientChannel::Create(client));
  RETURN_IF_ERROR(channel.WaitUntilConnected(timeout));
  return channel;
}

}  // namespace unlearn
