#include "proxy/model_server/step_codec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "proxy/upstream/logits_codec.h"
#include "proxy/upstream/step_answer.h"

namespace unlearn {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", problem));
}

absl::Status CheckIds(absl::Span<const int32_t> ids, absl::string_view field, int32_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size) {
      return Invalid(absl::StrCat(field, "[", i, "]"),
                     absl::StrCat(ids[i], " is outside the vocabulary of ", vocab_size));
    }
  }
  return absl::OkStatus();
}

double LogSumExp(absl::Span<const float> row) {
  double maximum = -std::numeric_limits<double>::infinity();
  for (const float value : row) maximum = std::max<double>(maximum, value);
  if (!std::isfinite(maximum)) return maximum;
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - maximum);
  return maximum + std::log(sum);
}

// The ids of the k largest, in falling order, of equals the lower id first.
std::vector<int32_t> TopIds(absl::Span<const float> row, int32_t k) {
  std::vector<int32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [row](int32_t a, int32_t b) {
    return row[a] != row[b] ? row[a] > row[b] : a < b;
  };
  std::nth_element(ids.begin(), ids.begin() + (k - 1), ids.end(), before);
  ids.resize(k);
  std::sort(ids.begin(), ids.end(), before);
  return ids;
}

void AppendInts(absl::Span<const int32_t> values, std::string* out) {
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t));
}

}  // namespace

absl::StatusOr<StepPlan> PlanStep(const v1::StepRequest& request, const UpstreamInfo& info) {
  StepPlan plan;
  const int64_t tokens = request.token_ids_size();
  if (request.base_position() < 0) {
    return Invalid("base_position", absl::StrCat(request.base_position(), " is negative"));
  }
  if (request.base_position() + tokens > info.max_context) {
    return Invalid("token_ids",
                   absl::StrCat(tokens, " tokens from base_position ", request.base_position(),
                                " on exceed the context of ", info.max_context, " tokens"));
  }
  plan.length = static_cast<int32_t>(request.base_position() + tokens);
  plan.step.base_position = request.base_position();
  plan.step.token_ids.assign(request.token_ids().begin(), request.token_ids().end());
  absl::Status status = CheckIds(plan.step.token_ids, "token_ids", info.vocab_size);
  if (!status.ok()) return status;

  int64_t rows = 0;
  switch (request.positions()) {
    case v1::POSITIONS_UNSPECIFIED:
    case v1::POSITIONS_LAST:
      if (tokens == 0) {
        return Invalid("token_ids",
                       "is empty, so there is no last position; send tokens or "
                       "positions: POSITIONS_NONE");
      }
      plan.step.positions = UpstreamStep::Positions::kLast;
      rows = 1;
      break;
    case v1::POSITIONS_ALL:
      plan.step.positions = UpstreamStep::Positions::kAll;
      rows = tokens;
      break;
    case v1::POSITIONS_NONE:
      plan.step.positions = UpstreamStep::Positions::kNone;
      break;
    default:
      return Invalid("positions",
                     absl::StrCat(static_cast<int>(request.positions()), " is not a known value"));
  }

  switch (request.encoding()) {
    case v1::LOGITS_ENCODING_UNSPECIFIED:
      plan.encoding = v1::LOGITS_ENCODING_FP32;
      break;
    case v1::LOGITS_ENCODING_FP32:
    case v1::LOGITS_ENCODING_FP16:
    case v1::LOGITS_ENCODING_BF16:
      plan.encoding = request.encoding();
      break;
    default:
      return Invalid("encoding",
                     absl::StrCat(static_cast<int>(request.encoding()), " is not a known value"));
  }

  if (request.top_k() < 0 || request.top_k() > info.vocab_size) {
    return Invalid("top_k", absl::StrCat(request.top_k(), " is not between 0 and the vocabulary's ",
                                         info.vocab_size));
  }
  plan.top_k = request.top_k();
  if (request.named_ids_size() > info.vocab_size) {
    return Invalid("named_ids", absl::StrCat(request.named_ids_size(), " ids of a vocabulary of ",
                                             info.vocab_size));
  }
  plan.named_ids.assign(request.named_ids().begin(), request.named_ids().end());
  status = CheckIds(plan.named_ids, "named_ids", info.vocab_size);
  if (!status.ok()) return status;

  const int64_t number = static_cast<int64_t>(EncodedSize(plan.encoding));
  const int64_t row_bytes =
      plan.whole_rows()
          ? info.vocab_size * number
          : plan.top_k * (4 + number) + static_cast<int64_t>(plan.named_ids.size()) * number + 4;
  if (rows > kMaxAnswerBytes / row_bytes) {
    return Invalid("token_ids", absl::StrCat(rows, " rows of ", row_bytes, " bytes exceed the ",
                                             kMaxAnswerBytes, " bytes of one answer; send ",
                                             kMaxAnswerBytes / row_bytes, " tokens at a time"));
  }
  return plan;
}

absl::StatusOr<grpc::ByteBuffer> EncodeAnswer(const StepPlan& plan, const UpstreamLogits& logits,
                                              int64_t vocab_size) {
  v1::StepResponse response;
  response.set_length(plan.length);
  response.set_rows(static_cast<int32_t>(logits.rows));
  response.set_encoding(plan.encoding);
  const absl::Span<const float> all = logits.logits;
  if (plan.whole_rows()) return WriteStepAnswer(response, all);
  for (int64_t i = 0; i < logits.rows; ++i) {
    const absl::Span<const float> row = all.subspan(i * vocab_size, vocab_size);
    const float shift = EncodingShift(row, plan.encoding);
    const double log_sum_exp = LogSumExp(row);
    if (std::isnan(log_sum_exp)) {
      return absl::InternalError("M's logits are not numbers (NaN); its weights may be damaged");
    }
    const float shifted_sum = static_cast<float>(log_sum_exp - shift);
    AppendEncoded({shifted_sum}, /*shift=*/0, v1::LOGITS_ENCODING_FP32,
                  response.mutable_log_sum_exp());
    const auto pick = [&](absl::Span<const int32_t> ids, std::string* out) {
      std::vector<float> values;
      values.reserve(ids.size());
      for (const int32_t id : ids) values.push_back(row[id]);
      AppendEncoded(values, shift, plan.encoding, out);
    };
    if (plan.top_k > 0) {
      const std::vector<int32_t> ids = TopIds(row, plan.top_k);
      AppendInts(ids, response.mutable_top_ids());
      pick(ids, response.mutable_top_logits());
    }
    if (!plan.named_ids.empty()) pick(plan.named_ids, response.mutable_named_logits());
  }
  return WriteStepAnswer(response, {});
}

}  // namespace unlearn
