#include "proxy/upstream/native_upstream.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

absl::StatusOr<UpstreamInfo> GetModelInfo(v1::UpstreamService::Stub& stub,
                                          const std::string& address, absl::Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  v1::ModelInfo answer;
  const grpc::Status status = stub.GetModelInfo(&context, v1::GetModelInfoRequest(), &answer);
  if (!status.ok()) return NativeError(address, status);
  if (answer.vocab_size() <= 0 || answer.max_context() <= 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upstream ", address, " serves no usable model: vocab_size ",
                     answer.vocab_size(), ", max_context ", answer.max_context()));
  }
  UpstreamInfo info;
  info.kind = "native";
  info.model_id = answer.model_id();
  info.weights_fingerprint = answer.weights_fingerprint();
  info.tokenizer_fingerprint = answer.tokenizer_fingerprint();
  info.vocab_size = answer.vocab_size();
  info.max_context = answer.max_context();
  info.eos_token_ids.assign(answer.eos_token_ids().begin(), answer.eos_token_ids().end());
  return info;
}

absl::StatusOr<absl::Duration> Timeout(double seconds, absl::string_view name) {
  if (!std::isfinite(seconds) || seconds <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", seconds, " is not a positive number of seconds"));
  }
  return absl::Seconds(seconds);
}

}  // namespace

absl::StatusOr<std::unique_ptr<NativeUpstream>> NativeUpstream::Open(
    const std::string& address, const UpstreamOptions& options) {
  NativeConnection connection;
  ASSIGN_OR_RETURN(connection.encoding, ParseEncoding(options.encoding, "--upstream_encoding"));
  ASSIGN_OR_RETURN(connection.step_timeout,
                   Timeout(options.step_timeout_seconds, "the upstream's step timeout"));
  ASSIGN_OR_RETURN(const absl::Duration connect_timeout,
                   Timeout(options.connect_timeout_seconds, "the upstream's connect timeout"));
  ClientOptions client;
  client.address = address;
  client.address_flag = "upstream";
  client.tls.ca = options.tls_ca;
  client.tls.cert = options.tls_cert;
  client.tls.key = options.tls_key;
  client.tls.flag_prefix = "upstream_";
  client.token_file = options.token_file;
  ASSIGN_OR_RETURN(const ClientChannel channel, ClientChannel::Create(client));
  const absl::Time deadline = absl::Now() + connect_timeout;
  RETURN_IF_ERROR(channel.WaitUntilConnected(connect_timeout));
  connection.address = address;
  connection.stub = v1::UpstreamService::NewStub(channel.channel());
  ASSIGN_OR_RETURN(
      connection.info,
      GetModelInfo(*connection.stub, address, std::max(deadline - absl::Now(), absl::Seconds(1))));
  return std::unique_ptr<NativeUpstream>(new NativeUpstream(
      std::make_shared<const NativeConnection>(std::move(connection)), connect_timeout));
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> NativeUpstream::NewSession() {
  return NewNativeSession(connection_);
}

absl::StatusOr<UpstreamInfo> NativeUpstream::Probe() {
  return GetModelInfo(*connection_->stub, connection_->address, connect_timeout_);
}

}  // namespace unlearn
