#include "proxy/model_server/step_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "grpcpp/impl/codegen/proto_utils.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

UpstreamInfo Info() {
  UpstreamInfo info;
  info.vocab_size = 6;
  info.max_context = 10;
  return info;
}

std::vector<float> Floats(const std::string& bytes, v1::LogitsEncoding encoding) {
  std::vector<float> values;
  EXPECT_TRUE(AppendDecoded(bytes, bytes.size() / EncodedSize(encoding), encoding, &values).ok());
  return values;
}

std::vector<int32_t> Ints(const std::string& bytes) {
  std::vector<int32_t> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

// As any client of the protocol reads it.
v1::StepResponse Parsed(absl::StatusOr<grpc::ByteBuffer> message) {
  v1::StepResponse response;
  EXPECT_TRUE(
      grpc::SerializationTraits<v1::StepResponse>::Deserialize(&message.value(), &response).ok());
  return response;
}

TEST(StepCodecTest, UnspecifiedMeansLastAndFp32) {
  v1::StepRequest request;
  request.set_base_position(3);
  request.add_token_ids(5);
  request.add_token_ids(0);
  const StepPlan plan = PlanStep(request, Info()).value();
  EXPECT_EQ(plan.step.base_position, 3);
  EXPECT_EQ(plan.step.token_ids, (std::vector<int32_t>{5, 0}));
  EXPECT_EQ(plan.step.positions, UpstreamStep::Positions::kLast);
  EXPECT_EQ(plan.length, 5);
  EXPECT_EQ(plan.encoding, v1::LOGITS_ENCODING_FP32);
  EXPECT_TRUE(plan.whole_rows());
}

TEST(StepCodecTest, EveryFieldIsChecked) {
  struct Case {
    const char* field;
    std::function<void(v1::StepRequest&)> change;
  };
  const Case cases[] = {
      {"base_position", [](v1::StepRequest& r) { r.set_base_position(-1); }},
      {"token_ids", [](v1::StepRequest& r) { r.set_base_position(10); }},
      {"token_ids", [](v1::StepRequest& r) { r.set_base_position(2147483647); }},
      {"token_ids[1]", [](v1::StepRequest& r) { r.add_token_ids(6); }},
      {"token_ids[1]", [](v1::StepRequest& r) { r.add_token_ids(-1); }},
      {"token_ids", [](v1::StepRequest& r) { r.clear_token_ids(); }},
      {"positions", [](v1::StepRequest& r) { r.set_positions(static_cast<v1::Positions>(9)); }},
      {"encoding", [](v1::StepRequest& r) { r.set_encoding(static_cast<v1::LogitsEncoding>(-3)); }},
      {"top_k", [](v1::StepRequest& r) { r.set_top_k(-1); }},
      {"top_k", [](v1::StepRequest& r) { r.set_top_k(7); }},
      {"named_ids[0]", [](v1::StepRequest& r) { r.add_named_ids(6); }},
      {"named_ids",
       [](v1::StepRequest& r) {
         for (int i = 0; i < 7; ++i) r.add_named_ids(1);
       }},
  };
  for (const Case& bad : cases) {
    v1::StepRequest request;
    request.add_token_ids(1);
    ASSERT_TRUE(PlanStep(request, Info()).ok());
    bad.change(request);
    const absl::Status status = PlanStep(request, Info()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.field;
    EXPECT_EQ(status.message().find(std::string(bad.field) + ":"), 0) << status;
  }
}

TEST(StepCodecTest, AnswersThatNoMessageHoldsAreRefused) {
  UpstreamInfo info;
  info.vocab_size = 262144;
  info.max_context = 8192;
  v1::StepRequest request;
  request.set_positions(v1::POSITIONS_ALL);
  for (int i = 0; i < 1025; ++i) request.add_token_ids(i);
  EXPECT_NE(PlanStep(request, info).status().message().find("send 1024 tokens at a time"),
            std::string::npos);
  request.set_encoding(v1::LOGITS_ENCODING_FP16);
  EXPECT_TRUE(PlanStep(request, info).ok());
  request.set_encoding(v1::LOGITS_ENCODING_FP32);
  request.set_top_k(64);
  EXPECT_TRUE(PlanStep(request, info).ok());
}

TEST(StepCodecTest, WholeRows) {
  StepPlan plan;
  plan.length = 7;
  UpstreamLogits logits;
  logits.rows = 2;
  logits.logits = {1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6};
  for (const v1::LogitsEncoding encoding :
       {v1::LOGITS_ENCODING_FP32, v1::LOGITS_ENCODING_BF16, v1::LOGITS_ENCODING_FP16}) {
    plan.encoding = encoding;
    const v1::StepResponse response = Parsed(EncodeAnswer(plan, logits, 6));
    EXPECT_EQ(response.length(), 7);
    EXPECT_EQ(response.rows(), 2);
    EXPECT_EQ(response.encoding(), encoding);
    EXPECT_TRUE(response.log_sum_exp().empty());
    std::vector<float> expected = logits.logits;
    if (encoding == v1::LOGITS_ENCODING_FP16) {
      // Each row less its own maximum.
      for (int i = 0; i < 6; ++i) expected[i] -= 6;
      for (int i = 6; i < 12; ++i) expected[i] += 1;
    }
    EXPECT_EQ(Floats(response.logits(), encoding), expected);
  }
}

TEST(StepCodecTest, TopAndNamedAndTheSum) {
  StepPlan plan;
  plan.top_k = 3;
  plan.named_ids = {0, 2, 2};
  UpstreamLogits logits;
  logits.rows = 2;
  const float low = -std::numeric_limits<float>::infinity();
  logits.logits = {1, 4, 4, 0, 2, low, 3, 2, 1, 0, -1, -2};
  const double sums[] = {std::log(std::exp(1.0) + 2 * std::exp(4.0) + 1 + std::exp(2.0)),
                         std::log(std::exp(3.0) + std::exp(2.0) + std::exp(1.0) + 1 +
                                  std::exp(-1.0) + std::exp(-2.0))};
  v1::StepResponse response = Parsed(EncodeAnswer(plan, logits, 6));
  EXPECT_TRUE(response.logits().empty());
  EXPECT_EQ(Ints(response.top_ids()), (std::vector<int32_t>{1, 2, 4, 0, 1, 2}));
  EXPECT_EQ(Floats(response.top_logits(), plan.encoding), (std::vector<float>{4, 4, 2, 3, 2, 1}));
  EXPECT_EQ(Floats(response.named_logits(), plan.encoding), (std::vector<float>{1, 4, 4, 3, 1, 1}));
  std::vector<float> log_sums = Floats(response.log_sum_exp(), v1::LOGITS_ENCODING_FP32);
  ASSERT_EQ(log_sums.size(), 2);
  EXPECT_NEAR(log_sums[0], sums[0], 1e-5);
  EXPECT_NEAR(log_sums[1], sums[1], 1e-5);
  // fp16: everything on the shifted scale, the sum too.
  plan.encoding = v1::LOGITS_ENCODING_FP16;
  response = Parsed(EncodeAnswer(plan, logits, 6));
  EXPECT_EQ(Floats(response.top_logits(), plan.encoding),
            (std::vector<float>{0, 0, -2, 0, -1, -2}));
  EXPECT_EQ(Floats(response.named_logits(), plan.encoding),
            (std::vector<float>{-3, 0, 0, 0, -2, -2}));
  log_sums = Floats(response.log_sum_exp(), v1::LOGITS_ENCODING_FP32);
  EXPECT_NEAR(log_sums[0], sums[0] - 4, 1e-5);
  EXPECT_NEAR(log_sums[1], sums[1] - 3, 1e-5);
  // Nothing named, nothing wanted.
  plan.top_k = 6;
  plan.named_ids.clear();
  response = Parsed(EncodeAnswer(plan, logits, 6));
  EXPECT_EQ(Ints(response.top_ids()).size(), 12);
  EXPECT_TRUE(response.named_logits().empty());
}

TEST(StepCodecTest, NanIsAnErrorWhereItWouldBeSorted) {
  StepPlan plan;
  plan.top_k = 1;
  UpstreamLogits logits;
  logits.rows = 1;
  logits.logits = {1, std::nanf(""), 3, 4, 5, 6};
  EXPECT_EQ(EncodeAnswer(plan, logits, 6).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace unlearn
