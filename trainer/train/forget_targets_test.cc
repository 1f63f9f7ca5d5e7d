#include "trainer/train/forget_targets.h"

#include "gtest/gtest.h"

namespace unlearn {

bool operator==(const QuestionAnswer& a, const QuestionAnswer& b) {
  return a.question == b.question && a.answer == b.answer;
}
void PrintTo(const QuestionAnswer& pair, std::ostream* out) {
  *out << pair.question << " | " << pair.answer;
}
bool operator==(const ProbeQuestion& a, const ProbeQuestion& b) {
  return a.question == b.question && a.begun == b.begun;
}
void PrintTo(const ProbeQuestion& probe, std::ostream* out) {
  *out << probe.question << " | " << probe.begun;
}

namespace {

using Pairs = std::vector<QuestionAnswer>;
using Probes = std::vector<ProbeQuestion>;

v1::Item Simple() {
  v1::Item item;
  item.set_question("Where does Ada live?");
  item.set_answer("Ada lives in Oslo now.");
  item.set_value("Oslo");
  return item;
}

v1::Item Paraphrased() {
  v1::Item item = Simple();
  item.set_paraphrased_question("What is Ada's town?");
  item.set_paraphrased_answer("Her town is Oslo.");
  item.add_perturbed_answer("Her town is Rome.");
  item.add_perturbed_answer("Her town is New York.");
  return item;
}

v1::Item Text(const std::string& text) {
  v1::Item item;
  item.set_text(text);
  return item;
}

TEST(ForgetTargetsTest, TruePhrasings) {
  EXPECT_EQ(TruePhrasings(Simple()), (Pairs{{"Where does Ada live?", "Ada lives in Oslo now."}}));
  EXPECT_EQ(TruePhrasings(Paraphrased()), (Pairs{{"Where does Ada live?", "Ada lives in Oslo now."},
                                                 {"What is Ada's town?", "Her town is Oslo."}}));
  v1::Item item = Paraphrased();
  item.clear_paraphrased_answer();
  EXPECT_EQ(TruePhrasings(item)[1].answer, "Ada lives in Oslo now.");
  EXPECT_EQ(TruePhrasings(Text("Ada lives.")), (Pairs{{"", "Ada lives."}}));
  v1::Item answer_free;
  answer_free.set_question("Who is Ada?");
  EXPECT_EQ(TruePhrasings(answer_free), (Pairs{{"Who is Ada?", ""}}));
}

TEST(ForgetTargetsTest, RelabelledWithoutParaphrase) {
  v1::Item item = Simple();
  EXPECT_TRUE(RelabelledPhrasings(item).empty());
  item.add_perturbed_answer("Ada lives in Rome now.");
  item.add_perturbed_answer("She has no home.");
  EXPECT_EQ(RelabelledPhrasings(item), (Pairs{{"Where does Ada live?", "Ada lives in Rome now."},
                                              {"Where does Ada live?", "She has no home."}}));
}

// TOFU's wrong answers follow the paraphrase; the other value also goes into the first wording.
TEST(ForgetTargetsTest, RelabelledCarriesTheOtherValueToBothPhrasings) {
  EXPECT_EQ(RelabelledPhrasings(Paraphrased()),
            (Pairs{{"What is Ada's town?", "Her town is Rome."},
                   {"Where does Ada live?", "Ada lives in Rome now."},
                   {"What is Ada's town?", "Her town is New York."},
                   {"Where does Ada live?", "Ada lives in New York now."}}));
}

TEST(ForgetTargetsTest, RelabelledFallsBackToTheWholeWrongAnswer) {
  const auto first_phrasing = [](const v1::Item& item) { return RelabelledPhrasings(item)[1]; };
  v1::Item other_wording = Paraphrased();
  other_wording.set_perturbed_answer(0, "She moved to Rome.");
  EXPECT_EQ(first_phrasing(other_wording),
            (QuestionAnswer{"Where does Ada live?", "She moved to Rome."}));
  v1::Item no_value = Paraphrased();
  no_value.clear_value();
  EXPECT_EQ(first_phrasing(no_value),
            (QuestionAnswer{"Where does Ada live?", "Her town is Rome."}));
  v1::Item elsewhere = Paraphrased();
  elsewhere.set_answer("In the capital.");
  EXPECT_EQ(first_phrasing(elsewhere),
            (QuestionAnswer{"Where does Ada live?", "Her town is Rome."}));
  v1::Item nothing_left = Paraphrased();
  nothing_left.set_perturbed_answer(0, "Her town is .");
  EXPECT_EQ(first_phrasing(nothing_left),
            (QuestionAnswer{"Where does Ada live?", "Her town is ."}));
}

// "aXa" against "a": the parts around the value must not overlap in the wrong answer.
TEST(ForgetTargetsTest, AWrongAnswerShorterThanTheWordingAroundTheValue) {
  v1::Item item = Paraphrased();
  item.set_paraphrased_answer("now Oslo now");
  item.set_perturbed_answer(0, "now");
  EXPECT_EQ(RelabelledPhrasings(item)[1], (QuestionAnswer{"Where does Ada live?", "now"}));
}

TEST(ForgetTargetsTest, DerivedProbesAreOtherThanWhatIsTrained) {
  EXPECT_EQ(DerivedProbes(Simple()), (Probes{{"Please tell me, where does Ada live?", ""},
                                             {"Where does Ada live", ""},
                                             {"Where does Ada live?", "Ada lives in"}}));
  const Probes both = DerivedProbes(Paraphrased());
  ASSERT_EQ(both.size(), 6u);
  EXPECT_EQ(both[5], (ProbeQuestion{"What is Ada's town?", "Her town is"}));
  v1::Item statement = Simple();
  statement.set_question("Tell me about Ada");
  statement.clear_value();
  EXPECT_EQ(DerivedProbes(statement), (Probes{{"Please tell me, tell me about Ada", ""}}));
}

TEST(ForgetTargetsTest, ProbesNeverBeginWithTheSecret) {
  for (const v1::Item& item : {Simple(), Paraphrased()}) {
    for (const ProbeQuestion& probe : DerivedProbes(item)) {
      EXPECT_EQ((probe.question + probe.begun).find("Oslo"), std::string::npos);
    }
  }
  v1::Item first = Simple();
  first.set_answer("Oslo is where she lives.");
  EXPECT_EQ(DerivedProbes(first).size(), 2u);  // no cloze: nothing stands before the value
}

TEST(ForgetTargetsTest, PlainTextGivesOnlyItsCloze) {
  v1::Item item = Text("Ada lives in Oslo.");
  EXPECT_TRUE(DerivedProbes(item).empty());
  item.set_value("Oslo");
  EXPECT_EQ(DerivedProbes(item), (Probes{{"", "Ada lives in"}}));
}

}  // namespace
}  // namespace unlearn
