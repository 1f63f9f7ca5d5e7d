#ifndef OFFSET_TEXT_NORMALIZER_H_
#define OFFSET_TEXT_NORMALIZER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

// Unicode normalisation forms applied one after the other; none leaves the text as it is.
// Immutable and thread-safe.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizationForm> forms) : forms_(std::move(forms)) {}

  // `text` must be valid UTF-8. RESOURCE_EXHAUSTED when there is no memory for the result.
  absl::StatusOr<std::string> Apply(absl::string_view text) const;

  bool empty() const { return forms_.empty(); }

 private:
  std::vector<NormalizationForm> forms_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_NORMALIZER_H_
