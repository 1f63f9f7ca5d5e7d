#include "offset/text/normalizer.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "offset/base/status_macros.h"
#include "offset/text/text_growth.h"

namespace unlearn {
namespace {

int Options(NormalizationForm form) {
  switch (form) {
    case NormalizationForm::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case NormalizationForm::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case NormalizationForm::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case NormalizationForm::kNfkd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
  return 0;
}

// True when no code point of the text can change: below U+0300 for NFC, ASCII for the others.
bool IsUnchanged(absl::string_view text, NormalizationForm form) {
  const uint8_t limit = form == NormalizationForm::kNfc ? 0xCC : 0x80;
  for (const char byte : text) {
    if (static_cast<uint8_t>(byte) >= limit) return false;
  }
  return true;
}

absl::StatusOr<std::string> ApplyForm(NormalizationForm form, std::string text) {
  if (text.empty() || IsUnchanged(text, form)) return text;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(Options(form)));
  if (length < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("normalising a text of ", text.size(),
                                                     " bytes failed: ", utf8proc_errmsg(length)));
  }
  std::string result(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
  std::free(mapped);
  return result;
}

}  // namespace

NormalizerStep NormalizerStep::Replace(std::string pattern, std::string content) {
  NormalizerStep step(NormalizationForm::kNfc);
  step.kind = Kind::kReplace;
  step.pattern = std::move(pattern);
  step.content = std::move(content);
  return step;
}

NormalizerStep NormalizerStep::Prepend(std::string content) {
  NormalizerStep step(NormalizationForm::kNfc);
  step.kind = Kind::kPrepend;
  step.content = std::move(content);
  return step;
}

absl::StatusOr<std::string> Normalizer::Apply(absl::string_view text, bool continues) const {
  std::string result(text);
  for (const NormalizerStep& step : steps_) {
    switch (step.kind) {
      case NormalizerStep::Kind::kForm: {
        ASSIGN_OR_RETURN(result, ApplyForm(step.form, std::move(result)));
        break;
      }
      case NormalizerStep::Kind::kReplace:
        result = absl::StrReplaceAll(result, {{step.pattern, step.content}});
        break;
      case NormalizerStep::Kind::kPrepend:
        if (!result.empty() && !continues) result.insert(0, step.content);
        break;
    }
    // Each replacement may double the text, and a file may have many.
    RETURN_IF_ERROR(CheckGrowth(text.size(), result.size()));
  }
  return result;
}

}  // namespace unlearn
