#include "trainer/data/item_reader.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "trainer/data/item_check.h"

namespace unlearn {
namespace {

using nlohmann::json;

bool IsBlank(absl::string_view line) {
  return line.find_first_not_of(" \t") == absl::string_view::npos;
}

// The string in `field`, empty when it is missing or null.
absl::Status ReadString(const json& object, const char* field, std::string* out) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", field, "' must be a string, it is ", found->type_name()));
  }
  *out = found->get_ref<const std::string&>();
  return absl::OkStatus();
}

absl::Status ReadPerturbed(const json& object, v1::Item* item) {
  const auto found = object.find("perturbed_answer");
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (found->is_string()) {
    item->add_perturbed_answer(found->get_ref<const std::string&>());
    return absl::OkStatus();
  }
  bool good = found->is_array();
  if (good) {
    for (const json& answer : *found) good = good && answer.is_string();
  }
  if (!good) {
    return absl::InvalidArgumentError(
        "field 'perturbed_answer' must be a string or a list of strings");
  }
  for (const json& answer : *found)
    item->add_perturbed_answer(answer.get_ref<const std::string&>());
  return absl::OkStatus();
}

absl::StatusOr<v1::Item> ParseLine(absl::string_view line) {
  const json object = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "is not JSON (", line.size(), " bytes); each line must be one object in UTF-8"));
  }
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be a JSON object, it is ", object.type_name()));
  }
  v1::Item item;
  RETURN_IF_ERROR(ReadString(object, "question", item.mutable_question()));
  RETURN_IF_ERROR(ReadString(object, "answer", item.mutable_answer()));
  RETURN_IF_ERROR(ReadString(object, "paraphrased_question", item.mutable_paraphrased_question()));
  RETURN_IF_ERROR(ReadString(object, "paraphrased_answer", item.mutable_paraphrased_answer()));
  RETURN_IF_ERROR(ReadString(object, "value", item.mutable_value()));
  RETURN_IF_ERROR(ReadString(object, "text", item.mutable_text()));
  RETURN_IF_ERROR(ReadPerturbed(object, &item));
  RETURN_IF_ERROR(CheckItem(item));
  return item;
}

}  // namespace

absl::StatusOr<std::vector<v1::Item>> ReadItems(const std::string& path,
                                                const ItemReaderLimits& limits) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is a folder; name a JSONL file"));
    }
    if (static_cast<size_t>(info.st_size) > limits.max_file_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(path, " has ", info.st_size,
                                                     " bytes, more than ", limits.max_file_bytes,
                                                     "; split it into several requests"));
    }
  }
  ASSIGN_OR_RETURN(const std::string contents, ReadFile(path));
  absl::string_view rest = contents;
  absl::ConsumePrefix(&rest, "\xef\xbb\xbf");
  std::vector<v1::Item> items;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(rest, '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    if (IsBlank(line)) continue;
    const auto at = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": ", what));
    };
    if (line.size() > limits.max_line_bytes) {
      return at(
          absl::StrCat("the line has ", line.size(), " bytes, more than ", limits.max_line_bytes));
    }
    if (items.size() == limits.max_items) {
      return at(absl::StrCat("more than ", limits.max_items,
                             " items; split the file into several requests"));
    }
    absl::StatusOr<v1::Item> item = ParseLine(line);
    if (!item.ok()) return at(item.status().message());
    items.push_back(*std::move(item));
  }
  if (items.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": holds no items; each line must be an object with 'question' or 'text'"));
  }
  return items;
}

}  // namespace unlearn
