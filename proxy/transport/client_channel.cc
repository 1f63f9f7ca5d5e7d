#include "proxy/transport/client_channel.h"

#include <sys/un.h>

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "grpcpp/support/client_interceptor.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "proxy/transport/grpc_library.h"
#include "proxy/transport/token_file.h"

namespace unlearn {
namespace {

// Adds `authorization: Bearer TOKEN`. (gRPC's own call credentials refuse to work without TLS.)
class BearerInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit BearerInterceptor(std::string header) : header_(std::move(header)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->insert({"authorization", header_});
    }
    methods->Proceed();
  }

 private:
  const std::string header_;
};

class BearerInterceptorFactory : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit BearerInterceptorFactory(std::string token)
      : header_(absl::StrCat("Bearer ", std::move(token))) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new BearerInterceptor(header_);
  }

 private:
  const std::string header_;
};

}  // namespace

absl::StatusOr<ClientChannel> ClientChannel::Create(const ClientOptions& options) {
  const bool is_unix = absl::StartsWith(options.address, "unix:");
  const size_t colon = options.address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == options.address.size() ||
      absl::StrContains(options.address, "//")) {
    return absl::InvalidArgumentError(absl::StrCat("--", options.address_flag, ": \"",
                                                   options.address,
                                                   "\" is neither HOST:PORT nor unix:PATH"));
  }
  constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
  if (is_unix && options.address.size() - sizeof("unix:") + 1 > kMaxSocketPath) {
    return absl::InvalidArgumentError(absl::StrCat("--", options.address_flag, ": the path of ",
                                                   options.address, " has more than ",
                                                   kMaxSocketPath, " bytes"));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                   MakeChannelCredentials(options.tls));
  KeepGrpcRunning();
  ClientChannel client;
  client.address_ = options.address;
  client.address_flag_ = options.address_flag;
  client.tls_ = !options.tls.ca.empty() || !options.tls.cert.empty();

  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 2);
  // A server that starts while we wait shall be found soon.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // Two channels with the same arguments would share one connection, and its fate.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (IsLocalAddress(options.address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!options.token_file.empty()) {
    ASSIGN_OR_RETURN(std::string token, ReadClientToken(options.token_file));
    if (!client.tls_ && !IsLocalAddress(options.address)) {
      LogWarning("the token of ", options.token_file, " goes to ", options.address,
                 " in plain text; consider --", options.tls.flag_prefix, "tls_ca");
    }
    interceptors.push_back(std::make_unique<BearerInterceptorFactory>(std::move(token)));
  }
  client.channel_ = grpc::experimental::CreateCustomChannelWithInterceptors(
      options.address, credentials, arguments, std::move(interceptors));
  return client;
}

absl::Status ClientChannel::WaitUntilConnected(absl::Duration timeout) const {
  const auto deadline = std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout);
  if (channel_->WaitForConnected(
          std::chrono::time_point_cast<std::chrono::system_clock::duration>(deadline))) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat(
      "cannot connect to ", address_, " (--", address_flag_, ") within ",
      absl::FormatDuration(timeout), tls_ ? " with TLS" : " in plain text",
      "; check that the server runs there and that both sides agree on TLS certificates"));
}

}  // namespace unlearn
