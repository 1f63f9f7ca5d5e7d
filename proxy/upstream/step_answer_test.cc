#include "proxy/upstream/step_answer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "grpcpp/impl/codegen/proto_utils.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

constexpr v1::LogitsEncoding kEncodings[] = {v1::LOGITS_ENCODING_FP32, v1::LOGITS_ENCODING_FP16,
                                             v1::LOGITS_ENCODING_BF16};

std::vector<float> Row(size_t count) {
  std::vector<float> row(count);
  for (size_t i = 0; i < count; ++i) row[i] = 0.5f * static_cast<float>(i % 97) - 20;
  return row;
}

v1::StepResponse Response(v1::LogitsEncoding encoding, absl::Span<const float> row) {
  v1::StepResponse response;
  response.set_length(300);
  response.set_rows(1);
  response.set_encoding(encoding);
  AppendEncoded(row, EncodingShift(row, encoding), encoding, response.mutable_logits());
  return response;
}

// The bytes in pieces of these lengths, taken in turn.
grpc::ByteBuffer InPieces(const std::string& bytes, const std::vector<size_t>& lengths) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0, i = 0; at < bytes.size(); ++i) {
    const size_t length = std::min(lengths[i % lengths.size()], bytes.size() - at);
    slices.emplace_back(bytes.data() + at, length);
    at += length;
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

TEST(StepAnswerTest, ReadsWhatProtobufWroteWhereverItIsCut) {
  const std::vector<float> row = Row(1003);
  for (const v1::LogitsEncoding encoding : kEncodings) {
    const v1::StepResponse response = Response(encoding, row);
    std::vector<float> expected = {7};
    ASSERT_TRUE(AppendDecoded(response.logits(), row.size(), encoding, &expected).ok());
    for (const std::vector<size_t>& lengths :
         std::vector<std::vector<size_t>>{{1 << 20}, {1}, {3}, {17, 2, 1, 301}, {64}}) {
      grpc::ByteBuffer message = InPieces(response.SerializeAsString(), lengths);
      std::vector<float> logits = {7};  // stays
      const absl::StatusOr<StepAnswer> answer =
          ReadStepAnswer(message, row.size(), encoding, &logits);
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_TRUE(answer->logits.ok()) << answer->logits;
      EXPECT_EQ(answer->length, 300);
      EXPECT_EQ(answer->rows, 1);
      EXPECT_EQ(answer->encoding, encoding);
      EXPECT_EQ(logits, expected);
    }
  }
}

TEST(StepAnswerTest, ProtobufReadsWhatIsWritten) {
  std::vector<float> rows = Row(2 * 501);
  std::reverse(rows.begin(), rows.begin() + 501);
  rows[3] = 90;  // the two rows have different maxima
  for (const v1::LogitsEncoding encoding : kEncodings) {
    v1::StepResponse header;
    header.set_length(9);
    header.set_rows(2);
    header.set_encoding(encoding);
    v1::StepResponse expected = header;
    for (const int at : {0, 501}) {
      const absl::Span<const float> row = absl::MakeConstSpan(rows).subspan(at, 501);
      AppendEncoded(row, EncodingShift(row, encoding), encoding, expected.mutable_logits());
    }
    grpc::ByteBuffer message = WriteStepAnswer(header, rows);
    v1::StepResponse response;
    ASSERT_TRUE(grpc::SerializationTraits<v1::StepResponse>::Deserialize(&message, &response).ok());
    EXPECT_EQ(response.SerializeAsString(), expected.SerializeAsString());
  }
}

TEST(StepAnswerTest, NoRowsAndNothingAtAll) {
  v1::StepResponse header;
  for (const int length : {0, 5}) {
    header.set_length(length);
    grpc::ByteBuffer message = WriteStepAnswer(header, {});
    std::vector<float> logits;
    const absl::StatusOr<StepAnswer> answer =
        ReadStepAnswer(message, 0, v1::LOGITS_ENCODING_BF16, &logits);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->length, length);
    EXPECT_TRUE(answer->logits.ok());
  }
}

TEST(StepAnswerTest, OtherFieldsArePassedOver) {
  v1::StepResponse response = Response(v1::LOGITS_ENCODING_FP32, Row(4));
  response.set_top_ids("abcd");
  response.set_log_sum_exp("efgh");
  std::string bytes = response.SerializeAsString();
  bytes += std::string("\xC2\x3E\x03xyz", 6);  // field 1000, of a later version
  grpc::ByteBuffer message = InPieces(bytes, {5});
  std::vector<float> logits;
  ASSERT_TRUE(ReadStepAnswer(message, 4, v1::LOGITS_ENCODING_FP32, &logits).ok());
  EXPECT_EQ(logits, Row(4));
}

TEST(StepAnswerTest, AWrongNumberOfLogitsIsTold) {
  for (const size_t expected : {0, 3, 5}) {
    grpc::ByteBuffer message =
        InPieces(Response(v1::LOGITS_ENCODING_BF16, Row(4)).SerializeAsString(), {7});
    std::vector<float> logits = {1};
    const auto answer = ReadStepAnswer(message, expected, v1::LOGITS_ENCODING_BF16, &logits);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->length, 300);
    EXPECT_EQ(answer->logits.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(logits.size(), 1);
  }
}

TEST(StepAnswerTest, CutOffOrOtherBytesAreNoAnswer) {
  const std::string whole = Response(v1::LOGITS_ENCODING_BF16, Row(40)).SerializeAsString();
  for (const size_t length : {size_t{1}, size_t{4}, size_t{6}, size_t{30}, whole.size() - 1}) {
    grpc::ByteBuffer message = InPieces(whole.substr(0, length), {9});
    std::vector<float> logits = {1};
    EXPECT_EQ(ReadStepAnswer(message, 40, v1::LOGITS_ENCODING_BF16, &logits).status().code(),
              absl::StatusCode::kInvalidArgument)
        << length;
    EXPECT_EQ(logits.size(), 1);
  }
  grpc::ByteBuffer group_end = InPieces("\x0C", {1});
  std::vector<float> logits;
  EXPECT_FALSE(ReadStepAnswer(group_end, 0, v1::LOGITS_ENCODING_BF16, &logits).ok());
  grpc::ByteBuffer never_read;
  EXPECT_FALSE(ReadStepAnswer(never_read, 0, v1::LOGITS_ENCODING_BF16, &logits).ok());
}

}  // namespace
}  // namespace unlearn
