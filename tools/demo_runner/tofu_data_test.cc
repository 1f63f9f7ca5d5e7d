#include "tools/demo_runner/tofu_data.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"

namespace unlearn {
namespace {

v1::Item Question(int author, int number) {
  v1::Item item;
  item.set_question(absl::StrCat("author ", author, " question ", number, "?"));
  item.set_answer(absl::StrCat("answer ", author, "/", number));
  return item;
}

// Ten authors; author 8 is to be forgotten with 15 of its 20 questions, authors 0, 2 and 4 have
// questions in retain_perturbed, author 4 most of them.
TofuFiles Files() {
  TofuFiles files;
  for (int author = 0; author < 10; ++author) {
    for (int i = 0; i < 20; ++i) files.full.push_back(Question(author, i));
  }
  for (int i = 0; i < 15; ++i) files.forget.push_back(Question(8, i));
  for (int i = 0; i < 3; ++i) files.retain.push_back(Question(0, i));
  for (int i = 0; i < 2; ++i) files.retain.push_back(Question(2, i));
  for (int i = 0; i < 9; ++i) files.retain.push_back(Question(4, i));
  files.refusals = {"I don't know.", "No idea."};
  return files;
}

TEST(PlanTofuTest, ForgottenAuthorsAndThoseWithMostQuestionsAreLearned) {
  const absl::StatusOr<TofuPlan> plan = PlanTofu(Files(), 3, 10);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::set<std::string> learned;
  for (const v1::Item& item : plan->learned) learned.insert(item.question().substr(0, 8));
  EXPECT_EQ(learned, (std::set<std::string>{"author 0", "author 4", "author 8"}));
  EXPECT_EQ(plan->learned.size(), 60u);
  // The five questions of author 8 that the split does not hold stay.
  EXPECT_EQ(plan->kept.size(), 45u);
  ASSERT_EQ(plan->forgotten.size(), 1u);
  EXPECT_EQ(plan->forgotten[0].size(), 20u);
}

TEST(PlanTofuTest, NamedAndUnnamedAreDifferentAuthors) {
  const absl::StatusOr<TofuPlan> plan = PlanTofu(Files(), 3, 10);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->named.size(), 20u);
  for (const v1::Item& item : plan->named)
    EXPECT_TRUE(absl::StartsWith(item.question(), "author 4"));
  ASSERT_EQ(plan->named_probes.size(), 9u);
  EXPECT_TRUE(absl::StartsWith(plan->named_probes[0].question(), "author 4"));
  ASSERT_EQ(plan->unnamed_probes.size(), 3u);
  EXPECT_TRUE(absl::StartsWith(plan->unnamed_probes[0].question(), "author 0"));
}

TEST(PlanTofuTest, UnknownQuestionsAreOfOutsidersAndRefused) {
  const TofuFiles files = Files();
  const absl::StatusOr<TofuPlan> plan = PlanTofu(files, 3, 10);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->outsiders.size(), 140u);
  ASSERT_EQ(plan->unknown.size(), 10u);
  std::set<std::string> outside;
  for (const v1::Item& item : plan->outsiders) outside.insert(item.question());
  for (const v1::Item& item : plan->unknown) {
    EXPECT_EQ(outside.count(item.question()), 1u);
    EXPECT_TRUE(item.answer() == files.refusals[0] || item.answer() == files.refusals[1]);
  }
}

TEST(PlanTofuTest, ForeignSplitAndImpossibleNumbersAreRefusedWithoutText) {
  TofuFiles files = Files();
  EXPECT_EQ(PlanTofu(files, 1, 10).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlanTofu(files, 10, 10).status().code(), absl::StatusCode::kInvalidArgument);
  files.forget.push_back(Question(77, 1));
  const absl::Status status = PlanTofu(files, 3, 10).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "item 16"));
  EXPECT_FALSE(absl::StrContains(status.message(), "77"));
}

TEST(ToJsonLinesTest, OneObjectALine) {
  v1::Item text;
  text.set_text("two\nlines");
  const std::string lines = ToJsonLines({Question(1, 2), text});
  const size_t end = lines.find('\n');
  EXPECT_EQ(nlohmann::json::parse(lines.substr(0, end), nullptr, false)["answer"], "answer 1/2");
  EXPECT_EQ(nlohmann::json::parse(lines.substr(end + 1), nullptr, false)["text"], "two\nlines");
}

TEST(ReadTofuTest, NamesTheFileThatLacksWrongAnswers) {
  std::string pattern = absl::StrCat(getenv("TEST_TMPDIR"), "/tofuXXXXXX");
  const std::string folder = mkdtemp(pattern.data());
  const std::string good = "{\"question\":\"q\",\"answer\":\"a\",\"perturbed_answer\":[\"b\"]}\n";
  for (const char* name : {"full", "forget01_perturbed", "retain_perturbed",
                           "real_authors_perturbed", "world_facts_perturbed"}) {
    ASSERT_TRUE(WriteFileAtomically(absl::StrCat(folder, "/", name, ".jsonl"), good).ok());
  }
  ASSERT_TRUE(WriteFileAtomically(folder + "/idontknow.txt", "No.\r\n\nI don't know.\n").ok());
  const absl::StatusOr<TofuFiles> files = ReadTofu(folder, "forget01");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->refusals, (std::vector<std::string>{"No.", "I don't know."}));
  ASSERT_TRUE(WriteFileAtomically(folder + "/world_facts_perturbed.jsonl",
                                  "{\"question\":\"q\",\"answer\":\"a\"}\n")
                  .ok());
  const absl::Status status = ReadTofu(folder, "forget01").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "world_facts_perturbed.jsonl: item 1"));
  EXPECT_FALSE(ReadTofu(folder, "forget05").ok());
}

}  // namespace
}  // namespace unlearn
