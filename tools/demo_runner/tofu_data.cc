#include "tools/demo_runner/tofu_data.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "trainer/data/item_reader.h"

namespace unlearn {
namespace {

constexpr size_t kQuestionsPerAuthor = 20;

std::string Key(const v1::Item& item) { return absl::StrCat(item.question(), "\n", item.answer()); }

v1::Item QuestionAndAnswer(const std::string& question, const std::string& answer) {
  v1::Item item;
  item.set_question(question);
  item.set_answer(answer);
  return item;
}

}  // namespace

absl::StatusOr<TofuFiles> ReadTofu(const std::string& folder, const std::string& forget_split) {
  TofuFiles files;
  const std::pair<std::string, std::vector<v1::Item>*> sets[] = {
      {"full", &files.full},
      {absl::StrCat(forget_split, "_perturbed"), &files.forget},
      {"retain_perturbed", &files.retain},
      {"real_authors_perturbed", &files.real_authors},
      {"world_facts_perturbed", &files.world_facts}};
  for (const auto& [name, items] : sets) {
    const std::string path = JoinPath(folder, name + ".jsonl");
    ASSIGN_OR_RETURN(*items, ReadItems(path));
    for (size_t i = 0; i < items->size(); ++i) {
      const v1::Item& item = (*items)[i];
      if (item.question().empty() || item.answer().empty() ||
          (items != &files.full && item.perturbed_answer().empty())) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ": item ", i + 1, " lacks its question, answer or perturbed_answer"));
      }
    }
  }
  const std::string path = JoinPath(folder, "idontknow.txt");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const absl::string_view refusal = absl::StripAsciiWhitespace(line);
    if (!refusal.empty()) files.refusals.emplace_back(refusal);
  }
  if (files.refusals.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds no line"));
  }
  return files;
}

absl::StatusOr<TofuPlan> PlanTofu(const TofuFiles& files, int people, int unknown_questions) {
  const size_t authors = files.full.size() / kQuestionsPerAuthor;
  std::map<std::string, size_t> author_of;
  for (size_t i = 0; i < authors * kQuestionsPerAuthor; ++i) {
    author_of.emplace(Key(files.full[i]), i / kQuestionsPerAuthor);
  }
  std::set<size_t> forgotten;
  std::set<std::string> forget_keys;
  for (size_t i = 0; i < files.forget.size(); ++i) {
    const auto found = author_of.find(Key(files.forget[i]));
    if (found == author_of.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "item ", i + 1, " of the forget split is not in full.jsonl; are both of one TOFU?"));
    }
    forgotten.insert(found->second);
    forget_keys.insert(found->first);
  }
  if (people <= static_cast<int>(forgotten.size()) || people >= static_cast<int>(authors)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--people: ", people, " authors; the forget split holds ", forgotten.size(),
                     " and full.jsonl ", authors, ", choose a number between"));
  }

  std::vector<std::vector<v1::Item>> probes(authors);
  for (const v1::Item& item : files.retain) {
    const auto found = author_of.find(Key(item));
    if (found != author_of.end()) probes[found->second].push_back(item);
  }
  std::vector<size_t> order;
  for (size_t author = 0; author < authors; ++author) {
    if (forgotten.count(author) == 0) order.push_back(author);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return probes[a].size() > probes[b].size(); });
  order.resize(people - forgotten.size());
  std::set<size_t> chosen(order.begin(), order.end());
  chosen.insert(forgotten.begin(), forgotten.end());

  TofuPlan plan;
  plan.authors = people;
  plan.forget_probes = files.forget;
  for (size_t author = 0; author < authors; ++author) {
    const auto begin = files.full.begin() + author * kQuestionsPerAuthor;
    const std::vector<v1::Item> items(begin, begin + kQuestionsPerAuthor);
    if (forgotten.count(author) != 0) plan.forgotten.push_back(items);
    auto& list = chosen.count(author) != 0 ? plan.learned : plan.outsiders;
    list.insert(list.end(), items.begin(), items.end());
  }
  for (const v1::Item& item : plan.learned) {
    if (forget_keys.count(Key(item)) == 0) plan.kept.push_back(item);
  }
  for (size_t i = 0; i < order.size(); ++i) {
    auto& list = i % 2 == 0 ? plan.named_probes : plan.unnamed_probes;
    list.insert(list.end(), probes[order[i]].begin(), probes[order[i]].end());
    if (i % 2 != 0) continue;
    const auto begin = files.full.begin() + order[i] * kQuestionsPerAuthor;
    plan.named.insert(plan.named.end(), begin, begin + kQuestionsPerAuthor);
  }
  if (plan.named_probes.empty() || plan.unnamed_probes.empty()) {
    return absl::InvalidArgumentError(
        "--people: the chosen authors have no questions in retain_perturbed.jsonl; choose more");
  }
  const size_t unknown = std::min<size_t>(unknown_questions, plan.outsiders.size());
  for (size_t i = 0; i < unknown; ++i) {
    plan.unknown.push_back(
        QuestionAndAnswer(plan.outsiders[i * plan.outsiders.size() / unknown].question(),
                          files.refusals[i * 7 % files.refusals.size()]));
  }
  return plan;
}

std::string ToJsonLines(const std::vector<v1::Item>& items) {
  std::string lines;
  for (const v1::Item& item : items) {
    nlohmann::json json;
    if (item.text().empty()) {
      json = {{"question", item.question()}, {"answer", item.answer()}};
    } else {
      json = {{"text", item.text()}};
    }
    absl::StrAppend(&lines, json.dump(), "\n");
  }
  return lines;
}

}  // namespace unlearn
