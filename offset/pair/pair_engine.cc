#include "offset/pair/pair_engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "offset/base/status_macros.h"
#include "offset/model/cached_forward.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {

PairEngine::PairEngine(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens)
    : base_(std::move(base)), cache_(base_->config(), kv_cache_tokens) {}

int PairEngine::AddStream(std::shared_ptr<const LoraStack> stack) {
  int index;
  if (free_streams_.empty()) {
    index = static_cast<int>(streams_.size());
    streams_.emplace_back();
  } else {
    index = free_streams_.back();
    free_streams_.pop_back();
  }
  Stream& stream = streams_[index];
  if (!stack->empty()) {
    stream.reference = cache_.AddSequence();
    stream.offset = cache_.AddSequence();
  }
  stream.stack = std::move(stack);
  return index;
}

void PairEngine::RemoveStream(int index) {
  Stream& stream = streams_[index];
  if (!stream.stack->empty()) {
    cache_.RemoveSequence(stream.reference);
    cache_.RemoveSequence(stream.offset);
  }
  stream = Stream();
  free_streams_.push_back(index);
}

absl::StatusOr<at::Tensor> PairEngine::Step(absl::Span<const PairStep> steps) {
  // Rows in the order: all reference tokens, then the offset tokens, grouped by adapter stack so
  // that each stack's LoRA is one product over neighbouring rows.
  std::vector<size_t> order;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!streams_[steps[i].stream].stack->empty()) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return streams_[steps[a].stream].stack.get() < streams_[steps[b].stream].stack.get();
  });
  TokenBatch batch;
  const auto add = [&](const PairStep& step, int sequence) {
    for (size_t i = 0; i < step.tokens.size(); ++i) {
      batch.Add(step.tokens[i], sequence, step.base_position + static_cast<int32_t>(i));
    }
  };
  for (const size_t i : order) add(steps[i], streams_[steps[i].stream].reference);
  const int64_t half = batch.size();
  for (const size_t i : order) {
    const LoraStack* stack = streams_[steps[i].stream].stack.get();
    const int64_t begin = batch.size();
    add(steps[i], streams_[steps[i].stream].offset);
    if (!batch.loras.empty() && batch.loras.back().lora == stack) {
      batch.loras.back().end = batch.size();
    } else {
      batch.loras.push_back({begin, batch.size(), stack});
    }
  }
  at::Tensor hidden;
  if (half > 0) {
    ASSIGN_OR_RETURN(hidden, ForwardTokens(*base_, batch, cache_));
  }
  // What is rolled back goes only now, so that a refused step leaves its stream as it was.
  for (const size_t i : order) {
    const Stream& stream = streams_[steps[i].stream];
    const int64_t length = steps[i].base_position + static_cast<int64_t>(steps[i].tokens.size());
    cache_.Truncate(stream.reference, length);
    cache_.Truncate(stream.offset, length);
  }
  return CatchTorch("delta of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    int64_t wanted = 0;
    for (const PairStep& step : steps) wanted += step.wanted;
    at::Tensor delta = at::zeros({wanted, config().vocab_size}, at::TensorOptions(at::kFloat));
    if (half == 0) return delta;
    // Where each step's wanted rows lie among the reference rows, and in the result.
    std::vector<int64_t> first_row(steps.size(), 0);
    int64_t row = 0;
    for (const size_t i : order) {
      first_row[i] = row;
      row += static_cast<int64_t>(steps[i].tokens.size());
    }
    std::vector<int64_t> rows, places;
    int64_t place = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
      const bool runs = !streams_[steps[i].stream].stack->empty();
      const int64_t end = first_row[i] + static_cast<int64_t>(steps[i].tokens.size());
      for (int64_t w = 0; w < steps[i].wanted; ++w, ++place) {
        if (!runs) continue;
        rows.push_back(end - steps[i].wanted + w);
        places.push_back(place);
      }
    }
    if (rows.empty()) return delta;
    const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong));
    const at::Tensor difference =
        hidden.narrow(0, half, half).index_select(0, index) - hidden.index_select(0, index);
    const at::Tensor product = base_->Logits(difference);
    if (static_cast<int64_t>(rows.size()) == wanted) return product;
    delta.index_copy_(0, at::tensor(places, at::TensorOptions(at::kLong)), product);
    return delta;
  });
}

}  // namespace unlearn
