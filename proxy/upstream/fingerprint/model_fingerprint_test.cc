#include "proxy/upstream/fingerprint/model_fingerprint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "proxy/scheduler/fake_upstream.h"

namespace unlearn {
namespace {

constexpr int kVocab = 64;

class ModelFingerprintTest : public testing::Test {
 protected:
  ModelFingerprintTest() {
    upstream_.change_answer = [this](const std::vector<int32_t>&,
                                     absl::StatusOr<UpstreamLogits>& answer) {
      for (float& logit : answer->logits) {
        logit = scale_ * logit + std::uniform_real_distribution<float>(-noise_, noise_)(random_);
      }
    };
  }
  // Taken with noise of that size, or of a model whose logits are so many times as large.
  v1::ModelFingerprint Take(float noise, float scale = 1) {
    noise_ = noise;
    scale_ = scale;
    return TakeModelFingerprint(upstream_).value();
  }

  std::mt19937 random_{1};
  float noise_ = 0;
  float scale_ = 1;
  FakeUpstream upstream_{kVocab, 0};
};

TEST_F(ModelFingerprintTest, RoundingIsBorneAndNothingElse) {
  const v1::ModelFingerprint expected = Take(0);
  ASSERT_EQ(expected.probes_size(), 4);
  EXPECT_EQ(expected.probes(0).top_ids_size(), 8);
  EXPECT_EQ(CompareModelFingerprints(expected, Take(0.01f), 0), absl::OkStatus());
  EXPECT_EQ(CompareModelFingerprints(expected, Take(0.3f), 0).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CompareModelFingerprints(expected, Take(0, 1.2f), 0).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ModelFingerprintTest, AServersNoiseIsBorneAndAnotherModelIsNot) {
  const v1::ModelFingerprint expected = Take(0);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(CompareModelFingerprints(expected, Take(0.2f), 0.35), absl::OkStatus());
  }
  // Another model, and one whose tokens are all off by what single ones may be.
  for (const float scale : {-1.0f, 0.0f, 1.5f}) {
    const absl::Status status = CompareModelFingerprints(expected, Take(0, scale), 0.35);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << scale;
    EXPECT_NE(status.message().find("M is not the model"), std::string::npos) << status;
  }
  v1::ModelFingerprint off = expected;
  for (auto& probe : *off.mutable_probes()) {
    for (float& logprob : *probe.mutable_top_logprobs()) logprob -= 0.5f;
  }
  const absl::Status status = CompareModelFingerprints(expected, off, 0.35);
  EXPECT_NE(status.message().find("on average"), std::string::npos) << status;
}

TEST_F(ModelFingerprintTest, TopsTellTheSame) {
  const v1::ModelFingerprint rows = Take(0);
  FakeUpstream tops(kVocab, 0);
  tops.TellTops(4, kVocab);  // fewer than are compared: as many as needed are asked for
  const v1::ModelFingerprint told = TakeModelFingerprint(tops).value();
  EXPECT_EQ(told.probes(0).top_ids_size(), 8);
  EXPECT_EQ(CompareModelFingerprints(rows, told, 0), absl::OkStatus());
}

TEST_F(ModelFingerprintTest, AnotherVocabularyIsNamed) {
  FakeUpstream other(kVocab + 3, 0);
  const absl::Status status =
      CompareModelFingerprints(Take(0), TakeModelFingerprint(other).value(), 0.35);
  EXPECT_NE(status.message().find("another vocabulary size"), std::string::npos) << status;
}

}  // namespace
}  // namespace unlearn
