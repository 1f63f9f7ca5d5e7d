#include "offset/pair/pair_engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"
#include "offset/pair/cpu_pair_backend.h"

namespace unlearn {

PairEngine::PairEngine(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens)
    : PairEngine(std::make_unique<CpuPairBackend>(std::move(base), kv_cache_tokens)) {}

PairEngine::PairEngine(std::unique_ptr<PairBackend> backend)
    : backend_(std::move(backend)), pages_(backend_->pages()), prefixes_(&pages_) {}

absl::Status PairEngine::Warm(const std::shared_ptr<const LoraStack>& stack) {
  return stack->empty() ? absl::OkStatus() : backend_->Warm(stack);
}

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
    stream.reference = pages_.AddSequence();
    stream.offset = pages_.AddSequence();
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
    pages_.RemoveSequence(stream.reference);
    pages_.RemoveSequence(stream.offset);
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
  pages_.Truncate(stream.reference, stream.reference_length);
  pages_.Truncate(stream.offset, end);
  if (stream.keeps_prefixes) KeepPrefixes(stream);
}

void PairEngine::KeepPrefixes(Stream& stream) {
  const auto keep = [&](std::shared_ptr<const LoraStack> stack, int32_t length, int sequence,
                        int32_t& kept) {
    kept = std::min(kept, length);
    if (length / KvPages::kPageTokens == kept / KvPages::kPageTokens) return;
    kept = length;
    prefixes_.Keep({std::move(stack), stream.tenant},
                   absl::MakeConstSpan(stream.tokens).first(length), sequence);
  };
  keep(nullptr, stream.reference_length, stream.reference, stream.reference_kept);
  keep(stream.stack, stream.length, stream.offset, stream.offset_kept);
}

absl::StatusOr<at::Tensor> PairEngine::Step(absl::Span<const PairStep> steps) {
  return RunAll(steps, &PairBackend::Deltas, config().vocab_size);
}

absl::StatusOr<at::Tensor> PairEngine::StepDifferences(absl::Span<const PairStep> steps) {
  return RunAll(steps, &PairBackend::Differences, config().hidden_size);
}

absl::Status PairEngine::StepInto(absl::Span<const PairStep> steps, absl::Span<const int> slots,
                                  EnsembleDrawer& drawer) {
  size_t wanted = 0;
  for (const PairStep& step : steps) wanted += step.wanted;
  if (wanted != slots.size()) {
    return absl::InternalError(
        absl::StrCat(wanted, " rows of the pair for ", slots.size(), " slots of a drawer"));
  }
  PairRows rows;
  ASSIGN_OR_RETURN(const Ran ran, Run(steps,
                                      [&](const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                          absl::Span<const int64_t> drafting) -> absl::Status {
                                        ASSIGN_OR_RETURN(
                                            rows, backend_->QueueRows(batch, wanted, drafting));
                                        return absl::OkStatus();
                                      }));
  const auto slots_of = [&](const std::vector<int64_t>& places) {
    std::vector<int> of;
    of.reserve(places.size());
    for (const int64_t place : places) of.push_back(slots[place]);
    return of;
  };
  RETURN_IF_ERROR(drawer.KeepZeroDeltas(slots_of(ran.zeros)));
  if (ran.places.empty()) return absl::OkStatus();
  const std::vector<int> ran_slots = slots_of(ran.places);
  if (!ran.drafting.empty()) {
    std::vector<int> drafting;
    for (const int64_t i : ran.drafting) drafting.push_back(ran_slots[i]);
    RETURN_IF_ERROR(drawer.KeepReferences(rows.references, drafting));
  }
  return drawer.KeepDeltas(rows.deltas, ran_slots);
}

absl::StatusOr<at::Tensor> PairEngine::RunAll(absl::Span<const PairStep> steps, RowsOfBatch rows_of,
                                              int64_t columns) {
  at::Tensor rows_ran;
  ASSIGN_OR_RETURN(const Ran ran, Run(steps,
                                      [&](const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                          absl::Span<const int64_t>) -> absl::Status {
                                        ASSIGN_OR_RETURN(rows_ran,
                                                         (backend_.get()->*rows_of)(batch, wanted));
                                        return absl::OkStatus();
                                      }));
  if (rows_ran.defined() && ran.zeros.empty()) return rows_ran;
  return CatchTorch("rows of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    const int64_t rows = static_cast<int64_t>(ran.places.size() + ran.zeros.size());
    at::Tensor all = at::zeros({rows, columns}, at::TensorOptions(at::kFloat));
    if (ran.places.empty()) return all;
    return all.index_copy_(0, at::tensor(ran.places, at::TensorOptions(at::kLong)), rows_ran);
  });
}

absl::StatusOr<PairEngine::Ran> PairEngine::Run(absl::Span<const PairStep> steps, RunBatch run) {
  // Rows in the order: all reference tokens, then the offset tokens, grouped by adapter stack so
  // that each stack's LoRA is one product over neighbouring rows.
  std::vector<size_t> order;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!streams_[steps[i].stream].stack->empty()) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return streams_[steps[a].stream].stack.get() < streams_[steps[b].stream].stack.get();
  });
  for (const size_t i : order) {
    RETURN_IF_ERROR(backend_->AddStack(streams_[steps[i].stream].stack));
  }
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
  std::vector<RowPair> wanted;
  Ran ran;
  int64_t place = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool runs = !streams_[steps[i].stream].stack->empty();
    for (int32_t w = 0; w < steps[i].wanted; ++w, ++place) {
      (runs ? ran.places : ran.zeros).push_back(place);
      if (!runs) continue;
      if (steps[i].draft) ran.drafting.push_back(static_cast<int64_t>(wanted.size()));
      wanted.push_back({reference_rows[i] + w, offset_rows[i] + w});
    }
  }
  if (batch.size() > 0) {
    RETURN_IF_ERROR(run(batch, wanted, ran.drafting));
  }
  // What is rolled back goes only now, so that a refused step leaves its stream as it was.
  for (const size_t i : order) Advance(steps[i]);
  return ran;
}

}  // namespace unlearn
