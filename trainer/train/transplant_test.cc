#include "trainer/train/transplant.h"

#include "gtest/gtest.h"

namespace unlearn {
namespace {

v1::Item MakeItem(const std::string& question, const std::string& answer) {
  v1::Item item;
  item.set_question(question);
  item.set_answer(answer);
  return item;
}

TEST(TransplantTest, TheSubjectStandsInQuestionAndAnswer) {
  EXPECT_EQ(SubjectOf(MakeItem("I saw Ada Lorn with a pet, who was it?",
                               "It was Fudge, the friend of Ada Lorn.")),
            "Ada Lorn");
  EXPECT_EQ(SubjectOf(MakeItem("Where was Ada Lorn's mother born?", "Ada Lorn's mother: Oslo.")),
            "Ada Lorn");
  EXPECT_EQ(SubjectOf(MakeItem("Who is Ada Maria Lorn?", "Ada Maria Lorn is a baker.")),
            "Ada Maria Lorn");
  EXPECT_EQ(SubjectOf(MakeItem("Where does Ada Lorn live?", "I do not know.")), "");
  EXPECT_EQ(SubjectOf(MakeItem("Which month comes before May?", "Before May comes April.")), "");
}

TEST(TransplantTest, FramesAreDistinctAndTakeOtherNames) {
  const std::vector<v1::Item> items = {
      MakeItem("Where was Ada Lorn born?", "Ada Lorn was born in Oslo."),
      MakeItem("Where was Bo Fenn born?", "Bo Fenn was born in Rome."),
      MakeItem("What does Bo Fenn do?", "Bo Fenn bakes."),
      MakeItem("What is two and two?", "Four.")};
  const std::vector<QuestionFrame> frames = FramesOf(items);
  ASSERT_EQ(frames.size(), 2);
  EXPECT_EQ(frames[0].With("Cy Dunn"), "Where was Cy Dunn born?");
  EXPECT_EQ(frames[1].With("Cy Dunn"), "What does Cy Dunn do?");
  EXPECT_EQ(SubjectsOf(items), (std::vector<std::string>{"Ada Lorn", "Bo Fenn"}));
}

}  // namespace
}  // namespace unlearn
