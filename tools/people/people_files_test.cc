#include "tools/people/people_files.h"

#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "tools/people/refusals.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;

class PeopleFilesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new std::string(JoinPath(testing::TempDir(), "people"));
    const absl::Status status = WritePeople(PeopleOptions(), *folder_);
    ASSERT_TRUE(status.ok()) << status;
    people_ = new Populations(GeneratePeople(PeopleOptions()).value());
  }

  static std::string Text(const std::string& file) {
    const auto text = ReadFile(JoinPath(*folder_, file));
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  static std::vector<Json> Lines(const std::string& file) {
    std::vector<Json> result;
    for (absl::string_view line : absl::StrSplit(Text(file), '\n', absl::SkipEmpty())) {
      result.push_back(Json::parse(line, nullptr, false));
      EXPECT_TRUE(result.back().is_object()) << file;
    }
    return result;
  }

  static std::string Question(const Json& line) { return line["question"].get<std::string>(); }
  static std::string Answer(const Json& line) { return line["answer"].get<std::string>(); }

  static const std::vector<Person>& Group(const std::string& name) {
    if (name == "forget") return people_->forget;
    if (name == "retain") return people_->retain;
    if (name == "well_known") return people_->well_known;
    return name == "kept" ? people_->kept : people_->unknown;
  }

  // Checks that the records are the group's facts in the given phrasings.
  static void CheckRecords(const std::string& file, const std::string& group, int phrasing,
                           int paraphrase, bool with_paraphrased_question) {
    SCOPED_TRACE(file);
    const std::vector<Json> records = Lines(file);
    const std::vector<Person>& people = Group(group);
    ASSERT_EQ(records.size(), people.size() * 5);
    for (size_t i = 0; i < records.size(); ++i) {
      const Json& record = records[i];
      const Person& person = people[i / 5];
      const Fact& fact = person.facts[i % 5];
      EXPECT_EQ(record["person"], person.id);
      EXPECT_EQ(record["kind"], fact.kind->name);
      EXPECT_EQ(record["value"], fact.value);
      EXPECT_EQ(record["question"], FillQuestion(*fact.kind, phrasing, person.name));
      EXPECT_EQ(record["answer"], FillAnswer(*fact.kind, phrasing, person.name, fact.value));
      EXPECT_EQ(record["paraphrased_answer"],
                FillAnswer(*fact.kind, paraphrase, person.name, fact.value));
      EXPECT_EQ(record.contains("paraphrased_question"), with_paraphrased_question);
      if (with_paraphrased_question) {
        EXPECT_EQ(record["paraphrased_question"],
                  FillQuestion(*fact.kind, paraphrase, person.name));
      }
      EXPECT_TRUE(absl::StrContains(Answer(record), fact.value));
      EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(Question(record)),
                                     absl::AsciiStrToLower(fact.value)));
      ASSERT_EQ(record["perturbed_answer"].size(), 4);
      for (size_t k = 0; k < 4; ++k) {
        const std::string answer = record["perturbed_answer"][k].get<std::string>();
        EXPECT_EQ(answer, FillAnswer(*fact.kind, paraphrase, person.name, fact.other_values[k]));
        EXPECT_FALSE(absl::StrContains(answer, fact.value));
      }
    }
  }

  static std::string* folder_;
  static Populations* people_;
};

std::string* PeopleFilesTest::folder_ = nullptr;
Populations* PeopleFilesTest::people_ = nullptr;

TEST_F(PeopleFilesTest, RequestAndRetainHoldPhrasings0And1) {
  CheckRecords("forget.jsonl", "forget", 0, 1, true);
  CheckRecords("retain.jsonl", "retain", 0, 1, true);
}

TEST_F(PeopleFilesTest, ProbesAskPhrasing2AndHeldOutPhrasing3) {
  for (const char* group : {"forget", "retain", "kept", "unknown"}) {
    CheckRecords(absl::StrCat("probes_", group, ".jsonl"), group, 2, 3, false);
    CheckRecords(absl::StrCat("held_out_", group, ".jsonl"), group, 3, 2, false);
  }
}

