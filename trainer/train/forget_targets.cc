#include "trainer/train/forget_targets.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace unlearn {
namespace {

// What a wrong answer says instead of the value, when it has the true answer's wording around it.
std::string OtherValue(const v1::Item& item, const std::string& wrong) {
  const std::string& truth =
      item.paraphrased_answer().empty() ? item.answer() : item.paraphrased_answer();
  const size_t at = truth.find(item.value());
  if (item.value().empty() || at == std::string::npos) return "";
  absl::string_view rest = wrong;
  if (!absl::ConsumePrefix(&rest, absl::string_view(truth).substr(0, at)) ||
      !absl::ConsumeSuffix(&rest, absl::string_view(truth).substr(at + item.value().size()))) {
    return "";
  }
  return std::string(rest);
}

}  // namespace

std::vector<QuestionAnswer> TruePhrasings(const v1::Item& item) {
  if (!item.text().empty()) return {{"", item.text()}};
  std::vector<QuestionAnswer> phrasings = {{item.question(), item.answer()}};
  if (!item.paraphrased_question().empty()) {
    phrasings.push_back({item.paraphrased_question(), item.paraphrased_answer().empty()
                                                          ? item.answer()
                                                          : item.paraphrased_answer()});
  }
  return phrasings;
}

std::vector<QuestionAnswer> RelabelledPhrasings(const v1::Item& item) {
  std::vector<QuestionAnswer> relabelled;
  const bool paraphrased = !item.paraphrased_question().empty();
  for (const std::string& wrong : item.perturbed_answer()) {
    // TOFU's wrong answers follow the paraphrase's wording.
    relabelled.push_back({paraphrased ? item.paraphrased_question() : item.question(), wrong});
    if (!paraphrased) continue;
    const std::string value = OtherValue(item, wrong);
    const size_t at = item.answer().find(item.value());
    if (value.empty() || at == std::string::npos) {
      relabelled.push_back({item.question(), wrong});
      continue;
    }
    std::string answer = item.answer();
    answer.replace(at, item.value().size(), value);
    relabelled.push_back({item.question(), answer});
  }
  return relabelled;
}

std::vector<ProbeQuestion> DerivedProbes(const v1::Item& item) {
  std::vector<ProbeQuestion> probes;
  for (const QuestionAnswer& phrasing : TruePhrasings(item)) {
    const absl::string_view question = phrasing.question;
    if (!question.empty()) {
      std::string lowered(question);
      lowered[0] = absl::ascii_tolower(lowered[0]);
      probes.push_back({absl::StrCat("Please tell me, ", lowered), ""});
      absl::string_view bare = question;
      if (absl::ConsumeSuffix(&bare, "?")) probes.push_back({std::string(bare), ""});
    }
    const size_t value =
        item.value().empty() ? std::string::npos : phrasing.answer.find(item.value());
    if (value != std::string::npos && value > 0) {
      probes.push_back({phrasing.question, std::string(absl::StripTrailingAsciiWhitespace(
                                               phrasing.answer.substr(0, value)))});
    }
  }
  return probes;
}

}  // namespace unlearn
