#include "proxy/upstream/shared_vocabulary.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace unlearn