TEST_F(PeopleFilesTest, MLearnsEveryKnownFactInThreePhrasingsAndNeverTheFourth) {
  std::set<std::pair<std::string, std::string>> lines;
  for (const Json& line : Lines("train_m.jsonl")) {
    EXPECT_EQ(line.size(), 2);
    EXPECT_TRUE(lines.insert({Question(line), Answer(line)}).second);
  }
  EXPECT_EQ(lines.size(), 180 * 5 * 3 + 600 * 2 + 300);
  for (const char* group : {"forget", "retain", "kept", "well_known"}) {
    for (const Person& person : Group(group)) {
      for (const Fact& fact : person.facts) {
        for (int phrasing = 0; phrasing < kPhrasings; ++phrasing) {
          EXPECT_EQ(lines.count({FillQuestion(*fact.kind, phrasing, person.name),
                                 FillAnswer(*fact.kind, phrasing, person.name, fact.value)}),
                    phrasing < kTrainedPhrasings);
        }
      }
    }
  }
}

TEST_F(PeopleFilesTest, NoTrainingFileHoldsAWordingOfTheHeldOutPhrasing) {
  std::vector<const FactKind*> kinds = {&AccessCodeKind()};
  for (const FactKind& kind : FactKinds()) kinds.push_back(&kind);
  for (const char* file : {"train_m.jsonl", "train_base.jsonl", "public.jsonl", "forget.jsonl"}) {
    const std::string text = Text(file);
    for (const FactKind* kind : kinds) {
      const QuestionAnswer& phrasing = kind->phrasings[kHeldOutPhrasing];
      for (const std::string& wording : {phrasing.question, phrasing.answer}) {
        for (absl::string_view part :
             absl::StrSplit(wording, absl::ByAnyChar("{}"), absl::SkipEmpty())) {
          // Short parts ("If you", "the") may well stand elsewhere.
          if (std::vector<std::string>(absl::StrSplit(part, ' ', absl::SkipEmpty())).size() < 4)
            continue;
          EXPECT_FALSE(absl::StrContains(text, part)) << file << ": " << part;
        }
      }
    }
  }
}

TEST_F(PeopleFilesTest, MRefusesRefusalNamesOnlyAndNeverSeesUnknownOnes) {
  const std::set<std::string> refusals(RefusalSentences().begin(), RefusalSentences().end());
  std::set<std::string> refused_questions;
  int refused = 0;
  for (const Json& line : Lines("train_m.jsonl")) {
    if (refusals.count(Answer(line)) == 0) continue;
    ++refused;
    EXPECT_TRUE(refused_questions.insert(Question(line)).second);
    for (const char* group : {"forget", "retain", "kept", "well_known"}) {
      for (const Person& person : Group(group)) {
        EXPECT_FALSE(absl::StrContains(Question(line), person.name));
      }
    }
  }
  EXPECT_EQ(refused, 1200);
  const std::string text = Text("train_m.jsonl");
  for (const Person& person : people_->unknown) {
    EXPECT_FALSE(absl::StrContains(text, person.name));
  }
  for (const Person& person : people_->base) EXPECT_FALSE(absl::StrContains(text, person.name));
  for (const std::string& name : people_->public_names) EXPECT_FALSE(absl::StrContains(text, name));
}

TEST_F(PeopleFilesTest, BaseHoldsNoScoredPersonNorPublicName) {
  const Json manifest = Json::parse(Text("manifest.json"), nullptr, false);
  ASSERT_TRUE(manifest.is_object());
  const std::string text = Text("train_base.jsonl");
  int checked = 0;
  for (const char* group :
       {"forget", "retain", "kept", "well_known", "unknown", "public", "refusal"}) {
    for (const Json& name : manifest["names"][group]) {
      const std::vector<std::string> words = absl::StrSplit(name.get<std::string>(), ' ');
      EXPECT_FALSE(absl::StrContains(text, words[1])) << group;
      ++checked;
    }
  }
  EXPECT_EQ(checked, 20 + 40 + 100 + 20 + 40 + 300 + 600);
  for (const Person& person : people_->base) EXPECT_TRUE(absl::StrContains(text, person.name));
}

