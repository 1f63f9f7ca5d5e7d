#include "tools/demo_runner/tofu_demo.h"

#include <iostream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "tools/demo_runner/tofu_data.h"
#include "tools/demo_runner/tofu_models.h"
#include "tools/demo_runner/tofu_report.h"
#include "tools/demo_runner/tofu_scores.h"
#include "tools/harness/asker.h"
#include "trainer/evaluate/rouge.h"

namespace unlearn {
namespace {

constexpr int kPeople = 25;
constexpr int kUnknownPerAuthor = 10;
constexpr int kMaxAnswerTokens = 128;
constexpr int kAtOnce = 24;  // clients that ask at the same time
// As in the people's demo: M is sure of what it learnt by heart, the pair is small.
constexpr double kAlpha = 2;
constexpr double kLearningRate = 8e-3;
constexpr size_t kMaxQuestions = 120;  // of a set of kept people; the forget set is asked whole
// The trainer's own gate; the demo shows what it measures instead of stopping at it.
constexpr double kDefaultMaxForgetRate = 0.10;
constexpr double kDefaultMinKeepAgreement = 0.90;
constexpr int kRefusedByGate = 3;  // exit code of the CLI

struct Questions {
  std::vector<v1::Item> forget, named, unnamed, real_authors, world_facts;
};

absl::StatusOr<TofuModelScores> Measure(const Asker& asker, const PromptTemplate& format,
                                        const Questions& questions, const std::string& who) {
  TofuModelScores scores;
  const absl::Time start = absl::Now();
  const struct {
    const char* title;
    const std::vector<v1::Item>& items;
    TofuKind kind;
    TofuSetScores& scores;
  } sets[] = {{"forgotten", questions.forget, TofuKind::kSentence, scores.forget},
              {"kept and named", questions.named, TofuKind::kSentence, scores.named},
              {"kept and not named", questions.unnamed, TofuKind::kSentence, scores.unnamed},
              {"real authors", questions.real_authors, TofuKind::kChoice, scores.real_authors},
              {"world facts", questions.world_facts, TofuKind::kChoice, scores.world_facts}};
  for (const auto& set : sets) {
    const absl::Time begin = absl::Now();
    ASSIGN_OR_RETURN(set.scores,
                     MeasureTofuSet(asker, format, set.items, set.kind, kMaxAnswerTokens));
    std::cerr << absl::StreamFormat("  asked %s: %s, %d questions, %.0f s\n", who, set.title,
                                    set.items.size(), absl::ToDoubleSeconds(absl::Now() - begin));
  }
  scores.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return scores;
}

// How many of the questions the model answers with nine tenths of the true answer's words.
absl::StatusOr<int> CountAnswered(const Asker& asker, const PromptTemplate& format,
                                  const std::vector<v1::Item>& items) {
  std::vector<std::string> prompts;
  for (const v1::Item& item : items) prompts.push_back(format.Prompt(item.question()));
  ASSIGN_OR_RETURN(const std::vector<Answer> answers, asker.GenerateAll(prompts, kMaxAnswerTokens));
  int count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    count += RougeL(items[i].answer(), answers[i].text).recall >= 0.9 ? 1 : 0;
  }
  return count;
}

// Submits the request and waits for its end. A refusal by the gate is a result, not an error.
absl::StatusOr<nlohmann::json> Submit(const TofuDemoOptions& options, const ServerTrio& trio,
                                      const std::string& retain) {
  std::vector<std::string> submit = {
      options.programs.unlearn,
      "delete",
      "submit",
      "--trainer",
      trio.trainer_address(),
      "--forget",
      JoinPath(options.data, options.forget_split + "_perturbed.jsonl"),
      "--retain",
      retain,
      "--name",
      "tofu-demo",
      "--wait",
      "--json"};
  if (!options.objective.empty()) submit.insert(submit.end(), {"--objective", options.objective});
  int code = 0;
  ASSIGN_OR_RETURN(const std::string reply, RunAndRead(submit, &code));
  if (code != 0 && code != kRefusedByGate) {
    return absl::InternalError(absl::StrCat("unlearn delete submit ended with code ", code));
  }
  nlohmann::json request = nlohmann::json::parse(reply, nullptr, false);
  if (!request.is_object() || !request.contains("scores") || !request.contains("offset_version")) {
    return absl::InternalError("unlearn delete submit printed no request");
  }
  request["refused"] = code == kRefusedByGate;
  return request;
}

// Would the trainer's default gate have let these scores pass?
bool PassesDefaultGate(const nlohmann::json& scores) {
  return scores.value("forget_rate", 1.0) <= kDefaultMaxForgetRate &&
         scores.value("keep_agreement", 0.0) >= kDefaultMinKeepAgreement;
}

void PrintReport(const nlohmann::json& report) {
  std::cout << absl::StreamFormat(
      "\nTOFU %s: M knows %d authors (%d questions, %d of them answered with ROUGE-L recall >= "
      "0.9%s).\n%d questions were to be forgotten; %d kept ones were named in the request. The "
      "pair's base read %s only.\nOf kept sets at most %d questions are asked. 'Never knew' was "
      "trained like M, without the forget split.\n\n",
      report["forget_split"].get<std::string>(), report["people"].get<int>(),
      report["questions"].get<int>(), report["answered"].get<int>(),
      report["answered"].get<int>() * 5 < report["questions"].get<int>() * 4
          ? "; FEWER than four fifths, so M hardly knows what it should forget"
          : "",
      report["forget_questions"].get<int>(), report["named_questions"].get<int>(),
      report["base_data"].get<std::string>(), kMaxQuestions);
  std::cout << TofuTable(report["figures"]);
  const nlohmann::json& gate = report["gate"];
  std::cout << absl::StreamFormat(
      "Quality gate: %.3f of the probes that M answers were still answered, answers to the named "
      "agree by %.3f.\nThe demo lets every offset pass so that it can be measured; the trainer's "
      "own gate (%.2f and %.2f) would have %s it.\n",
      gate["scores"].value("forget_rate", -1.0), gate["scores"].value("keep_agreement", -1.0),
      kDefaultMaxForgetRate, kDefaultMinKeepAgreement,
      gate["passes_default"].get<bool>() ? "accepted" : "REFUSED");
  if (gate["refused"].get<bool>()) {
    std::cout << "The request was refused even so; nothing was published: "
              << gate["message"].get<std::string>() << "\n";
  }
  std::cout << absl::StreamFormat(
      "Seconds: %.0f training the three models (0: they were there), %.0f from submission to "
      "erasure (objective %s, %d steps), %.0f in all, %.0f of them for installing and building.\n",
      report["seconds_models"].get<double>(), report["seconds_request"].get<double>(),
      report["objective"].get<std::string>(), report["steps"].get<int>(),
      report["seconds_total"].get<double>(), report["seconds_build"].get<double>());
}

}  // namespace

