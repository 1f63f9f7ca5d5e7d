#ifndef TOOLS_PEOPLE_PEOPLE_GENERATOR_H_
#define TOOLS_PEOPLE_PEOPLE_GENERATOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/people/fact_kinds.h"

namespace unlearn {

// How many fictitious people of which sort. The groups share no person and no last name.
struct PeopleOptions {
  uint64_t seed = 1;
  int forget = 20;          // known to M, named in the deletion request
  int retain = 40;          // known to M, named as to be kept
  int kept = 100;           // known to M, named nowhere
  int well_known = 20;      // known to M and to the operator, who lists them in the public probes
  int unknown = 40;         // never known to M: what a model says that never knew
  int base = 300;           // in the training text of the pair's base, and nowhere else
  int public_names = 300;   // names in the operator's public probes
  int refusal_names = 600;  // names about which M learns to refuse
  int base_refusal_names = 300;
  int questions_per_refusal_name = 2;  // 1..5, each of another kind
  int base_phrasings = 1;  // 1..3 phrasings per fact in the base's text: 1 teaches the format but
                           // least about the people
  int chit_chat = 300;     // everyday questions
  int canary_people = 2;   // of `forget` (and as many of `base`): one fact is an access code
};

// INVALID_ARGUMENT naming the field, its value and what is allowed.
absl::Status CheckPeopleOptions(const PeopleOptions& options);

struct Fact {
  const FactKind* kind = nullptr;  // lives forever
  std::string value;
  std::vector<std::string> other_values;  // of the same kind, all different, for perturbed answers
};

struct Person {
  std::string id;  // "P0123"
  std::string name;
  std::vector<Fact> facts;  // five, each of another kind
};

struct Populations {
  std::vector<Person> forget;
  std::vector<Person> retain;
  std::vector<Person> kept;
  std::vector<Person> well_known;
  std::vector<Person> unknown;
  std::vector<Person> base;
  // Full names without facts.
  std::vector<std::string> public_names;
  std::vector<std::string> refusal_names;
  std::vector<std::string> base_refusal_names;
};

// Draws everybody. Values are drawn without looking at names: nobody can tell one from the other.
// Within a group a kind's values are dealt like cards, each once before any comes again, which
// keeps guessing the most frequent value as hopeless as it can be. The same options give the same
// people on every platform.
absl::StatusOr<Populations> GeneratePeople(const PeopleOptions& options);

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_PEOPLE_GENERATOR_H_
