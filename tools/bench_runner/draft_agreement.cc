#include "tools/bench_runner/draft_agreement.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

int32_t Favourite(const float* row, int64_t vocabulary) {
  return static_cast<int32_t>(std::max_element(row, row + vocabulary) - row);
}

}  // namespace

absl::StatusOr<at::Tensor> Draft::Rows(const std::vector<int32_t>& tokens, int64_t count) const {
  at::Tensor rows;
  RETURN_IF_ERROR(CatchTorch("the draft's logits", [&]() -> absl::Status {
    c10::InferenceMode inference;
    const std::vector<int64_t> ids(tokens.begin(), tokens.end());
    const at::Tensor hidden = base_->Forward(at::tensor(ids).unsqueeze(0), *stack_)[0];
    rows = base_->Logits(hidden.narrow(0, hidden.size(0) - count, count)).contiguous();
    return absl::OkStatus();
  }));
  return rows;
}

absl::StatusOr<double> Draft::AgreementUnder(double deviation, const NoiseRows& noise,
                                             const std::vector<std::vector<int32_t>>& prompts,
                                             int steps) const {
  double same = 0;
  for (std::vector<int32_t> tokens : prompts) {
    uint64_t key = 0;
    for (const int32_t token : tokens) key = NoiseRows::Key(key, token);
    for (int i = 0; i < steps; ++i) {
      ASSIGN_OR_RETURN(const at::Tensor rows, Rows(tokens, 1));
      const int64_t vocabulary = rows.size(1);
      const float* row = rows.const_data_ptr<float>();
      const absl::Span<const float> added = noise.Row(key);
      std::vector<float> ensemble(row, row + vocabulary);
      for (int64_t id = 0; id < vocabulary; ++id) {
        ensemble[id] += static_cast<float>(deviation) * added[id];
      }
      tokens.push_back(Favourite(ensemble.data(), vocabulary));
      same += tokens.back() == Favourite(row, vocabulary);
      key = NoiseRows::Key(key, tokens.back());
    }
  }
  return same / (static_cast<double>(prompts.size()) * steps);
}

absl::StatusOr<double> Draft::NoiseFor(double share, const NoiseRows& noise,
                                       const std::vector<std::vector<int32_t>>& prompts,
                                       int steps) const {
  double low = 0;
  double high = 0.05;
  while (true) {
    ASSIGN_OR_RETURN(const double agreement, AgreementUnder(high, noise, prompts, steps));
    if (agreement <= share) break;
    low = high;
    high *= 2;
    if (high > 1e6) return absl::InternalError("noise does not change what the draft likes best");
  }
  for (int i = 0; i < 6; ++i) {
    const double middle = (low + high) / 2;
    ASSIGN_OR_RETURN(const double agreement, AgreementUnder(middle, noise, prompts, steps));
    (agreement > share ? low : high) = middle;
  }
  return low;
}

absl::StatusOr<double> Draft::Agreement(const std::vector<std::vector<int32_t>>& prompts,
                                        const std::vector<std::vector<int32_t>>& tokens) const {
  double same = 0;
  double all = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::vector<int32_t> sequence = prompts[i];
    sequence.insert(sequence.end(), tokens[i].begin(), tokens[i].end() - 1);
    ASSIGN_OR_RETURN(const at::Tensor rows, Rows(sequence, tokens[i].size()));
    const float* row = rows.const_data_ptr<float>();
    for (const int32_t token : tokens[i]) {
      same += Favourite(row, rows.size(1)) == token;
      all += 1;
      row += rows.size(1);
    }
  }
  return same / all;
}

}  // namespace unlearn