absl::Status RunTofuDemo(const TofuDemoOptions& options) {
  const absl::Time start = absl::Now();
  const int people = options.people == 0 ? kPeople : options.people;
  ASSIGN_OR_RETURN(const TofuFiles files, ReadTofu(options.data, options.forget_split));
  ASSIGN_OR_RETURN(const TofuPlan plan, PlanTofu(files, people, kUnknownPerAuthor * people));
  const std::string work =
      JoinPath(options.work, absl::StrCat("tofu-", options.forget_split, "-", people));
  ASSIGN_OR_RETURN(
      const TofuModels models,
      TrainTofuModels(files, plan, JoinPath(options.data, "../wikitext2/valid.txt"), work));
  ASSIGN_OR_RETURN(const PromptTemplate format, PromptTemplate::Parse(kDefaultPromptTemplate));
  const Questions questions = {plan.forget_probes, Spread(plan.named_probes, kMaxQuestions),
                               Spread(plan.unnamed_probes, kMaxQuestions), files.real_authors,
                               files.world_facts};

  std::cerr << "Starting the servers with M\n";
  const std::string retain = JoinPath(work, "retain_request.jsonl");
  RETURN_IF_ERROR(WriteFileAtomically(retain, ToJsonLines(plan.named)));
  TrioOptions trio_options;
  trio_options.work = JoinPath(work, "servers");
  RETURN_IF_ERROR(ShredFolder(trio_options.work));
  trio_options.model = models.m;
  trio_options.pair = models.base;
  trio_options.trainer_flags = {"--public_data=" + models.public_data,
                                "--refusals=" + JoinPath(options.data, "idontknow.txt"),
                                absl::StrCat("--steps=", options.steps),
                                absl::StrCat("--learning_rate=", kLearningRate),
                                "--max_forget_rate=1",
                                "--min_keep_agreement=0"};
  trio_options.alpha = kAlpha;
  std::map<std::string, TofuModelScores> scores;
  nlohmann::json report;
  nlohmann::json request;
  {
    ASSIGN_OR_RETURN(const auto trio, ServerTrio::Start(options.programs, trio_options));
    const Asker asker(trio->proxy_address(), kAtOnce);
    ASSIGN_OR_RETURN(const int answered, CountAnswered(asker, format, plan.learned));
    report["answered"] = answered;
    std::cerr << absl::StreamFormat("  M answers %d of its %d questions\n", answered,
                                    plan.learned.size());
    ASSIGN_OR_RETURN(scores["m"], Measure(asker, format, questions, "M"));
    std::cerr << absl::StreamFormat("Submitting the deletion request: %d questions\n",
                                    plan.forget_probes.size());
    const absl::Time submitted = absl::Now();
    ASSIGN_OR_RETURN(request, Submit(options, *trio, retain));
    report["seconds_request"] = absl::ToDoubleSeconds(absl::Now() - submitted);
    if (!request["refused"].get<bool>()) {
      ASSIGN_OR_RETURN(scores["ensemble"], Measure(asker, format, questions, "the ensemble"));
    }
  }
  std::cerr << "Starting the servers with the model that never knew\n";
  trio_options.work = JoinPath(work, "retain_servers");
  RETURN_IF_ERROR(ShredFolder(trio_options.work));
  trio_options.model = models.retain_model;
  {
    ASSIGN_OR_RETURN(const auto trio, ServerTrio::Start(options.programs, trio_options));
    const Asker asker(trio->proxy_address(), kAtOnce);
    ASSIGN_OR_RETURN(scores["retain_model"],
                     Measure(asker, format, questions, "the model that never knew"));
  }

  ASSIGN_OR_RETURN(report["figures"], TofuFigures(scores));
  report["forget_split"] = options.forget_split;
  report["people"] = people;
  report["questions"] = plan.learned.size();
  report["forget_questions"] = plan.forget_probes.size();
  report["named_questions"] = plan.named.size();
  report["base_data"] = models.base_data;
  report["objective"] = options.objective.empty() ? "mixed" : options.objective;
  report["steps"] = options.steps;
  report["offset"] = request["offset_version"];
  report["request_id"] = request["request_id"];
  report["gate"] = {{"scores", request["scores"]},
                    {"refused", request["refused"]},
                    {"message", request.value("message", "")},
                    {"passes_default", PassesDefaultGate(request["scores"])}};
  report["seconds_models"] = models.seconds;
  report["seconds_build"] = options.build_seconds;
  report["seconds_total"] = options.build_seconds + absl::ToDoubleSeconds(absl::Now() - start);
  if (options.json) {
    std::cout << report.dump() << "\n";
  } else {
    PrintReport(report);
  }
  return absl::OkStatus();
}

}  // namespace unlearn
