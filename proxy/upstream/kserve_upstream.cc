#include "proxy/upstream/kserve_upstream.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/callback_threads.h"
#include "proxy/upstream/kserve_client.h"
#include "proxy/upstream/upstream_channel.h"
#include "proxy/upstream/upstream_options.h"

namespace unlearn {
namespace {

using Tensor = inference::ModelMetadataResponse::TensorMetadata;
using Tensors = google::protobuf::RepeatedPtrField<Tensor>;

std::string Describe(const Tensors& tensors) {
  return absl::StrJoin(tensors, ", ", [](std::string* out, const Tensor& tensor) {
    absl::StrAppend(out, tensor.name(), " ", tensor.datatype(), " [",
                    absl::StrJoin(tensor.shape(), ", "), "]");
  });
}

bool IsIds(const Tensor& tensor) {
  return tensor.datatype() == "INT64" || tensor.datatype() == "INT32";
}
bool IsLogits(const Tensor& tensor) {
  return tensor.datatype() == "FP32" || tensor.datatype() == "FP16" || tensor.datatype() == "BF16";
}

// One unary call with the connection's timeout.
template <typename Request, typename Response>
grpc::Status Ask(const KserveConnection& connection,
                 grpc::Status (inference::GRPCInferenceService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&,
                                                                               Response*),
                 const Request& request, Response* response) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + connection.timeout));
  return (connection.stub.get()->*method)(&context, request, response);
}

using Stub = inference::GRPCInferenceService::Stub;

absl::StatusOr<inference::ModelMetadataResponse> GetMetadata(const KserveConnection& connection) {
  inference::ModelReadyRequest ready;
  ready.set_name(connection.model);
  ready.set_version(connection.version);
  inference::ModelReadyResponse is_ready;
  grpc::Status status = Ask(connection, &Stub::ModelReady, ready, &is_ready);
  if (!status.ok()) return KserveError(connection, status);
  if (!is_ready.ready()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the upstream ", connection.address, " has no model ", connection.model,
        connection.version.empty() ? "" : absl::StrCat(" of version ", connection.version),
        " that is ready; load it there, or name another: kserve:HOST:PORT/MODEL"));
  }
  inference::ModelMetadataRequest request;
  request.set_name(connection.model);
  request.set_version(connection.version);
  inference::ModelMetadataResponse metadata;
  status = Ask(connection, &Stub::ModelMetadata, request, &metadata);
  if (!status.ok()) return KserveError(connection, status);
  return metadata;
}

// Finds the two tensors.
absl::Status ReadMetadata(const inference::ModelMetadataResponse& metadata,
                          KserveConnection& connection) {
  const auto wrong = [&](absl::string_view what) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the upstream ", connection.address, ": model ", connection.model, " ", what, "; it takes ",
        Describe(metadata.inputs()), " and gives ", Describe(metadata.outputs())));
  };
  if (metadata.inputs_size() != 1 || !IsIds(metadata.inputs(0))) {
    return wrong("must take token ids (INT64 or INT32) and nothing else");
  }
  const Tensor& input = metadata.inputs(0);
  if (input.shape_size() < 1 || input.shape_size() > 2 ||
      input.shape(input.shape_size() - 1) != -1) {
    return wrong("must take any number of token ids, [-1] or [-1, -1]");
  }
  const Tensor* output = nullptr;
  for (const Tensor& candidate : metadata.outputs()) {
    if (!IsLogits(candidate)) continue;
    if (output != nullptr && (output->name() == "logits") == (candidate.name() == "logits")) {
      return wrong("gives more than one output that may be the logits; name one of them logits");
    }
    if (output == nullptr || candidate.name() == "logits") output = &candidate;
  }
  if (output == nullptr) return wrong("gives no logits (FP32, FP16 or BF16)");
  connection.input = input.name();
  connection.input_is_int64 = input.datatype() == "INT64";
  connection.batched = input.shape_size() == 2;
  connection.output = output->name();
  connection.output_type = output->datatype();
  return absl::OkStatus();
}

// What only Triton tells.
absl::Status ReadConfig(KserveConnection& connection) {
  inference::ModelConfigRequest request;
  request.set_name(connection.model);
  request.set_version(connection.version);
  inference::ModelConfigResponse response;
  const grpc::Status status = Ask(connection, &Stub::ModelConfig, request, &response);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return absl::OkStatus();
  if (!status.ok()) return KserveError(connection, status);
  connection.keeps_state = response.config().has_sequence_batching();
  connection.decoupled = response.config().model_transaction_policy().decoupled();
  return absl::OkStatus();
}

