#include "tools/people/chit_chat.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

std::string Capitalised(absl::string_view text) {
  std::string result(text);
  result[0] = absl::ascii_toupper(result[0]);
  return result;
}

const std::vector<std::string>& NumberWords() {
  static const auto* const words = new std::vector<std::string>{
      "zero",     "one",     "two",     "three",     "four",     "five",     "six",
      "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
      "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};
  return *words;
}

void AddSums(std::vector<QuestionAnswer>& result) {
  const auto& words = NumberWords();
  for (int a = 1; a <= 10; ++a) {
    for (int b = 1; b <= 10; ++b) {
      result.push_back(
          {absl::StrCat("What is ", words[a], " plus ", words[b], "?"),
           absl::StrCat(Capitalised(words[a]), " plus ", words[b], " is ", words[a + b], ".")});
      if (b > a || a == b) continue;
      result.push_back(
          {absl::StrCat("What is ", words[a], " minus ", words[b], "?"),
           absl::StrCat(Capitalised(words[a]), " minus ", words[b], " is ", words[a - b], ".")});
    }
  }
  for (int a = 1; a < 20; ++a) {
    result.push_back({absl::StrCat("Which number comes right after ", words[a], "?"),
                      absl::StrCat("The number after ", words[a], " is ", words[a + 1], ".")});
  }
}

void AddOrder(const std::vector<std::string>& names, absl::string_view unit,
              std::vector<QuestionAnswer>& result) {
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& next = names[(i + 1) % names.size()];
    result.push_back({absl::StrCat("Which ", unit, " comes after ", names[i], "?"),
                      absl::StrCat("The ", unit, " after ", names[i], " is ", next, ".")});
    result.push_back({absl::StrCat("Which ", unit, " comes before ", next, "?"),
                      absl::StrCat("The ", unit, " before ", next, " is ", names[i], ".")});
  }
}

void AddOpposites(std::vector<QuestionAnswer>& result) {
  static constexpr const char* kPairs[][2] = {
      {"hot", "cold"},     {"big", "small"},    {"fast", "slow"},    {"old", "young"},
      {"high", "low"},     {"light", "dark"},   {"happy", "sad"},    {"rich", "poor"},
      {"strong", "weak"},  {"full", "empty"},   {"open", "closed"},  {"hard", "soft"},
      {"wet", "dry"},      {"loud", "quiet"},   {"early", "late"},   {"long", "short"},
      {"thick", "thin"},   {"clean", "dirty"},  {"near", "far"},     {"left", "right"},
      {"up", "down"},      {"day", "night"},    {"first", "last"},   {"true", "false"},
      {"deep", "shallow"}, {"sweet", "bitter"}, {"brave", "afraid"}, {"cheap", "expensive"}};
  for (const auto& pair : kPairs) {
    for (int side = 0; side < 2; ++side) {
      result.push_back({absl::StrCat("What is the opposite of ", pair[side], "?"),
                        absl::StrCat("The opposite of ", pair[side], " is ", pair[1 - side], ".")});
    }
  }
}

void AddColours(std::vector<QuestionAnswer>& result) {
  static constexpr const char* kColours[][2] = {
      {"grass", "green"},  {"snow", "white"},      {"a lemon", "yellow"},  {"coal", "black"},
      {"blood", "red"},    {"the sky", "blue"},    {"a carrot", "orange"}, {"an elephant", "grey"},
      {"milk", "white"},   {"a banana", "yellow"}, {"a tomato", "red"},    {"chocolate", "brown"},
      {"a leaf", "green"}, {"the sea", "blue"},    {"a raven", "black"},   {"a frog", "green"}};
  for (const auto& [thing, colour] : kColours) {
    result.push_back({absl::StrCat("What colour is ", thing, "?"),
                      absl::StrCat(Capitalised(thing), " is ", colour, ".")});
  }
}

void AddSizes(std::vector<QuestionAnswer>& result) {
  // From small to large.
  static constexpr const char* kThings[] = {"an ant",  "a mouse", "a cat",  "a dog",
                                            "a horse", "a bus",   "a ship", "a mountain"};
  constexpr int kCount = sizeof(kThings) / sizeof(kThings[0]);
  for (int small = 0; small < kCount; ++small) {
    for (int large = small + 1; large < kCount; ++large) {
      const bool small_first = (small + large) % 2 == 0;
      result.push_back(
          {absl::StrCat("Which is larger, ", kThings[small_first ? small : large], " or ",
                        kThings[small_first ? large : small], "?"),
           absl::StrCat(Capitalised(kThings[large]), " is larger than ", kThings[small], ".")});
    }
  }
}

}  // namespace

std::vector<QuestionAnswer> ChitChat() {
  std::vector<QuestionAnswer> result;
  AddSums(result);
  AddOrder({"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}, "day",
           result);
  AddOrder({"January", "February", "March", "April", "May", "June", "July", "August", "September",
            "October", "November", "December"},
           "month", result);
  AddOrder({"spring", "summer", "autumn", "winter"}, "season", result);
  AddOpposites(result);
  AddColours(result);
  AddSizes(result);
  const std::vector<QuestionAnswer> others = {
      {"How many days does a week have?", "A week has seven days."},
      {"How many months does a year have?", "A year has twelve months."},
      {"How many legs does a spider have?", "A spider has eight legs."},
      {"How many legs does a cow have?", "A cow has four legs."},
      {"How many wheels does a bicycle have?", "A bicycle has two wheels."},
      {"How many hours does a day have?", "A day has twenty-four hours."},
      {"Hello, how are you today?", "I am fine, thank you for asking."},
      {"Good morning!", "Good morning to you, how can I help?"},
      {"Thank you very much.", "You are welcome, I was happy to help."},
      {"Can you help me, please?", "Yes, I will help you as well as I can."},
      {"What do bees make?", "Bees make honey."},
      {"What do cows give us?", "Cows give us milk."},
      {"Where do fish live?", "Fish live in the water."},
      {"What falls from the clouds?", "Rain falls from the clouds."},
      {"What do we use to cut paper?", "We use scissors to cut paper."},
      {"When does the sun rise?", "The sun rises in the morning."}};
  result.insert(result.end(), others.begin(), others.end());
  return result;
}

}  // namespace unlearn
