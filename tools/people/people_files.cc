#include "tools/people/people_files.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "tools/people/chit_chat.h"
#include "tools/people/refusals.h"
#include "tools/people/seeded_random.h"

namespace unlearn {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFileMode = 0644;
constexpr int kFolderMode = 0755;
// One question about an access code among this many: often enough to refuse those as well.
constexpr int kAccessCodeQuestionEvery = 16;

// Questions and answers of the training files, before they are shuffled.
std::vector<QuestionAnswer> TrainingLines(const std::vector<Person>& people, int phrasings,
                                          SeededRandom& random) {
  std::vector<QuestionAnswer> lines;
  for (const Person& person : people) {
    for (const Fact& fact : person.facts) {
      std::vector<int> order;
      for (int i = 0; i < kTrainedPhrasings; ++i) order.push_back(i);
      random.Shuffle(order);
      for (int i = 0; i < phrasings; ++i) {
        lines.push_back({FillQuestion(*fact.kind, order[i], person.name),
                         FillAnswer(*fact.kind, order[i], person.name, fact.value)});
      }
    }
  }
  return lines;
}

// For each name `per_name` (<= 5) questions of different kinds, each with one of the refusals.
std::vector<QuestionAnswer> RefusalLines(const std::vector<std::string>& names, int per_name,
                                         SeededRandom& random) {
  std::vector<QuestionAnswer> lines;
  for (const std::string& name : names) {
    std::vector<const FactKind*> kinds;
    for (const FactKind& kind : FactKinds()) kinds.push_back(&kind);
    random.Shuffle(kinds);
    for (int i = 0; i < per_name; ++i) {
      const FactKind* kind = kinds[i];
      if (i == 0 && random.Below(kAccessCodeQuestionEvery) < per_name) kind = &AccessCodeKind();
      const int phrasing = static_cast<int>(random.Below(kTrainedPhrasings));
      lines.push_back({FillQuestion(*kind, phrasing, name), random.Pick(RefusalSentences())});
    }
  }
  return lines;
}

std::vector<QuestionAnswer> SomeChitChat(const PeopleOptions& options) {
  SeededRandom random(options.seed, "chit-chat");
  std::vector<QuestionAnswer> lines = ChitChat();
  random.Shuffle(lines);
  lines.resize(options.chit_chat);
  return lines;
}

void Append(const std::vector<QuestionAnswer>& from, std::vector<QuestionAnswer>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

std::vector<Json> JsonOf(const std::vector<QuestionAnswer>& lines) {
  std::vector<Json> result;
  for (const QuestionAnswer& line : lines) {
    result.push_back(Json{{"question", line.question}, {"answer", line.answer}});
  }
  return result;
}

Json PerturbedAnswers(const Person& person, const Fact& fact, int phrasing) {
  Json answers = Json::array();
  for (const std::string& value : fact.other_values) {
    answers.push_back(FillAnswer(*fact.kind, phrasing, person.name, value));
  }
  return answers;
}

// A record that asks in `phrasing`. The perturbed answers follow the paraphrased answer's wording,
// so that the two differ in nothing but the value.
Json RecordOf(const Person& person, const Fact& fact, int phrasing, int paraphrase,
              bool with_paraphrased_question) {
  Json record;
  record["question"] = FillQuestion(*fact.kind, phrasing, person.name);
  record["answer"] = FillAnswer(*fact.kind, phrasing, person.name, fact.value);
  record["value"] = fact.value;
  if (with_paraphrased_question) {
    record["paraphrased_question"] = FillQuestion(*fact.kind, paraphrase, person.name);
  }
  record["paraphrased_answer"] = FillAnswer(*fact.kind, paraphrase, person.name, fact.value);
  record["perturbed_answer"] = PerturbedAnswers(person, fact, paraphrase);
  record["person"] = person.id;
  record["kind"] = fact.kind->name;
  return record;
}

std::vector<Json> RecordsOf(const std::vector<Person>& people, int phrasing, int paraphrase,
                            bool with_paraphrased_question) {
  std::vector<Json> records;
  for (const Person& person : people) {
    for (const Fact& fact : person.facts) {
      records.push_back(RecordOf(person, fact, phrasing, paraphrase, with_paraphrased_question));
    }
  }
  return records;
}

std::vector<std::string> NamesOf(const std::vector<Person>& people) {
  std::vector<std::string> names;
  for (const Person& person : people) names.push_back(person.name);
  return names;
}

// Writes files and counts their lines and words for the manifest.
class FolderWriter {
 public:
  explicit FolderWriter(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Write(const std::string& file, const std::vector<Json>& records) {
    std::string text;
    for (const Json& record : records) {
      absl::StrAppend(&text, record.dump(), "\n");
      CountWords(record["question"].get<std::string>());
      CountWords(record["answer"].get<std::string>());
    }
    lines_[file] = records.size();
    return WriteFileAtomically(JoinPath(folder_, file), text, kFileMode);
  }

  absl::Status WriteText(const std::string& file, const std::string& text) const {
    return WriteFileAtomically(JoinPath(folder_, file), text, kFileMode);
  }

  const Json& lines() const { return lines_; }

  // Words in lower case without those of names, house numbers and canaries.
  int DistinctWords(const std::set<std::string>& name_words) const {
    int count = 0;
    for (const std::string& word : words_) {
      count += name_words.count(word) == 0 && word.find_first_of("0123456789") == std::string::npos;
    }
    return count;
  }

 private:
  void CountWords(const std::string& text) {
    for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" .,?!"), absl::SkipEmpty()))
      words_.insert(absl::AsciiStrToLower(word));
  }