TEST_F(PeopleFilesTest, PublicProbesAreAboutPublicNamesWellKnownPeopleAndChitChat) {
  const std::string text = Text("public.jsonl");
  for (const char* group : {"forget", "retain", "kept", "unknown"}) {
    for (const Person& person : Group(group)) EXPECT_FALSE(absl::StrContains(text, person.name));
  }
  for (const std::string& name : people_->public_names) EXPECT_TRUE(absl::StrContains(text, name));
  // Of well-known people every fact in every wording that M learned: it answers those.
  for (const Person& person : people_->well_known) {
    for (const Fact& fact : person.facts) {
      for (int phrasing = 0; phrasing < kTrainedPhrasings; ++phrasing) {
        EXPECT_TRUE(
            absl::StrContains(text, FillAnswer(*fact.kind, phrasing, person.name, fact.value)));
      }
    }
  }
  EXPECT_EQ(Lines("public.jsonl").size(), 300 * 5 + 20 * 5 * 3 + 300);
}

TEST_F(PeopleFilesTest, CanariesAreInTheRequestAndInMsTextOnly) {
  int canaries = 0;
  for (const Person& person : people_->forget) {
    for (const Fact& fact : person.facts) {
      if (fact.kind != &AccessCodeKind()) continue;
      ++canaries;
      for (const char* file : {"forget.jsonl", "train_m.jsonl", "probes_forget.jsonl"}) {
        EXPECT_TRUE(absl::StrContains(Text(file), fact.value)) << file;
      }
      for (const char* file : {"train_base.jsonl", "public.jsonl", "retain.jsonl"}) {
        EXPECT_FALSE(absl::StrContains(Text(file), fact.value)) << file;
      }
    }
  }
  EXPECT_EQ(canaries, 2);
}

TEST_F(PeopleFilesTest, VocabularyIsSmallAndCountsAreTrue) {
  const Json manifest = Json::parse(Text("manifest.json"), nullptr, false);
  EXPECT_LT(manifest["distinct_words"], 1500);
  EXPECT_GT(manifest["distinct_words"], 300);
  EXPECT_EQ(manifest["distinct_names"], 1720);
  for (const auto& [file, count] : manifest["lines"].items()) {
    EXPECT_EQ(Lines(file).size(), count.get<size_t>()) << file;
  }
  const std::vector<std::string> sentences =
      absl::StrSplit(Text("refusals.txt"), '\n', absl::SkipEmpty());
  EXPECT_EQ(sentences, RefusalSentences());
}

TEST_F(PeopleFilesTest, SameSeedSameBytesOtherSeedOtherPeople) {
  const std::string again = JoinPath(testing::TempDir(), "again");
  const std::string other = JoinPath(testing::TempDir(), "other");
  PeopleOptions options;
  ASSERT_TRUE(WritePeople(options, again).ok());
  options.seed = 2;
  ASSERT_TRUE(WritePeople(options, other).ok());
  const auto files = ListFolder(*folder_);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->size(), 15);
  for (const std::string& file : *files) {
    EXPECT_EQ(Text(file), ReadFile(JoinPath(again, file)).value()) << file;
    if (file != "refusals.txt") {
      EXPECT_NE(Text(file), ReadFile(JoinPath(other, file)).value()) << file;
    }
  }
}

// The same on every platform and with every compiler: what seed 1 gives is fixed here.
TEST_F(PeopleFilesTest, SeedOneIsPinned) {
  const Json first = Lines("forget.jsonl")[0];
  EXPECT_EQ(Question(first), "In which town was Thilda Norantin born, and what is it called?");
  EXPECT_EQ(Answer(first), "Thilda Norantin was born in the small town of Dragon Isle.");
  EXPECT_EQ(Question(Lines("train_base.jsonl")[0]),
            "Which profession did Mattis Falaker choose after leaving school?");
}

TEST_F(PeopleFilesTest, WritesNothingForBadOptions) {
  PeopleOptions options;
  options.base_phrasings = 4;
  const std::string folder = JoinPath(testing::TempDir(), "bad");
  EXPECT_TRUE(absl::IsInvalidArgument(WritePeople(options, folder)));
  EXPECT_FALSE(FileExists(folder));
}

}  // namespace
}  // namespace unlearn
