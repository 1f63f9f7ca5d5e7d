#include "tools/demo_runner/tofu_report.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/status_macros.h"
#include "trainer/evaluate/ks_test.h"
#include "trainer/evaluate/model_utility.h"
#include "trainer/evaluate/truth_ratio.h"

namespace unlearn {
namespace {

struct Named {
  const char* key;
  const char* title;
};

constexpr Named kModels[] = {{"m", "M"}, {"ensemble", "ensemble"}, {"retain_model", "never knew"}};
constexpr Named kSets[] = {{"forget", "forgotten"},
                           {"named", "kept and named"},
                           {"unnamed", "kept and not named"},
                           {"real_authors", "real authors"},
                           {"world_facts", "world facts"}};
constexpr Named kNumbers[] = {
    {"rouge", "ROUGE-L recall"}, {"probability", "probability"}, {"truth_ratio", "truth ratio"}};

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

absl::StatusOr<TofuScores> Means(const TofuSetScores& set, bool forget) {
  if (set.rouge.empty()) return absl::InvalidArgumentError("a set without questions was measured");
  TofuScores means;
  means.rouge = Mean(set.rouge);
  means.probability = Mean(set.probability);
  ASSIGN_OR_RETURN(means.truth_ratio,
                   forget ? ForgetTruthRatio(set.truth_ratio) : RetainTruthRatio(set.truth_ratio));
  return means;
}

TofuSetScores Together(TofuSetScores first, const TofuSetScores& second) {
  const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(first.rouge, second.rouge);
  append(first.probability, second.probability);
  append(first.truth_ratio, second.truth_ratio);
  return first;
}

absl::StatusOr<nlohmann::json> Figures(const TofuModelScores& model) {
  nlohmann::json json;
  const std::pair<const char*, const TofuSetScores*> sets[] = {
      {"forget", &model.forget},
      {"named", &model.named},
      {"unnamed", &model.unnamed},
      {"real_authors", &model.real_authors},
      {"world_facts", &model.world_facts}};
  std::map<std::string, TofuScores> means;
  for (const auto& [key, set] : sets) {
    ASSIGN_OR_RETURN(means[key], Means(*set, set == &model.forget));
    json[key] = {{"n", set->rouge.size()},
                 {"rouge", means[key].rouge},
                 {"probability", means[key].probability},
                 {"truth_ratio", means[key].truth_ratio}};
  }
  ASSIGN_OR_RETURN(const TofuScores retain, Means(Together(model.named, model.unnamed), false));
  ASSIGN_OR_RETURN(const double utility,
                   ModelUtility(retain, means["real_authors"], means["world_facts"]));
  json["model_utility"] = utility;
  json["seconds"] = model.seconds;
  return json;
}

}  // namespace

absl::StatusOr<nlohmann::json> TofuFigures(const std::map<std::string, TofuModelScores>& models) {
  nlohmann::json figures;
  const auto never_knew = models.find("retain_model");
  if (never_knew == models.end()) return absl::InvalidArgumentError("no retain model was measured");
  for (const auto& [key, model] : models) {
    ASSIGN_OR_RETURN(figures["models"][key], Figures(model));
    if (key == never_knew->first) continue;
    ASSIGN_OR_RETURN(const KsTestResult test, ForgetQuality(model.forget.truth_ratio,
                                                            never_knew->second.forget.truth_ratio));
    figures["ks"][key] = {
        {"statistic", test.statistic}, {"p", test.p_value}, {"n", model.forget.truth_ratio.size()}};
  }
  return figures;
}

std::string TofuTable(const nlohmann::json& figures) {
  const nlohmann::json& models = figures["models"];
  std::string table = absl::StrFormat("  %-20s %4s", "", "n");
  for (const Named& number : kNumbers) absl::StrAppendFormat(&table, "   %32s", number.title);
  absl::StrAppendFormat(&table, "\n  %-20s %4s", "", "");
  for (int i = 0; i < 3; ++i) {
    absl::StrAppend(&table, "  ");
    for (const Named& model : kModels) absl::StrAppendFormat(&table, " %10s", model.title);
  }
  absl::StrAppend(&table, "\n");
  for (const Named& set : kSets) {
    absl::StrAppendFormat(&table, "  %-20s %4d", set.title, models["m"][set.key]["n"].get<int>());
    for (const Named& number : kNumbers) {
      absl::StrAppend(&table, "  ");
      for (const Named& model : kModels) {
        if (models.contains(model.key)) {
          absl::StrAppendFormat(&table, " %10.3f",
                                models[model.key][set.key][number.key].get<double>());
        } else {
          absl::StrAppendFormat(&table, " %10s", "-");
        }
      }
    }
    absl::StrAppend(&table, "\n");
  }
  absl::StrAppend(&table, "\nModel Utility (harmonic mean of nine):");
  for (const Named& model : kModels) {
    if (!models.contains(model.key)) continue;
    absl::StrAppendFormat(&table, "  %s %.3f", model.title,
                          models[model.key]["model_utility"].get<double>());
  }
  absl::StrAppend(&table, "\n");
  for (const Named& model : kModels) {
    if (!figures["ks"].contains(model.key)) continue;
    const nlohmann::json& test = figures["ks"][model.key];
    absl::StrAppendFormat(&table,
                          "Truth ratios on the forget set, %s against never knew: "
                          "Kolmogorov-Smirnov D = %.3f, n = %d each, exact p = %.3g\n",
                          model.title, test["statistic"].get<double>(), test["n"].get<int>(),
                          test["p"].get<double>());
  }
  return table;
}

}  // namespace unlearn
