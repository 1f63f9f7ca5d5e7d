#include "proxy/upstream/kserve_connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

v1::LogitsEncoding EncodingOf(const std::string& type) {
  return type == "FP16"   ? v1::LOGITS_ENCODING_FP16
         : type == "BF16" ? v1::LOGITS_ENCODING_BF16
                          : v1::LOGITS_ENCODING_FP32;
}

template <typename T>
std::string RawIds(absl::Span<const int32_t> token_ids) {
  std::string raw(token_ids.size() * sizeof(T), '\0');
  for (size_t i = 0; i < token_ids.size(); ++i) {
    const T id = token_ids[i];
    std::memcpy(&raw[i * sizeof(T)], &id, sizeof(T));
  }
  return raw;
}

absl::Status Malformed(const KserveConnection& connection, absl::string_view what) {
  return absl::InternalError(absl::StrCat("the upstream ", connection.address, " answered for ",
                                          connection.model, " with ", what,
                                          "; was the model exchanged?"));
}

}  // namespace

inference::ModelInferRequest KserveRequest(const KserveConnection& connection,
                                           absl::Span<const int32_t> token_ids,
                                           const KserveSequence& sequence) {
  inference::ModelInferRequest request;
  request.set_model_name(connection.model);
  request.set_model_version(connection.version);
  auto& input = *request.add_inputs();
  input.set_name(connection.input);
  input.set_datatype(connection.input_is_int64 ? "INT64" : "INT32");
  if (connection.batched) input.add_shape(1);
  input.add_shape(static_cast<int64_t>(token_ids.size()));
  request.add_raw_input_contents(connection.input_is_int64 ? RawIds<int64_t>(token_ids)
                                                           : RawIds<int32_t>(token_ids));
  request.add_outputs()->set_name(connection.output);
  if (sequence.id > 0) {
    auto& parameters = *request.mutable_parameters();
    parameters["sequence_id"].set_int64_param(sequence.id);
    parameters["sequence_start"].set_bool_param(sequence.start);
    parameters["sequence_end"].set_bool_param(sequence.end);
  }
  return request;
}

absl::Status AppendRows(const KserveConnection& connection,
                        const inference::ModelInferResponse& response, int64_t rows,
                        UpstreamLogits* logits) {
  int index = 0;
  while (index < response.outputs_size() && response.outputs(index).name() != connection.output) {
    ++index;
  }
  if (index == response.outputs_size()) {
    return Malformed(connection, absl::StrCat("no output ", connection.output));
  }
  const auto& output = response.outputs(index);
  if (output.datatype() != connection.output_type) {
    return Malformed(connection, absl::StrCat(output.datatype(), " logits where ",
                                              connection.output_type, " were promised"));
  }
  const auto shape = [&] { return absl::StrCat("[", absl::StrJoin(output.shape(), ", "), "]"); };
  const int64_t vocab = output.shape_size() == 0 ? 0 : output.shape(output.shape_size() - 1);
  if (vocab <= 0 || (connection.vocab_size > 0 && vocab != connection.vocab_size)) {
    return Malformed(connection, absl::StrCat("logits of the shape ", shape(), " where rows of ",
                                              connection.vocab_size, " were expected"));
  }
  // One tensor of raw contents an output; typed ones only where there are none.
  const bool raw = response.raw_output_contents_size() > 0;
  if (raw && response.raw_output_contents_size() != response.outputs_size()) {
    return Malformed(connection, "fewer contents than outputs");
  }
  const size_t size = EncodedSize(EncodingOf(output.datatype()));
  const size_t given = raw ? response.raw_output_contents(index).size() / size
                           : output.contents().fp32_contents_size();
  const int64_t rows_given = static_cast<int64_t>(given) / vocab;
  int64_t rows_in_shape = 1;
  for (int i = 0; i + 1 < output.shape_size(); ++i) {
    // Against the contents, so that the product cannot overflow.
    if (output.shape(i) < 0 || output.shape(i) > rows_given) {
      return Malformed(connection, absl::StrCat("logits of the shape ", shape(),
                                                " and contents of ", rows_given, " rows"));
    }
    rows_in_shape *= output.shape(i);
    if (rows_in_shape > rows_given) break;
  }
  if (rows_in_shape != rows_given || static_cast<int64_t>(given) != rows_given * vocab ||
      (raw && response.raw_output_contents(index).size() != given * size)) {
    return Malformed(
        connection, absl::StrCat("logits of the shape ", shape(), " and contents of another size"));
  }
  if (rows == 0) rows = rows_given;
  if (rows_given < rows) {
    return Malformed(connection,
                     absl::StrCat(rows_given, " rows of logits where ", rows, " were expected"));
  }
  const int64_t first = (rows_given - rows) * vocab;
  logits->rows += rows;
  if (!raw) {
    const auto& values = output.contents().fp32_contents();
    logits->logits.insert(logits->logits.end(), values.begin() + first, values.end());
    return absl::OkStatus();
  }
  const absl::string_view bytes = response.raw_output_contents(index);
  return AppendDecoded(bytes.substr(first * size), rows * vocab, EncodingOf(output.datatype()),
                       &logits->logits);
}

absl::Status KserveError(const KserveConnection& connection, const grpc::Status& status) {
  const absl::Status plain = FromGrpcStatus(status);
  // A model's traceback follows its first line.
  const absl::string_view message = plain.message();
  const std::string what =
      absl::StrCat("the upstream ", connection.address, ", model ", connection.model, ": ",
                   message.substr(0, message.find('\n')));
  switch (plain.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
      return absl::Status(plain.code(), what);
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError(absl::StrCat(
          what, "; it did not answer within ", absl::FormatDuration(connection.timeout),
          " (--upstream_step_timeout); is every slot for sequences taken?"));
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return absl::Status(plain.code(), absl::StrCat(what, " (see --upstream_token_file)"));
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(absl::StrCat(
          what, "; this address does not speak the Open Inference Protocol v2 over gRPC"));
    case absl::StatusCode::kNotFound:
      return absl::FailedPreconditionError(
          absl::StrCat(what, "; load that model, or name another: kserve:HOST:PORT/MODEL"));
    default:
      return absl::UnavailableError(
          absl::StrCat(what, "; check that the server runs there and look at its log"));
  }
}

}  // namespace unlearn
