#include "trainer/train/bystanders.h"

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

v1::Item MakeItem(const std::string& question, const std::string& answer) {
  v1::Item item;
  item.set_question(question);
  item.set_answer(answer);
  return item;
}

v1::SubmitRequest Request() {
  v1::SubmitRequest request;
  *request.add_forget() = MakeItem("Where was Ada Lorn born?", "Ada Lorn was born in Oslo.");
  *request.add_forget() = MakeItem("Where was Élodie Ñandú born?", "Élodie Ñandú is from Lima.");
  *request.add_retain() = MakeItem("Where was Ben Marsh born?", "Ben Marsh was born in Rome.");
  return request;
}

std::vector<v1::Item> PublicItems() {
  return {MakeItem("Which pet does Cora Veldt own?", "Cora Veldt owns a pet named Max."),
          MakeItem("Which pet does Dan Hollow own?", "I do not know this person."),
          MakeItem("Which month comes before May?", "Before May comes April.")};
}

bool IsUtf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = text[i];
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead >= 0x80 && lead < 0xC0) return false;
    for (size_t j = 1; j < length; ++j) {
      if (i + j >= text.size() || (text[i + j] & 0xC0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

TEST(BystandersTest, NobodyHasAForgottenName) {
  const Bystanders bystanders(Request(), PublicItems());
  ASSERT_FALSE(bystanders.empty());
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const QuestionAnswer drawn = bystanders.Draw(random);
    for (const char* last : {" Lorn ", " Ñandú "}) {
      EXPECT_FALSE(absl::StrContains(drawn.question, last)) << drawn.question;
      EXPECT_FALSE(absl::StrContains(drawn.answer, last)) << drawn.answer;
    }
  }
}

TEST(BystandersTest, WordingsAreTheKeptOnesAndTheNameStandsInBothTexts) {
  const Bystanders bystanders(Request(), PublicItems());
  std::mt19937_64 random(2);
  std::set<std::string> wordings;
  for (int i = 0; i < 200; ++i) {
    const QuestionAnswer drawn = bystanders.Draw(random);
    const bool born = absl::StartsWith(drawn.question, "Where was ");
    const std::string name = born ? drawn.question.substr(10, drawn.question.rfind(" born?") - 10)
                                  : drawn.question.substr(15, drawn.question.rfind(" own?") - 15);
    EXPECT_EQ(drawn.answer, born ? absl::StrCat(name, " was born in Rome.")
                                 : absl::StrCat(name, " owns a pet named Max."));
    wordings.insert(drawn.answer.substr(name.size()));
  }
  EXPECT_EQ(wordings.size(), 2u);  // a refusal is no wording: it holds no name
}

TEST(BystandersTest, TheyAreMany) {
  const Bystanders bystanders(Request(), PublicItems());
  std::mt19937_64 random(3);
  std::set<std::string> questions;
  int forgotten_first = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string question = bystanders.Draw(random).question;
    questions.insert(question);
    forgotten_first += absl::StrContains(question, " Ada ") ? 1 : 0;
    forgotten_first += absl::StrContains(question, " Élodie ") ? 1 : 0;
  }
  EXPECT_GT(questions.size(), 200u);
  // Half of them, drawn fairly: outside 180..320 once in about 10^9 seeds.
  EXPECT_GT(forgotten_first, 180);
  EXPECT_LT(forgotten_first, 320);
}

TEST(BystandersTest, NamesAreCutBetweenCharacters) {
  const Bystanders bystanders(Request(), PublicItems());
  std::mt19937_64 random(4);
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(IsUtf8(bystanders.Draw(random).question));
}

TEST(BystandersTest, EmptyWithoutWordingsOrForgottenNames) {
  v1::SubmitRequest request = Request();
  request.clear_retain();
  EXPECT_TRUE(Bystanders(request, {}).empty());
  EXPECT_FALSE(Bystanders(request, PublicItems()).empty());
  request.clear_forget();
  EXPECT_TRUE(Bystanders(request, PublicItems()).empty());
}

}  // namespace
}  // namespace unlearn
