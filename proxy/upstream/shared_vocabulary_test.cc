#include "proxy/upstream/shared_vocabulary.h"

#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

UpstreamInfo Model(const std::string& tokenizer) {
  UpstreamInfo model;
  model.tokenizer_fingerprint = tokenizer;
  model.vocab_size = 100;
  return model;
}

TEST(SharedVocabularyTest, TheSameTokenizerAndNoMoreRows) {
  EXPECT_TRUE(CheckSharedVocabulary(Model("a"), "pair", "a", 100).ok());
  EXPECT_TRUE(CheckSharedVocabulary(Model("a"), "pair", "a", 90).ok());
}

TEST(SharedVocabularyTest, AnotherTokenizerIsRefusedByBothFingerprints) {
  const absl::Status status = CheckSharedVocabulary(Model("abc"), "pair", "def", 100);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("abc"), std::string::npos) << status;
  EXPECT_NE(status.message().find("def"), std::string::npos) << status;
}

TEST(SharedVocabularyTest, AServerThatCannotTellIsHeldToItsRowsOnly) {
  EXPECT_TRUE(CheckSharedVocabulary(Model(""), "pair", "a", 100).ok());
  const absl::Status status = CheckSharedVocabulary(Model(""), "pair", "a", 101);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("101"), std::string::npos) << status;
}

// Answers as another tokenizer would, or not at all.
class FakeServer : public Upstream {
 public:
  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text) override {
    return tokenize ? tokenize(text) : Upstream::Tokenize(text);
  }
  std::function<absl::StatusOr<std::vector<int32_t>>(absl::string_view)> tokenize;

 private:
  UpstreamInfo info_;
};

TEST(SharedVocabularyTest, AServersTokenizerIsComparedOnTexts) {
  const std::string folder = testing::TempDir() + "/shared_vocabulary";
  ASSERT_TRUE(WriteTinyModel(folder).ok());
  const auto tokenizer = Tokenizer::Load(folder + "/tokenizer.json").value();
  FakeServer server;
  EXPECT_TRUE(CompareTokenizers(server, "pair", *tokenizer).ok()) << "it cannot be asked";
  server.tokenize = [&](absl::string_view text) { return tokenizer->Encode(text); };
  EXPECT_TRUE(CompareTokenizers(server, "pair", *tokenizer).ok());
  server.tokenize = [&](absl::string_view text) -> absl::StatusOr<std::vector<int32_t>> {
    std::vector<int32_t> ids = tokenizer->Encode(text).value();
    std::swap(ids[0], ids[1]);
    return ids;
  };
  const absl::Status status = CompareTokenizers(server, "pair", *tokenizer);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("quick brown fox"), std::string::npos) << status;
  server.tokenize = [](absl::string_view) { return absl::UnavailableError("gone"); };
  EXPECT_EQ(CompareTokenizers(server, "pair", *tokenizer).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace unlearn