// Asks for two tokens: how many columns, and are there rows of both?
absl::Status TryModel(KserveConnection& connection) {
  KeepCallbackThreads();
  connection.last_row_only = true;
  const auto trial = std::make_shared<const KserveConnection>(connection);
  absl::StatusOr<UpstreamLogits> logits = absl::UnknownError("no answer");
  absl::Notification answered;
  const std::unique_ptr<ExchangeClient> client = NewKserveClient(trial);
  Exchange exchange;
  exchange.token_ids = {0, 0};
  exchange.rows = 0;
  client->Start(std::move(exchange), [&](absl::StatusOr<UpstreamLogits> result) {
    logits = std::move(result);
    answered.Notify();
  });
  answered.WaitForNotification();
  RETURN_IF_ERROR(logits.status());
  if (logits->rows != 1 && logits->rows != 2) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the upstream ", connection.address, ": model ", connection.model, " gave ", logits->rows,
        " rows of logits for two tokens; it must give one for each, or "
        "one for the last"));
  }
  const size_t columns = logits->logits.size() / logits->rows;
  if (columns > std::numeric_limits<int32_t>::max()) {
    return absl::FailedPreconditionError(absl::StrCat("a vocabulary of ", columns));
  }
  connection.vocab_size = static_cast<int32_t>(columns);
  connection.last_row_only = logits->rows == 1;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<KserveUpstream>> KserveUpstream::Open(
    const std::string& address, const UpstreamOptions& options) {
  const std::vector<std::string> parts = absl::StrSplit(address, '/');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty() || parts[1].empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream: kserve:", address,
                     " does not name a model; write kserve:HOST:PORT/MODEL or "
                     "kserve:HOST:PORT/MODEL/VERSION"));
  }
  RETURN_IF_ERROR(RequireEosIds(options, "a kserve upstream"));
  KserveConnection connection;
  connection.model = parts[1];
  if (parts.size() == 3) connection.version = parts[2];
  ASSIGN_OR_RETURN(connection.timeout,
                   PositiveSeconds(options.step_timeout_seconds, "the upstream's step timeout"));
  ASSIGN_OR_RETURN(const ClientChannel channel, ConnectUpstream(parts[0], options));
  connection.address = parts[0];
  connection.stub = inference::GRPCInferenceService::NewStub(channel.channel());
  ASSIGN_OR_RETURN(const inference::ModelMetadataResponse metadata, GetMetadata(connection));
  RETURN_IF_ERROR(ReadMetadata(metadata, connection));
  RETURN_IF_ERROR(ReadConfig(connection));
  RETURN_IF_ERROR(TryModel(connection));
  UpstreamInfo info;
  info.kind = "kserve";
  info.model_id = connection.model;
  info.vocab_size = connection.vocab_size;
  // A sequence's server keeps no way back but to begin anew.
  info.scores_drafts = !connection.last_row_only && !connection.keeps_state;
  info.max_context =
      options.max_context > 0 ? options.max_context : std::numeric_limits<int32_t>::max();
  info.eos_token_ids = options.eos_token_ids;
  info.noise = std::max(0.0, options.noise);
  RETURN_IF_ERROR(CheckEosIds(options, info.vocab_size));
  return std::unique_ptr<KserveUpstream>(
      new KserveUpstream(std::make_shared<const KserveConnection>(std::move(connection)),
                         std::move(info), absl::Seconds(options.connect_timeout_seconds),
                         std::make_unique<ConnectionWatch>(channel.channel())));
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> KserveUpstream::NewSession() {
  ExchangeOptions options;
  options.vocab_size = info_.vocab_size;
  options.max_context = info_.max_context;
  options.last_row_only = connection_->last_row_only;
  return NewExchangeSession(options, NewKserveClient(connection_));
}

absl::StatusOr<UpstreamInfo> KserveUpstream::Probe() {
  KserveConnection now = *connection_;
  // What is asked is answered at once, or the server is not well.
  now.timeout = std::min(now.timeout, connect_timeout_);
  ASSIGN_OR_RETURN(const inference::ModelMetadataResponse metadata, GetMetadata(now));
  RETURN_IF_ERROR(ReadMetadata(metadata, now));
  if (now.input != connection_->input || now.input_is_int64 != connection_->input_is_int64 ||
      now.batched != connection_->batched || now.output != connection_->output ||
      now.output_type != connection_->output_type) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upstream ", connection_->address, ": model ", connection_->model,
                     " takes or gives other tensors now than when it was opened; start the model "
                     "that was there, or restart this process"));
  }
  return info_;
}

}  // namespace unlearn
