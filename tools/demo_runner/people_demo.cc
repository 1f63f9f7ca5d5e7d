#include "tools/demo_runner/people_demo.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "tools/demo_runner/demo_assets.h"
#include "tools/demo_runner/group_scores.h"
#include "tools/harness/asker.h"
#include "tools/people/people_files.h"
#include "trainer/data/item_reader.h"

namespace unlearn {
namespace {

constexpr int kMaxAnswerTokens = 48;
constexpr int kAtOnce = 24;  // clients that ask at the same time

// The large model has learnt its people by heart and is very sure of them; the pair is small. So
// the offset is served twice as strong as it comes out of the pair.
constexpr double kAlpha = 2;
constexpr int kSteps = 800;
constexpr double kLearningRate = 8e-3;

struct Group {
  const char* key;    // of the JSON
  const char* title;  // of the table
  const char* file;
};

constexpr Group kGroups[] = {
    {"forget", "forgotten", "probes_forget.jsonl"},
    {"retain", "kept and named", "probes_retain.jsonl"},
    {"kept", "kept and not named", "probes_kept.jsonl"},
    {"unknown", "never known", "probes_unknown.jsonl"},
};

using Scores = std::map<std::string, GroupScores>;

absl::StatusOr<Scores> AskAll(const Asker& asker, const PromptTemplate& format,
                              const std::map<std::string, std::vector<v1::Item>>& items,
                              const std::string& when, bool quiet) {
  Scores scores;
  for (const Group& group : kGroups) {
    const std::vector<v1::Item>& questions = items.at(group.key);
    if (!quiet) {
      std::cerr << absl::StreamFormat("  asking %s: %s, %d questions\n", when, group.title,
                                      questions.size());
    }
    ASSIGN_OR_RETURN(scores[group.key], AskGroup(asker, format, questions, kMaxAnswerTokens));
  }
  return scores;
}

double Fluency(const Scores& scores) {
  double fluent = 0;
  double all = 0;
  for (const auto& [key, group] : scores) {
    fluent += group.fluency * group.answers.size();
    all += group.answers.size();
  }
  return fluent / all;
}

double TokensPerSecond(const Scores& scores) {
  double tokens = 0;
  double seconds = 0;
  for (const auto& [key, group] : scores) {
    tokens += group.tokens;
    seconds += group.seconds;
  }
  return tokens / seconds;
}

void PrintTable(const std::map<std::string, std::vector<v1::Item>>& items, const Scores& before,
                const Scores& after, const nlohmann::json& summary) {
  std::cout
      << "\nHow often an answer holds the person's secret (every question asked in a wording "
         "that the deletion\nrequest never held), how close answers are to the truth (ROUGE-L), "
         "and how likely the truth is:\n\n";
  std::cout << absl::StrFormat("  %-20s %9s   %17s   %17s   %17s\n", "", "questions",
                               "says the secret", "like the truth", "probability");
  std::cout << absl::StrFormat("  %-20s %9s   %8s %8s   %8s %8s   %8s %8s\n", "", "", "before",
                               "after", "before", "after", "before", "after");
  for (const Group& group : kGroups) {
    const GroupScores& b = before.at(group.key);
    const GroupScores& a = after.at(group.key);
    std::cout << absl::StrFormat("  %-20s %9d   %7.1f%% %7.1f%%   %8.2f %8.2f   %8.2f %8.2f\n",
                                 group.title, items.at(group.key).size(), 100 * b.fact_rate,
                                 100 * a.fact_rate, b.rouge, a.rouge, b.probability, a.probability);
  }
  std::cout << "\nA few answers, side by side:\n";
  for (const Group& group : kGroups) {
    const std::vector<v1::Item>& questions = items.at(group.key);
    for (const size_t index : {questions.size() / 7, questions.size() / 2}) {
      std::cout << "\n  [" << group.title << "] " << questions[index].question()
                << "\n    before: " << before.at(group.key).answers[index]
                << "\n    after:  " << after.at(group.key).answers[index] << "\n";
    }
  }
  std::cout << absl::StrFormat(
      "\nFluent answers: %.1f%% before, %.1f%% after. Offset version %d serves (objective %s).\n"
      "The request took %.0f s from submission to erasure of its text; the proxy gave %.0f "
      "tokens/s "
      "before and\n%.0f after to %d clients at once. All in all %.0f s, %.0f s of them for "
      "installing "
      "and building.\n",
      100 * summary["fluency_before"].get<double>(), 100 * summary["fluency_after"].get<double>(),
      summary["offset"].get<int>(), summary["objective"].get<std::string>(),
      summary["seconds_request"].get<double>(), summary["tokens_per_second_before"].get<double>(),
      summary["tokens_per_second_after"].get<double>(), kAtOnce,
      summary["seconds_total"].get<double>(), summary["seconds_build"].get<double>());
}

void Summarise(const char* when, const Scores& scores, nlohmann::json& summary) {
  for (const auto& [key, group] : scores) {
    summary[absl::StrCat(key, "_fact_rate_", when)] = group.fact_rate;
    summary[absl::StrCat(key, "_rouge_", when)] = group.rouge;
    summary[absl::StrCat(key, "_prob_", when)] = group.probability;
  }
  summary[absl::StrCat("fluency_", when)] = Fluency(scores);
  summary[absl::StrCat("tokens_per_second_", when)] = TokensPerSecond(scores);
}

}  // namespace

absl::Status RunPeopleDemo(const PeopleDemoOptions& options) {
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(ShredFolder(options.work));
  RETURN_IF_ERROR(MakeFolders(options.work));
  const std::string data = JoinPath(options.work, "data");
  RETURN_IF_ERROR(WritePeople(DemoPeople(), data));
  std::map<std::string, std::vector<v1::Item>> items;
  for (const Group& group : kGroups) {
    ASSIGN_OR_RETURN(items[group.key], ReadItems(JoinPath(data, group.file)));
  }
  ASSIGN_OR_RETURN(const PromptTemplate format, PromptTemplate::Parse(kDefaultPromptTemplate));

  std::cerr << "Starting a model server with the large model, the proxy and the trainer\n";
  TrioOptions trio_options;
  trio_options.work = JoinPath(options.work, "servers");
  trio_options.model = JoinPath(options.models, "m");
  trio_options.pair = JoinPath(options.models, "base");
  trio_options.trainer_flags = {"--public_data=" + JoinPath(data, "public.jsonl"),
                                "--refusals=" + JoinPath(data, "refusals.txt"),
                                absl::StrCat("--steps=", kSteps),
                                absl::StrCat("--learning_rate=", kLearningRate), "--batch_size=64"};
  trio_options.alpha = kAlpha;
  ASSIGN_OR_RETURN(const auto trio, ServerTrio::Start(options.programs, trio_options));
  const Asker asker(trio->proxy_address(), kAtOnce);
  ASSIGN_OR_RETURN(const Scores before, AskAll(asker, format, items, "before", false));

  std::cerr << "Submitting the deletion request: " << items["forget"].size()
            << " facts to forget, in two wordings each\n";
  const absl::Time submitted = absl::Now();
  std::vector<std::string> submit = {options.programs.unlearn,
                                     "delete",
                                     "submit",
                                     "--trainer",
                                     trio->trainer_address(),
                                     "--forget",
                                     JoinPath(data, "forget.jsonl"),
                                     "--retain",
                                     JoinPath(data, "retain.jsonl"),
                                     "--name",
                                     "demo",
                                     "--wait",
                                     "--json"};
  if (!options.objective.empty()) {
    submit.insert(submit.end(), {"--objective", options.objective});
  }
  ASSIGN_OR_RETURN(const std::string reply, RunAndRead(submit));
  const double request_seconds = absl::ToDoubleSeconds(absl::Now() - submitted);
  const nlohmann::json request = nlohmann::json::parse(reply, nullptr, false);
  if (request.is_discarded() || !request.contains("offset_version")) {
    return absl::InternalError("unlearn delete submit printed no offset_version");
  }

  ASSIGN_OR_RETURN(const Scores after, AskAll(asker, format, items, "after", false));
  nlohmann::json summary;
  Summarise("before", before, summary);
  Summarise("after", after, summary);
  summary["offset"] = request["offset_version"];
  summary["objective"] = options.objective.empty() ? "mixed" : options.objective;
  summary["request_id"] = request["request_id"];
  summary["seconds_request"] = request_seconds;
  summary["seconds_build"] = options.build_seconds;
  summary["seconds_total"] = options.build_seconds + absl::ToDoubleSeconds(absl::Now() - start);
  if (options.json) {
    std::cout << summary.dump() << "\n";
  } else {
    PrintTable(items, before, after, summary);
  }
  return absl::OkStatus();
}

}  // namespace unlearn
