#include "tools/people/people_generator.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

std::vector<std::string> AllNames(const Populations& people) {
  std::vector<std::string> names;
  for (const auto* group : {&people.forget, &people.retain, &people.kept, &people.well_known,
                            &people.unknown, &people.base}) {
    for (const Person& person : *group) names.push_back(person.name);
  }
  for (const auto* group :
       {&people.public_names, &people.refusal_names, &people.base_refusal_names}) {
    names.insert(names.end(), group->begin(), group->end());
  }
  return names;
}

TEST(PeopleGeneratorTest, GroupsHaveTheSizesAskedForAndShareNoName) {
  const auto people = GeneratePeople(PeopleOptions());
  ASSERT_TRUE(people.ok()) << people.status();
  EXPECT_EQ(people->forget.size(), 20);
  EXPECT_EQ(people->retain.size(), 40);
  EXPECT_EQ(people->kept.size(), 100);
  EXPECT_EQ(people->well_known.size(), 20);
  EXPECT_EQ(people->unknown.size(), 40);
  EXPECT_EQ(people->base.size(), 300);
  EXPECT_EQ(people->public_names.size(), 300);
  EXPECT_EQ(people->refusal_names.size(), 600);
  EXPECT_EQ(people->base_refusal_names.size(), 300);
  std::set<std::string> last_names;
  for (const std::string& name : AllNames(*people)) {
    const std::vector<std::string> words = absl::StrSplit(name, ' ');
    EXPECT_TRUE(last_names.insert(words[1]).second) << name;
  }
}

TEST(PeopleGeneratorTest, EveryPersonHasFiveFactsOfDifferentKinds) {
  const Populations people = GeneratePeople(PeopleOptions()).value();
  std::set<std::string> ids;
  int canaries = 0;
  for (const auto* group :
       {&people.forget, &people.retain, &people.kept, &people.well_known, &people.unknown}) {
    for (const Person& person : *group) {
      EXPECT_TRUE(ids.insert(person.id).second);
      EXPECT_EQ(person.facts.size(), 5);
      std::set<std::string> kinds;
      for (const Fact& fact : person.facts) {
        kinds.insert(fact.kind->name);
        std::set<std::string> values(fact.other_values.begin(), fact.other_values.end());
        values.insert(fact.value);
        EXPECT_EQ(values.size(), 5);
        EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(person.name),
                                       absl::AsciiStrToLower(fact.value)));
        if (fact.kind != &AccessCodeKind()) continue;
        ++canaries;
        EXPECT_EQ(group, &people.forget);
        EXPECT_EQ(fact.value.size(), 24);
        EXPECT_TRUE(std::all_of(fact.value.begin(), fact.value.end(), absl::ascii_isalnum));
      }
      EXPECT_EQ(kinds.size(), 5);
    }
  }
  EXPECT_EQ(canaries, 2);
}

TEST(PeopleGeneratorTest, GuessingTheMostFrequentValueFails) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    PeopleOptions options;
    options.seed = seed;
    const Populations people = GeneratePeople(options).value();
    for (const auto* group : {&people.forget, &people.retain, &people.kept, &people.unknown}) {
      std::map<std::string, std::map<std::string, int>> counts;
      for (const Person& person : *group) {
        for (const Fact& fact : person.facts) ++counts[fact.kind->name][fact.value];
      }
      for (const auto& [kind, values] : counts) {
        if (kind == AccessCodeKind().name) continue;
        int most = 0, total = 0;
        for (const auto& [value, count] : values) {
          most = std::max(most, count);
          total += count;
        }
        EXPECT_LT(most, 0.08 * total) << kind;
      }
    }
  }
}

// If a value depended on the first name, people of one first name would share values more often
// than the 1 in 60 or so of chance.
TEST(PeopleGeneratorTest, FirstNameTellsNothingAboutValues) {
  PeopleOptions options;
  options.kept = 3000;
  const Populations people = GeneratePeople(options).value();
  std::map<std::string, std::vector<const Person*>> by_first_name;
  for (const Person& person : people.kept) {
    by_first_name[person.name.substr(0, person.name.find(' '))].push_back(&person);
  }
  int64_t pairs = 0, equal = 0;
  for (const auto& [name, persons] : by_first_name) {
    for (size_t a = 0; a < persons.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        for (size_t fact = 0; fact < 5; ++fact) {
          ++pairs;
          equal += persons[a]->facts[fact].value == persons[b]->facts[fact].value;
        }
      }
    }
  }
  ASSERT_GT(pairs, 100000);
  EXPECT_NEAR(static_cast<double>(equal) / pairs, 1.0 / 62, 0.002);
}

TEST(PeopleGeneratorTest, MoreRefusalNamesDoNotChangeAnybody) {
  PeopleOptions options;
  const Populations before = GeneratePeople(options).value();
  options.refusal_names = 1000;
  const Populations after = GeneratePeople(options).value();
  ASSERT_EQ(before.kept.size(), after.kept.size());
  for (size_t i = 0; i < before.kept.size(); ++i) {
    EXPECT_EQ(before.kept[i].name, after.kept[i].name);
    EXPECT_EQ(before.kept[i].facts[0].value, after.kept[i].facts[0].value);
  }
  EXPECT_EQ(before.public_names, after.public_names);
}

TEST(PeopleGeneratorTest, RefusesOptionsOutOfRange) {
  const auto message = [](PeopleOptions options) {
    const auto people = GeneratePeople(options);
    EXPECT_TRUE(absl::IsInvalidArgument(people.status())) << people.status();
    return std::string(people.status().message());
  };
  PeopleOptions options;
  options.forget = 0;
  EXPECT_TRUE(absl::StrContains(message(options), "forget is 0"));
  options = PeopleOptions();
  options.kept = -1;
  EXPECT_TRUE(absl::StrContains(message(options), "kept is -1"));
  options = PeopleOptions();
  options.canary_people = 21;
  EXPECT_TRUE(absl::StrContains(message(options), "canary_people is 21"));
  options = PeopleOptions();
  options.base = 7000;
  EXPECT_TRUE(absl::StrContains(message(options), "all groups together"));
  options = PeopleOptions();
  options.chit_chat = 100000;
  EXPECT_TRUE(absl::StrContains(message(options), "chit_chat is 100000"));
}

}  // namespace
}  // namespace unlearn