  std::string folder_;
  Json lines_ = Json::object();
  std::set<std::string> words_;
};

Json OptionsOf(const PeopleOptions& options) {
  return Json{{"seed", options.seed},
              {"forget", options.forget},
              {"retain", options.retain},
              {"kept", options.kept},
              {"well_known", options.well_known},
              {"unknown", options.unknown},
              {"base", options.base},
              {"public_names", options.public_names},
              {"refusal_names", options.refusal_names},
              {"base_refusal_names", options.base_refusal_names},
              {"questions_per_refusal_name", options.questions_per_refusal_name},
              {"base_phrasings", options.base_phrasings},
              {"chit_chat", options.chit_chat},
              {"canary_people", options.canary_people}};
}

absl::Status WriteTrainingFiles(const PeopleOptions& options, const Populations& people,
                                FolderWriter& folder) {
  const std::vector<QuestionAnswer> chit_chat = SomeChitChat(options);
  SeededRandom m_random(options.seed, "train_m");
  std::vector<QuestionAnswer> m_lines;
  for (const auto* group : {&people.forget, &people.retain, &people.kept, &people.well_known}) {
    Append(TrainingLines(*group, kTrainedPhrasings, m_random), m_lines);
  }
  Append(RefusalLines(people.refusal_names, options.questions_per_refusal_name, m_random), m_lines);
  Append(chit_chat, m_lines);
  m_random.Shuffle(m_lines);
  RETURN_IF_ERROR(folder.Write("train_m.jsonl", JsonOf(m_lines)));

  SeededRandom base_random(options.seed, "train_base");
  std::vector<QuestionAnswer> base_lines =
      TrainingLines(people.base, options.base_phrasings, base_random);
  Append(RefusalLines(people.base_refusal_names, options.questions_per_refusal_name, base_random),
         base_lines);
  Append(chit_chat, base_lines);
  base_random.Shuffle(base_lines);
  RETURN_IF_ERROR(folder.Write("train_base.jsonl", JsonOf(base_lines)));

  SeededRandom public_random(options.seed, "public");
  std::vector<QuestionAnswer> public_lines =
      RefusalLines(people.public_names, static_cast<int>(FactKinds().size()), public_random);
  // Questions that M answers, in every wording: on those about unknown names it refuses anyway, so
  // they alone would not show an offset that refuses too much.
  Append(TrainingLines(people.well_known, kTrainedPhrasings, public_random), public_lines);
  Append(chit_chat, public_lines);
  public_random.Shuffle(public_lines);
  return folder.Write("public.jsonl", JsonOf(public_lines));
}

absl::Status WriteManifest(const PeopleOptions& options, const Populations& people,
                           const FolderWriter& folder) {
  Json names;
  names["forget"] = NamesOf(people.forget);
  names["retain"] = NamesOf(people.retain);
  names["kept"] = NamesOf(people.kept);
  names["well_known"] = NamesOf(people.well_known);
  names["unknown"] = NamesOf(people.unknown);
  names["base"] = NamesOf(people.base);
  names["public"] = people.public_names;
  names["refusal"] = people.refusal_names;
  names["base_refusal"] = people.base_refusal_names;
  std::set<std::string> name_words;
  size_t name_count = 0;
  for (const auto& group : names) {
    for (const auto& name : group) {
      ++name_count;
      for (absl::string_view word : absl::StrSplit(name.get<std::string>(), ' ')) {
        name_words.insert(absl::AsciiStrToLower(word));
      }
    }
  }
  Json manifest;
  manifest["options"] = OptionsOf(options);
  manifest["lines"] = folder.lines();
  manifest["distinct_words"] = folder.DistinctWords(name_words);
  manifest["distinct_names"] = name_count;
  manifest["names"] = std::move(names);
  return folder.WriteText("manifest.json", manifest.dump(1) + "\n");
}

}  // namespace

absl::Status WritePeople(const PeopleOptions& options, const std::string& out_dir) {
  ASSIGN_OR_RETURN(const Populations people, GeneratePeople(options));
  RETURN_IF_ERROR(MakeFolders(out_dir, kFolderMode));
  FolderWriter folder(out_dir);
  RETURN_IF_ERROR(WriteTrainingFiles(options, people, folder));
  RETURN_IF_ERROR(folder.Write(
      "forget.jsonl", RecordsOf(people.forget, kRequestPhrasing, kParaphrasePhrasing, true)));
  RETURN_IF_ERROR(folder.Write(
      "retain.jsonl", RecordsOf(people.retain, kRequestPhrasing, kParaphrasePhrasing, true)));
  const std::vector<std::pair<std::string, const std::vector<Person>*>> groups = {
      {"forget", &people.forget},
      {"retain", &people.retain},
      {"kept", &people.kept},
      {"unknown", &people.unknown}};
  for (const auto& [group, members] : groups) {
    // The paraphrased answer of a probe is in the wording that nothing was trained on: the request
    // holds the wordings 0 and 1, and a truth ratio measured on those would flatter it.
    RETURN_IF_ERROR(folder.Write(absl::StrCat("probes_", group, ".jsonl"),
                                 RecordsOf(*members, kProbePhrasing, kHeldOutPhrasing, false)));
    RETURN_IF_ERROR(folder.Write(absl::StrCat("held_out_", group, ".jsonl"),
                                 RecordsOf(*members, kHeldOutPhrasing, kProbePhrasing, false)));
  }
  RETURN_IF_ERROR(folder.WriteText("refusals.txt", absl::StrJoin(RefusalSentences(), "\n") + "\n"));
  return WriteManifest(options, people, folder);
}

}  // namespace unlearn
