#ifndef OFFSET_TEXT_NORMALIZER_H_
#define OFFSET_TEXT_NORMALIZER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

// One step: a Unicode form, a literal replacement, or text put before whatever is not empty.
struct NormalizerStep {
  enum class Kind { kForm, kReplace, kPrepend };
  NormalizerStep(NormalizationForm form) : form(form) {}  // NOLINT: a form is a step
  static NormalizerStep Replace(std::string pattern, std::string content);
  static NormalizerStep Prepend(std::string content);

  Kind kind = Kind::kForm;
  NormalizationForm form;
  std::string pattern;  // to replace, literally; not empty
  std::string content;
};

// Steps applied one after the other; none leaves the text as it is. Immutable and thread-safe.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  // `text` must be valid UTF-8; `continues`: it goes on from another text, and nothing is put
  // before it. RESOURCE_EXHAUSTED when there is no memory for the result, or when the steps make it
  // more than 33 times as long (and more than a few KB).
  absl::StatusOr<std::string> Apply(absl::string_view text, bool continues = false) const;

  bool empty() const { return steps_.empty(); }

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_NORMALIZER_H_
