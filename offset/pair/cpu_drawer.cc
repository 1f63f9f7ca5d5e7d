#include "offset/pair/cpu_drawer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/pair/drawer_checks.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<CpuDrawer>> CpuDrawer::Make(int64_t tokens, int64_t vocab,
                                                           int slots) {
  RETURN_IF_ERROR(CheckDrawerShape(tokens, vocab, slots));
  return std::unique_ptr<CpuDrawer>(new CpuDrawer(tokens, vocab, slots));
}

CpuDrawer::CpuDrawer(int64_t tokens, int64_t vocab, int slots)
    : tokens_(tokens), vocab_(vocab), zeros_(tokens), slots_(slots), drawer_(tokens) {}

absl::Status CpuDrawer::Stage(absl::Span<const int> slots, std::vector<float> rows) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_.size()));
  RETURN_IF_ERROR(CheckStagedRows(slots, rows.size(), tokens_));
  if (slots.empty()) return absl::OkStatus();
  const size_t columns = rows.size() / slots.size();
  const auto shared = std::make_shared<const std::vector<float>>(std::move(rows));
  const float* row = shared->data();
  for (const int slot : slots) {
    slots_[slot].rows = shared;
    slots_[slot].references.reset();
    slots_[slot].model = row;
    row += columns;
  }
  return absl::OkStatus();
}

absl::Status CpuDrawer::KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_.size()));
  RETURN_IF_ERROR(CheckDeltas(slots, deltas.size(0), deltas.size(1), vocab_));
  const float* row = deltas.const_data_ptr<float>();
  for (const int slot : slots) {
    slots_[slot].deltas = deltas;
    slots_[slot].delta = row;
    row += vocab_;
  }
  return absl::OkStatus();
}

absl::Status CpuDrawer::KeepReferences(const at::Tensor& references, absl::Span<const int> slots) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_.size()));
  RETURN_IF_ERROR(CheckDeltas(slots, references.size(0), references.size(1), vocab_));
  const float* row = references.const_data_ptr<float>();
  for (const int slot : slots) {
    slots_[slot].rows.reset();
    slots_[slot].references = references;
    slots_[slot].model = row;
    row += vocab_;
  }
  return absl::OkStatus();
}

absl::Status CpuDrawer::KeepZeroDeltas(absl::Span<const int> slots) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_.size()));
  for (const int slot : slots) {
    slots_[slot].deltas.reset();
    slots_[slot].delta = zeros_.data();
  }
  return absl::OkStatus();
}

absl::Status CpuDrawer::Draw(absl::Span<const Request> requests, Use use) {
  for (const Request& request : requests) use(DrawOne(request));
  return absl::OkStatus();
}

absl::StatusOr<SampledToken> CpuDrawer::DrawOne(const Request& request) {
  RETURN_IF_ERROR(CheckSlots({request.slot}, slots_.size()));
  if (request.forced) RETURN_IF_ERROR(CheckForced(*request.forced, tokens_));
  const Slot slot = std::exchange(slots_[request.slot], Slot());
  if (request.draft) {
    slots_[request.slot].deltas = slot.deltas;
    slots_[request.slot].delta = slot.delta;
  }
  if (slot.model == nullptr || slot.delta == nullptr) {
    return absl::InternalError(absl::StrCat("slot ", request.slot, " has no row of ",
                                            slot.model == nullptr ? "M" : "the pair"));
  }
  const size_t tokens = static_cast<size_t>(tokens_);
  RETURN_IF_ERROR(drawer_.Combine({slot.model, tokens}, {slot.delta, tokens}, request.alpha));
  if (!request.forced) return drawer_.Draw(request.sampling, request.key);
  SampledToken token;
  token.id = *request.forced;
  token.logprob = drawer_.Logprob(token.id);
  return token;
}

}  // namespace unlearn
