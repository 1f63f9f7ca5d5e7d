#include "trainer/data/item_check.h"

#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/repeated_field.h"
#include "offset/base/status_macros.h"
#include "utf8proc.h"

namespace unlearn {
namespace {

constexpr size_t kMaxLabelBytes = 200;
constexpr absl::string_view kObjectives[] = {"mixed", "refusal",     "relabel",
                                             "npo",   "max_entropy", "ce_u"};

bool IsUtf8(absl::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t done = 0; done < text.size();) {
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t length = utf8proc_iterate(
        bytes + done, static_cast<utf8proc_ssize_t>(text.size() - done), &code_point);
    if (length <= 0) return false;
    done += length;
  }
  return true;
}

bool IsBlank(absl::string_view text) { return absl::StripAsciiWhitespace(text).empty(); }

absl::Status Wrong(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("field '", field, "' ", what));
}

absl::Status CheckText(absl::string_view field, absl::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return Wrong(field, absl::StrCat("has ", text.size(), " bytes, more than ", max_bytes));
  }
  if (!IsUtf8(text)) return Wrong(field, absl::StrCat("(", text.size(), " bytes) is not UTF-8"));
  return absl::OkStatus();
}

// A name or key of the operator's: short and printable.
absl::Status CheckLabel(absl::string_view field, absl::string_view label) {
  RETURN_IF_ERROR(CheckText(field, label, kMaxLabelBytes));
  for (const char c : label) {
    if (absl::ascii_iscntrl(c)) return Wrong(field, "has control characters");
  }
  return absl::OkStatus();
}

absl::Status CheckList(const char* list, const google::protobuf::RepeatedPtrField<v1::Item>& items,
                       const SubmitLimits& limits) {
  for (int i = 0; i < items.size(); ++i) {
    const absl::Status status = CheckItem(items[i], limits);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(list, "[", i, "]: ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckItem(const v1::Item& item, const SubmitLimits& limits) {
  const struct {
    const char* name;
    const std::string& text;
  } fields[] = {{"question", item.question()},
                {"answer", item.answer()},
                {"paraphrased_question", item.paraphrased_question()},
                {"paraphrased_answer", item.paraphrased_answer()},
                {"value", item.value()},
                {"text", item.text()}};
  for (const auto& field : fields) {
    RETURN_IF_ERROR(CheckText(field.name, field.text, limits.max_field_bytes));
  }
  for (int i = 0; i < item.perturbed_answer_size(); ++i) {
    RETURN_IF_ERROR(CheckText(absl::StrCat("perturbed_answer[", i, "]"), item.perturbed_answer(i),
                              limits.max_field_bytes));
  }
  const bool has_question = !IsBlank(item.question());
  const bool has_text = !IsBlank(item.text());
  if (has_question && has_text) {
    return Wrong("text", "must not stand beside 'question'; make two items of them");
  }
  if (!has_question && !has_text) {
    return absl::InvalidArgumentError("has neither a 'question' nor a 'text'");
  }
  if (has_question) return absl::OkStatus();
  for (const auto& field : fields) {
    if (&field.text != &item.text() && &field.text != &item.value() && !field.text.empty()) {
      return Wrong(field.name, "needs a 'question'");
    }
  }
  if (item.perturbed_answer_size() > 0) return Wrong("perturbed_answer", "needs a 'question'");
  return absl::OkStatus();
}

absl::Status CheckTrainingSettings(const v1::TrainingSettings& settings,
                                   const SubmitLimits& limits) {
  bool known = settings.objective().empty();
  for (const absl::string_view objective : kObjectives) known |= settings.objective() == objective;
  if (!known) {
    return Wrong("settings.objective",
                 absl::StrCat("must be empty or one of ", absl::StrJoin(kObjectives, ", ")));
  }
  if (settings.steps() < 0 || settings.steps() > limits.max_steps) {
    return Wrong("settings.steps",
                 absl::StrCat("is ", settings.steps(), "; it must be 0 to ", limits.max_steps));
  }
  const double rate = settings.learning_rate();
  if (!std::isfinite(rate) || rate < 0 || rate > 1) {
    return Wrong("settings.learning_rate", absl::StrCat("is ", rate, "; it must be 0 to 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckSubmitRequest(const v1::SubmitRequest& request, const SubmitLimits& limits) {
  if (request.forget_size() == 0) {
    return Wrong("forget", "is empty; a deletion request names at least one thing to forget");
  }
  const int64_t items = int64_t{request.forget_size()} + request.retain_size();
  if (items > limits.max_items) {
    return Wrong("forget", absl::StrCat("and 'retain' hold ", items, " items, more than ",
                                        limits.max_items, "; split the request"));
  }
  if (request.ByteSizeLong() > limits.max_total_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the request has ", request.ByteSizeLong(),
                                                   " bytes, more than ", limits.max_total_bytes,
                                                   "; split it"));
  }
  RETURN_IF_ERROR(CheckLabel("name", request.name()));
  RETURN_IF_ERROR(CheckLabel("idempotency_key", request.idempotency_key()));
  RETURN_IF_ERROR(CheckTrainingSettings(request.settings(), limits));
  RETURN_IF_ERROR(CheckList("forget", request.forget(), limits));
  return CheckList("retain", request.retain(), limits);
}

}  // namespace unlearn
