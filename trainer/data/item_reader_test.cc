#include "trainer/data/item_reader.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class ItemReaderTest : public testing::Test {
 protected:
  void SetUp() override { path_ = absl::StrCat(testing::TempDir(), "/items_", getpid(), ".jsonl"); }
  void TearDown() override { ASSERT_TRUE(ShredFile(path_).ok()); }
  absl::StatusOr<std::vector<v1::Item>> Read(const std::string& contents,
                                             const ItemReaderLimits& limits = {}) {
    EXPECT_TRUE(WriteFileAtomically(path_, contents).ok());
    return ReadItems(path_, limits);
  }
  // The message, after checking that it names the line and not the text.
  std::string Error(const std::string& contents, int line) {
    const auto items = Read(contents);
    EXPECT_EQ(items.status().code(), absl::StatusCode::kInvalidArgument) << contents;
    const std::string message(items.status().message());
    EXPECT_TRUE(absl::StartsWith(message, absl::StrCat(path_, ":", line, ": "))) << message;
    EXPECT_FALSE(absl::StrContains(message, "secret")) << message;
    return message;
  }
  std::string path_;
};

TEST_F(ItemReaderTest, ReadsEveryFieldAndIgnoresOthers) {
  const auto items = Read(
      "{\"question\": \"q\", \"answer\": \"a\", \"paraphrased_question\": \"pq\", "
      "\"paraphrased_answer\": \"pa\", \"perturbed_answer\": [\"x\", \"y\"], \"value\": \"v\", "
      "\"person\": {\"id\": 7}, \"kind\": 3}\n");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 1);
  const v1::Item& item = items->front();
  EXPECT_EQ(item.question(), "q");
  EXPECT_EQ(item.answer(), "a");
  EXPECT_EQ(item.paraphrased_question(), "pq");
  EXPECT_EQ(item.paraphrased_answer(), "pa");
  ASSERT_EQ(item.perturbed_answer_size(), 2);
  EXPECT_EQ(item.perturbed_answer(1), "y");
  EXPECT_EQ(item.value(), "v");
  EXPECT_EQ(item.text(), "");
}

TEST_F(ItemReaderTest, TextsAnswerFreeQuestionsAndTofuLines) {
  const auto items = Read(
      "\xef\xbb\xbf{\"text\": \"plain \\u00e9\"}\r\n"
      "\n"
      "   \n"
      "{\"question\": \"Who?\", \"answer\": null}\r\n"
      "{\"question\": \"Who?\", \"answer\": \"He.\", \"perturbed_answer\": \"She.\"}");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 3);
  EXPECT_EQ((*items)[0].text(), "plain é");
  EXPECT_EQ((*items)[1].answer(), "");
  EXPECT_EQ((*items)[2].perturbed_answer(0), "She.");
}

TEST_F(ItemReaderTest, ErrorsNameFileLineAndField) {
  const std::string good = "{\"question\": \"q\"}\n\n";
  EXPECT_TRUE(absl::StrContains(Error(good + "{\"question\": \"secret", 3), "not JSON"));
  EXPECT_TRUE(absl::StrContains(Error(good + "{\"question\": \"secret\xff\"}", 3), "not JSON"));
  EXPECT_TRUE(absl::StrContains(Error("[\"secret\"]", 1), "array"));
  EXPECT_TRUE(absl::StrContains(Error("{\"question\": 17}", 1), "'question' must be a string"));
  EXPECT_TRUE(
      absl::StrContains(Error("{\"question\": \"secret\", \"answer\": [1]}", 1), "'answer'"));
  EXPECT_TRUE(absl::StrContains(
      Error("{\"question\": \"secret\", \"perturbed_answer\": [\"secret\", 2]}", 1),
      "'perturbed_answer'"));
  EXPECT_TRUE(absl::StrContains(Error("{\"name\": \"secret\"}", 1), "neither"));
  EXPECT_TRUE(absl::StrContains(Error("{\"question\": \" \"}", 1), "neither"));
  EXPECT_TRUE(absl::StrContains(Error("{\"answer\": \"secret\"}", 1), "neither"));
  EXPECT_TRUE(
      absl::StrContains(Error("{\"text\": \"secret\", \"question\": \"secret\"}", 1), "'text'"));
  EXPECT_TRUE(
      absl::StrContains(Error("{\"text\": \"secret\", \"answer\": \"secret\"}", 1), "'answer'"));
}

TEST_F(ItemReaderTest, EmptyFilesAndLimits) {
  for (const char* empty : {"", "\n\n", "\xef\xbb\xbf"}) {
    EXPECT_EQ(Read(empty).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const std::string line = "{\"question\": \"q\"}\n";
  ItemReaderLimits limits;
  limits.max_items = 2;
  EXPECT_TRUE(Read(line + line, limits).ok());
  EXPECT_TRUE(absl::StrContains(Read(line + line + line, limits).status().message(), ":3: "));
  limits.max_line_bytes = 10;
  EXPECT_TRUE(absl::StrContains(Read(line, limits).status().message(), ":1: "));
  limits.max_file_bytes = 5;
  EXPECT_EQ(Read(line, limits).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ItemReaderTest, MissingFilesAndFolders) {
  EXPECT_EQ(ReadItems(path_ + ".missing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadItems(testing::TempDir()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ItemReaderTest, DeepNestingIsNoDanger) {
  Error(std::string(500000, '['), 1);
  Error("{\"question\": " + std::string(200000, '[') + std::string(200000, ']') + "}", 1);
}

}  // namespace
}  // namespace unlearn
