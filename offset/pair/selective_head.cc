#include "offset/pair/selective_head.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/model/matrix_product.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

// Rows that are widened to double at once.
constexpr int64_t kBlock = 4096;

// The bounds are computed in double and rounded to the next float above.
float RoundedUp(double value) { return std::nextafter(static_cast<float>(value), INFINITY); }

double Norm(absl::Span<const float> vector) {
  double squares = 0;
  for (const float value : vector) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

}  // namespace

absl::StatusOr<SelectiveHead> SelectiveHead::Make(std::shared_ptr<const Decoder> base,
                                                  int64_t tokens) {
  return CatchTorch("the norms of the head's rows", [&]() -> absl::StatusOr<SelectiveHead> {
    c10::InferenceMode inference;
    if (tokens < 1 || tokens > base->config().vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the tokenizer has ", tokens, " ids, the head of the pair's base ",
          base->config().vocab_size, " rows; a pair and its tokenizer belong together"));
    }
    SelectiveHead head;
    head.base_ = std::move(base);
    const at::Tensor rows = head.base_->head().narrow(0, 0, tokens);
    at::Tensor sum = at::zeros({rows.size(1)}, at::TensorOptions(at::kDouble));
    for (int64_t begin = 0; begin < tokens; begin += kBlock) {
      const at::Tensor block =
          rows.narrow(0, begin, std::min(kBlock, tokens - begin)).to(at::kDouble);
      sum += block.sum(0);
    }
    const at::Tensor mean = (sum / tokens).to(at::kFloat);
    head.mean_.assign(mean.data_ptr<float>(), mean.data_ptr<float>() + mean.numel());
    double largest_row = Norm(head.mean_);
    head.norms_.reserve(tokens);
    for (int64_t begin = 0; begin < tokens; begin += kBlock) {
      const at::Tensor block =
          rows.narrow(0, begin, std::min(kBlock, tokens - begin)).to(at::kDouble);
      const at::Tensor norms = (block - mean).norm(2, {1}).contiguous();
      for (int64_t i = 0; i < norms.size(0); ++i) {
        const double norm = norms.data_ptr<double>()[i];
        if (!std::isfinite(norm)) {
          return absl::FailedPreconditionError(absl::StrCat(
              "row ", begin + i, " of the pair's head is not finite; no bound on delta holds"));
        }
        head.norms_.push_back(RoundedUp(norm));
      }
      largest_row = std::max(largest_row, block.norm(2, {1}).max().item<double>());
    }
    head.largest_norm_ = *std::max_element(head.norms_.begin(), head.norms_.end());
    head.largest_row_ = RoundedUp(largest_row);
    return head;
  });
}

float SelectiveHead::RoundingError(absl::Span<const float> difference) const {
  // A sum of n products in fp32, in any order, is off by at most n 2^-24 ‖W_v‖ ‖d‖ / (1 - n 2^-24);
  // once for W_v · d, once for mean W · d and their difference.
  const double n = static_cast<double>(difference.size()) + 2;
  const double unit = n * std::ldexp(1.0, -24);
  return RoundedUp(2 * unit / (1 - unit) * largest_row_ * Norm(difference));
}

float SelectiveHead::Bound(absl::Span<const float> difference) const {
  return RoundedUp(static_cast<double>(largest_norm_) * Norm(difference) +
                   RoundingError(difference));
}

float SelectiveHead::BoundOf(absl::Span<const float> difference, int32_t id) const {
  return RoundedUp(static_cast<double>(norms_[id]) * Norm(difference) + RoundingError(difference));
}

double SelectiveHead::MeanProduct(absl::Span<const float> difference) const {
  double product = 0;
  for (size_t i = 0; i < mean_.size(); ++i) {
    product += static_cast<double>(mean_[i]) * difference[i];
  }
  return product;
}

absl::StatusOr<std::vector<float>> SelectiveHead::Rows(absl::Span<const float> difference,
                                                       absl::Span<const int32_t> ids) const {
  for (const int32_t id : ids) {
    if (id < 0 || id >= tokens()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside the tokenizer's ", tokens(), " ids"));
    }
  }
  return CatchTorch("delta of few tokens", [&]() -> absl::StatusOr<std::vector<float>> {
    c10::InferenceMode inference;
    const at::Tensor index = at::from_blob(const_cast<int32_t*>(ids.data()),
                                           {static_cast<int64_t>(ids.size())}, at::kInt);
    const at::Tensor rows = base_->head().index_select(0, index);
    std::vector<float> delta(ids.size());
    MultiplyByWeight(difference.data(), 1, rows, at::Tensor(), delta.data());
    const double mean = MeanProduct(difference);
    for (float& value : delta) value = static_cast<float>(value - mean);
    return delta;
  });
}

std::vector<float> SelectiveHead::Full(absl::Span<const float> difference) const {
  std::vector<float> delta(tokens());
  MultiplyByWeight(difference.data(), 1, base_->head().narrow(0, 0, tokens()), at::Tensor(),
                   delta.data());
  const double mean = MeanProduct(difference);
  for (float& value : delta) value = static_cast<float>(value - mean);
  return delta;
}

}  // namespace unlearn
