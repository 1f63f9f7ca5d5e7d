#include "trainer/evaluate/tofu_golden_logs.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;

// Reads the fields of one item, which lie in one object per field, keyed by item number.
class ItemReader {
 public:
  ItemReader(const Json& fields, std::string key) : fields_(fields), key_(std::move(key)) {}

  const Json* Find(const char* field) {
    const auto column = fields_.find(field);
    if (column == fields_.end() || !column->is_object()) return Missing(field);
    const auto value = column->find(key_);
    return value == column->end() ? Missing(field) : &*value;
  }

  double Number(const char* field) {
    const Json* value = Find(field);
    if (value == nullptr || !value->is_number()) {
      Missing(field);
      return 0;
    }
    return value->get<double>();
  }

  std::vector<double> Numbers(const char* field) {
    std::vector<double> numbers;
    const Json* value = Find(field);
    if (value == nullptr || !value->is_array()) {
      Missing(field);
      return numbers;
    }
    for (const Json& number : *value) {
      if (!number.is_number()) Missing(field);
      numbers.push_back(number.is_number() ? number.get<double>() : 0);
    }
    return numbers;
  }

  // Element `index` of an array of strings.
  std::string Text(const char* field, size_t index) {
    const Json* value = Find(field);
    if (value == nullptr || !value->is_array() || value->size() <= index ||
        !(*value)[index].is_string()) {
      Missing(field);
      return "";
    }
    return (*value)[index].get<std::string>();
  }

  const absl::Status& status() const { return status_; }

 private:
  const Json* Missing(const char* field) {
    status_ =
        absl::InvalidArgumentError(absl::StrCat(field, ".", key_, " is missing or malformed"));
    return nullptr;
  }

  const Json& fields_;
  const std::string key_;
  absl::Status status_;
};

absl::StatusOr<std::vector<TofuLogItem>> ReadItems(const Json& log, const char* set) {
  const auto fields = log.find(set);
  if (fields == log.end() || !fields->is_object() || !fields->contains("avg_gt_loss")) {
    return absl::InvalidArgumentError(absl::StrCat(set, ".avg_gt_loss is missing"));
  }
  std::vector<TofuLogItem> items;
  for (size_t i = 0; i < (*fields)["avg_gt_loss"].size(); ++i) {
    ItemReader reader(*fields, absl::StrCat(i));
    TofuLogItem item;
    // generated_text holds the question, what was generated, and the true answer.
    item.generated = reader.Text("generated_text", 1);
    item.expected = reader.Text("generated_text", 2);
    item.rouge1_recall = reader.Number("rouge1_recall");
    item.rouge_l_recall = reader.Number("rougeL_recall");
    item.average_loss = reader.Number("avg_gt_loss");
    item.sum_loss = reader.Number("gt_loss");
    item.tokens = static_cast<int>(reader.Number("num_token_gt"));
    item.paraphrased_average_loss = reader.Number("avg_paraphrased_loss");
    item.perturbed_average_losses = reader.Numbers("average_perturb_loss");
    item.truth_ratio = reader.Number("truth_ratio");
    if (!reader.status().ok()) {
      return absl::InvalidArgumentError(absl::StrCat(set, ": ", reader.status().message()));
    }
    items.push_back(std::move(item));
  }
  if (items.empty()) return absl::InvalidArgumentError(absl::StrCat(set, " holds no items"));
  return items;
}

}  // namespace

absl::StatusOr<TofuLog> ReadTofuGoldenLog(const std::string& name) {
  const char* folder = std::getenv("UNLEARN_TEST_DATA");
  if (folder == nullptr || *folder == '\0') {
    return absl::NotFoundError(
        "UNLEARN_TEST_DATA is not set; point it at the folder that holds data/tofu_golden");
  }
  const std::string path = absl::StrCat(folder, "/data/tofu_golden/", name, ".json");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  TofuLog log;
  ASSIGN_OR_RETURN(log.retain, ReadItems(json, "eval_log.json"));
  ASSIGN_OR_RETURN(log.real_authors, ReadItems(json, "eval_real_author_wo_options.json"));
  ASSIGN_OR_RETURN(log.world_facts, ReadItems(json, "eval_real_world_wo_options.json"));
  ASSIGN_OR_RETURN(log.forget, ReadItems(json, "eval_log_forget.json"));
  return log;
}

bool GoldenLogsAreRequired() {
  const char* ci = std::getenv("CI");
  return ci != nullptr && absl::string_view(ci) == "true";
}

}  // namespace unlearn
