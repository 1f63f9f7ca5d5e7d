#include "tools/people/people_generator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/status_macros.h"
#include "tools/people/chit_chat.h"
#include "tools/people/name_maker.h"
#include "tools/people/seeded_random.h"

namespace unlearn {
namespace {

constexpr int kOtherValues = 4;
constexpr int kCanaryCharacters = 24;
constexpr int kMostNames = 8000;  // the syllables yield more, but ever more slowly

absl::Status CheckRange(absl::string_view field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; use ", low, " to ", high));
}

std::string RandomCode(SeededRandom& random) {
  static constexpr char kCharacters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string code;
  for (int i = 0; i < kCanaryCharacters; ++i) {
    code.push_back(kCharacters[random.Below(sizeof(kCharacters) - 1)]);
  }
  return code;
}

// Deals the values of one kind: shuffled, and shuffled anew when all were dealt.
class ValueDeck {
 public:
  explicit ValueDeck(const FactKind& kind) : kind_(&kind), next_(kind.values.size()) {}

  Fact Deal(SeededRandom& random) {
    if (next_ == kind_->values.size()) {
      order_ = kind_->values;
      random.Shuffle(order_);
      next_ = 0;
    }
    Fact fact;
    fact.kind = kind_;
    fact.value = order_[next_++];
    while (fact.other_values.size() < kOtherValues) {
      const std::string& other = random.Pick(kind_->values);
      const auto& others = fact.other_values;
      if (other == fact.value || std::count(others.begin(), others.end(), other) > 0) continue;
      fact.other_values.push_back(other);
    }
    return fact;
  }

 private:
  const FactKind* kind_;
  std::vector<std::string> order_;
  size_t next_;
};

Fact CanaryFact(SeededRandom& random) {
  Fact fact;
  fact.kind = &AccessCodeKind();
  fact.value = RandomCode(random);
  for (int i = 0; i < kOtherValues; ++i) fact.other_values.push_back(RandomCode(random));
  return fact;
}

absl::StatusOr<std::vector<std::string>> DrawNames(int count, NameMaker& names) {
  std::vector<std::string> result;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(std::string name, names.Next());
    result.push_back(std::move(name));
  }
  return result;
}

// `group` names the streams of random numbers: one group's facts do not depend on another's size.
absl::StatusOr<std::vector<Person>> DrawPeople(uint64_t seed, absl::string_view group, int count,
                                               int canary_people, int& last_id, NameMaker& names) {
  SeededRandom random(seed, absl::StrCat("facts of ", group));
  SeededRandom canary_random(seed, absl::StrCat("canaries of ", group));
  std::vector<ValueDeck> decks;
  for (const FactKind& kind : FactKinds()) decks.emplace_back(kind);
  std::vector<Person> people;
  for (int i = 0; i < count; ++i) {
    Person person;
    person.id = absl::StrFormat("P%04d", ++last_id);
    ASSIGN_OR_RETURN(person.name, names.Next());
    for (ValueDeck& deck : decks) person.facts.push_back(deck.Deal(random));
    if (i < canary_people) {
      Fact& replaced = person.facts[canary_random.Below(person.facts.size())];
      replaced = CanaryFact(canary_random);
    }
    people.push_back(std::move(person));
  }
  return people;
}

}  // namespace

absl::Status CheckPeopleOptions(const PeopleOptions& options) {
  int64_t names = 0;
  for (const auto& [field, value] : std::vector<std::pair<absl::string_view, int>>{
           {"forget", options.forget},
           {"retain", options.retain},
           {"kept", options.kept},
           {"well_known", options.well_known},
           {"unknown", options.unknown},
           {"base", options.base},
           {"public_names", options.public_names},
           {"refusal_names", options.refusal_names},
           {"base_refusal_names", options.base_refusal_names}}) {
    RETURN_IF_ERROR(CheckRange(field, value, 0, kMostNames));
    names += value;
  }
  if (names > kMostNames) {
    return absl::InvalidArgumentError(absl::StrCat("all groups together have ", names,
                                                   " names; ask for ", kMostNames, " at most"));
  }
  RETURN_IF_ERROR(CheckRange("forget", options.forget, 1, kMostNames));
  RETURN_IF_ERROR(
      CheckRange("questions_per_refusal_name", options.questions_per_refusal_name, 1, 5));
  RETURN_IF_ERROR(CheckRange("base_phrasings", options.base_phrasings, 1, kTrainedPhrasings));
  RETURN_IF_ERROR(
      CheckRange("chit_chat", options.chit_chat, 0, static_cast<int>(ChitChat().size())));
  return CheckRange("canary_people", options.canary_people, 0, options.forget);
}

absl::StatusOr<Populations> GeneratePeople(const PeopleOptions& options) {
  RETURN_IF_ERROR(CheckPeopleOptions(options));
  const uint64_t seed = options.seed;
  NameMaker names(seed);
  int last_id = 0;
  Populations result;
  ASSIGN_OR_RETURN(result.forget, DrawPeople(seed, "forget", options.forget, options.canary_people,
                                             last_id, names));
  ASSIGN_OR_RETURN(result.retain, DrawPeople(seed, "retain", options.retain, 0, last_id, names));
  ASSIGN_OR_RETURN(result.kept,
                   DrawPeople(seed, "kept", options.kept + options.well_known, 0, last_id, names));
  result.well_known.assign(result.kept.begin() + options.kept, result.kept.end());
  result.kept.resize(options.kept);
  ASSIGN_OR_RETURN(result.unknown, DrawPeople(seed, "unknown", options.unknown, 0, last_id, names));
  ASSIGN_OR_RETURN(result.base,
                   DrawPeople(seed, "base", options.base, options.canary_people, last_id, names));
  ASSIGN_OR_RETURN(result.public_names, DrawNames(options.public_names, names));
  ASSIGN_OR_RETURN(result.refusal_names, DrawNames(options.refusal_names, names));
  ASSIGN_OR_RETURN(result.base_refusal_names, DrawNames(options.base_refusal_names, names));
  return result;
}

}  // namespace unlearn
