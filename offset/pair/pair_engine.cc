#include "offset/pair/pair_engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {

PairEngine::PairEngine(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens)
    : base_(std::move(base)), cache_(base_->config(), kv_cache_tokens), prefixes_(&cache_) {}

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

int PairEngine::AddStream(std::shared_ptr<const LoraStack> stack, const std::string& tenant,
                          absl::Span<const int32_t> prompt) {
  const int index = AddStream(std::move(stack));
  Stream& stream = streams_[index];
  if (stream.stack->empty() || prompt.empty()) return index;
  stream.keeps_prefixes = true;
  stream.tenant = tenant;
  // The last token runs in any case: its row is what the caller wants.
  const absl::Span<const int32_t> before_last = prompt.first(prompt.size() - 1);
  stream.reference_kept =
      static_cast<int32_t>(prefixes_.Find({nullptr, tenant}, before_last, stream.reference));
  // Where the offset knows more than the reference, it runs that again: so seldom that the code for
  // it would be worth less than it costs.
  stream.offset_kept = static_cast<int32_t>(prefixes_.Find(
      {stream.stack, tenant}, before_last.first(stream.reference_kept), stream.offset));
  stream.length = stream.offset_kept;
  stream.reference_length = stream.reference_kept;
  stream.tokens.assign(prompt.begin(), prompt.begin() + stream.reference_length);
  return index;
}

int32_t PairEngine::known_tokens(int stream) const { return streams_[stream].length; }

void PairEngine::RemoveStream(int index) {
  Stream& stream = streams_[index];
  if (!stream.stack->empty()) {
    cache_.RemoveSequence(stream.reference);
    cache_.RemoveSequence(stream.offset);
  }
  stream = Stream();
  free_streams_.push_back(index);
  prefixes_.DropGone();
}

int32_t PairEngine::FirstOfReference(const Stream& stream, const PairStep& step) {
  int32_t first = step.base_position;
  if (first != stream.length) return first;  // a rollback
  const int32_t wanted_from =
      step.base_position + static_cast<int32_t>(step.tokens.size()) - step.wanted;
  const int32_t last = std::min(stream.reference_length, wanted_from);
  while (first < last && stream.tokens[first] == step.tokens[first - step.base_position]) ++first;
  return first;
}

void PairEngine::Advance(const PairStep& step) {
  Stream& stream = streams_[step.stream];
  const int32_t end = step.base_position + static_cast<int32_t>(step.tokens.size());
  const bool stays_ahead = step.base_position == stream.length && stream.reference_length > end &&
                           FirstOfReference(stream, step) == end - step.wanted &&
                           std::equal(step.tokens.end() - step.wanted, step.tokens.end(),
                                      stream.tokens.begin() + end - step.wanted);
  stream.length = end;
  if (!stays_ahead) {
    stream.reference_length = end;
    if (stream.keeps_prefixes) {
      stream.tokens.resize(step.base_position);
      stream.tokens.insert(stream.tokens.end(), step.tokens.begin(), step.tokens.end());
    }
  }
  cache_.Truncate(stream.reference, stream.reference_length);
  cache_.Truncate(stream.offset, end);
  if (stream.keeps_prefixes) KeepPrefixes(stream);
}

void PairEngine::KeepPrefixes(Stream& stream) {
  const auto keep = [&](std::shared_ptr<const LoraStack> stack, int32_t length, int sequence,
                        int32_t& kept) {
    kept = std::min(kept, length);
    if (length / KvCache::kPageTokens == kept / KvCache::kPageTokens) return;
    kept = length;
    prefixes_.Keep({std::move(stack), stream.tenant},
                   absl::MakeConstSpan(stream.tokens).first(length), sequence);
  };
  keep(nullptr, stream.reference_length, stream.reference, stream.reference_kept);
  keep(stream.stack, stream.length, stream.offset, stream.offset_kept);
}

absl::StatusOr<at::Tensor> PairEngine::Step(absl::Span<const PairStep> steps) {
  ASSIGN_OR_RETURN(const at::Tensor difference, StepDifferences(steps));
  return CatchTorch("delta of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    // Rows of empty stacks have no product to compute: they are zero.
    std::vector<int64_t> rows;
    int64_t row = 0;
    for (const PairStep& step : steps) {
      const bool runs = !streams_[step.stream].stack->empty();
      for (int32_t w = 0; w < step.wanted; ++w, ++row) {
        if (runs) rows.push_back(row);
      }
    }
    if (static_cast<int64_t>(rows.size()) == row) return base_->Logits(difference);
    at::Tensor delta = at::zeros({row, config().vocab_size}, difference.options());
    if (rows.empty()) return delta;
    const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong));
    delta.index_copy_(0, index, base_->Logits(difference.index_select(0, index)));
    return delta;
  });
}

absl::StatusOr<at::Tensor> PairEngine::StepDifferences(absl::Span<const PairStep> steps) {
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
  // The first of each step's wanted rows, by step.
  std::vector<int64_t> reference_rows(steps.size()), offset_rows(steps.size());
  const auto add = [&](const PairStep& step, int sequence, int32_t first) {
    const int32_t end = step.base_position + static_cast<int32_t>(step.tokens.size());
    for (int32_t at = first; at < end; ++at) {
      batch.Add(step.tokens[at - step.base_position], sequence, at);
    }
    return batch.size() - step.wanted;
  };
  for (const size_t i : order) {
    const Stream& stream = streams_[steps[i].stream];
    reference_rows[i] = add(steps[i], stream.reference, FirstOfReference(stream, steps[i]));
  }
  for (const size_t i : order) {
    const Stream& stream = streams_[steps[i].stream];
    const LoraStack* const stack = stream.stack.get();
    const int64_t begin = batch.size();
    offset_rows[i] = add(steps[i], stream.offset, steps[i].base_position);
    if (!batch.loras.empty() && batch.loras.back().lora == stack) {
      batch.loras.back().end = batch.size();
    } else {
      batch.loras.push_back({begin, batch.size(), stack});
    }
  }
  at::Tensor hidden;
  if (batch.size() > 0) {
    ASSIGN_OR_RETURN(hidden, ForwardTokens(*base_, batch, cache_));
  }
  // What is rolled back goes only now, so that a refused step leaves its stream as it was.
  for (const size_t i : order) Advance(steps[i]);
  return CatchTorch("hidden states of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    int64_t wanted = 0;
    for (const PairStep& step : steps) wanted += step.wanted;
    const int64_t size = config().hidden_size;
    at::Tensor difference = at::zeros({wanted, size}, at::TensorOptions(at::kFloat));
    float* to = difference.data_ptr<float>();
    for (size_t i = 0; i < steps.size(); ++i) {
      const int64_t count = steps[i].wanted * size;
      if (!streams_[steps[i].stream].stack->empty() && count > 0) {
        const float* const rows = hidden.const_data_ptr<float>();
        const float* const offset = rows + offset_rows[i] * size;
        std::transform(offset, offset + count, rows + reference_rows[i] * size, to,
                       [](float o, float r) { return o - r; });
      }
      to += count;
    }
    return difference;
  });
}

}  // namespace unlearn
