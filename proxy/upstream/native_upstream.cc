#include "proxy/upstream/native_upstream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/logits_codec.h"
#include "proxy/upstream/upstream_channel.h"
#include "proxy/upstream/upstream_options.h"

namespace unlearn {
namespace {

absl::StatusOr<UpstreamInfo> GetModelInfo(const std::shared_ptr<grpc::Channel>& channel,
                                          const std::string& address, absl::Duration timeout) {
  const auto stub = v1::UpstreamService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  v1::ModelInfo answer;
  const grpc::Status status = stub->GetModelInfo(&context, v1::GetModelInfoRequest(), &answer);
  if (!status.ok()) return NativeError(address, status);
  if (answer.vocab_size() <= 0 || answer.max_context() <= 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upstream ", address, " serves no usable model: vocab_size ",
                     answer.vocab_size(), ", max_context ", answer.max_context()));
  }
  UpstreamInfo info;
  info.kind = "native";
  info.scores_drafts = true;
  info.model_id = answer.model_id();
  info.weights_fingerprint = answer.weights_fingerprint();
  info.tokenizer_fingerprint = answer.tokenizer_fingerprint();
  info.vocab_size = answer.vocab_size();
  info.max_context = answer.max_context();
  info.eos_token_ids.assign(answer.eos_token_ids().begin(), answer.eos_token_ids().end());
  return info;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NativeUpstream>> NativeUpstream::Open(
    const std::string& address, const UpstreamOptions& options) {
  NativeConnection connection;
  ASSIGN_OR_RETURN(connection.encoding, ParseEncoding(options.encoding, "--upstream_encoding"));
  ASSIGN_OR_RETURN(connection.step_timeout,
                   PositiveSeconds(options.step_timeout_seconds, "the upstream's step timeout"));
  const absl::Time begin = absl::Now();
  ASSIGN_OR_RETURN(const ClientChannel channel, ConnectUpstream(address, options));
  const absl::Duration connect_timeout = absl::Seconds(options.connect_timeout_seconds);
  connection.address = address;
  connection.channel = channel.channel();
  ASSIGN_OR_RETURN(connection.info,
                   GetModelInfo(connection.channel, address,
                                std::max(begin + connect_timeout - absl::Now(), absl::Seconds(1))));
  connection.info.noise = std::max(0.0, options.noise);
  return std::unique_ptr<NativeUpstream>(
      new NativeUpstream(std::make_shared<const NativeConnection>(std::move(connection)),
                         connect_timeout, std::make_unique<ConnectionWatch>(channel.channel())));
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> NativeUpstream::NewSession() {
  return NewNativeSession(connection_);
}

absl::StatusOr<UpstreamInfo> NativeUpstream::Probe() {
  return GetModelInfo(connection_->channel, connection_->address, connect_timeout_);
}

}  // namespace unlearn
