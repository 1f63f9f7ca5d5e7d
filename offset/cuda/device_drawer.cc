#include "offset/cuda/device_drawer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/combine/combiner.h"
#include "offset/cuda/device_kernels.h"
#include "offset/model/torch_boundary.h"
#include "offset/pair/drawer_checks.h"

namespace unlearn {
namespace {

// Warps that need the vocabulary sorted run on the CPU.
bool NeedsCpu(const EnsembleDrawer::Request& request) {
  const SamplingOptions& options = request.sampling;
  return !request.forced && options.temperature > 0 && (options.top_k > 0 || options.top_p < 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceDrawer>> DeviceDrawer::Make(DeviceRuntime* runtime,
                                                                 int64_t tokens, int64_t vocab,
                                                                 int slots) {
  RETURN_IF_ERROR(CheckDrawerShape(tokens, vocab, slots));
  return CatchTorch(
      absl::StrCat("memory for drawing from ", slots, " slots on the GPU"),
      [&]() -> absl::StatusOr<std::unique_ptr<DeviceDrawer>> {
        c10::InferenceMode inference;
        runtime->MakeCurrent();
        return std::unique_ptr<DeviceDrawer>(new DeviceDrawer(runtime, tokens, vocab, slots));
      });
}

DeviceDrawer::DeviceDrawer(DeviceRuntime* runtime, int64_t tokens, int64_t vocab, int slots)
    : runtime_(runtime),
      tokens_(tokens),
      vocab_(vocab),
      slots_(slots),
      cpu_drawer_(tokens),
      zeros_(tokens) {
  const auto floats = [&](int64_t columns) {
    return at::empty({slots, columns}, at::TensorOptions(at::kFloat).device(runtime->device()));
  };
  const auto bytes = [&](size_t each, int64_t count) {
    return at::empty({static_cast<int64_t>(each) * count},
                     at::TensorOptions(at::kByte).device(runtime->device()));
  };
  pinned_rows_ = runtime->PinnedBytes(slots * tokens * static_cast<int64_t>(sizeof(float)));
  model_ = floats(tokens);
  delta_ = floats(vocab);
  ensemble_ = floats(tokens);
  const int64_t parts = slots * DrawChunks(tokens);
  parts_ = bytes(sizeof(LogSum) + sizeof(Candidate) + sizeof(int32_t), parts);
  draws_ = bytes(sizeof(DeviceDraw), slots);
  drawn_ = bytes(sizeof(DeviceDrawn), slots);
  pinned_ = runtime->PinnedBytes(
      static_cast<int64_t>((sizeof(DeviceDraw) + sizeof(DeviceDrawn)) * slots));
}

DeviceDrawer::~DeviceDrawer() {
  // Rows that were staged and never drawn from may still be on their way.
  CatchTorch("the end of drawing on the GPU", [&] {
    runtime_->MakeCurrent();
    runtime_->WaitForUploads();
    runtime_->Wait();
    return absl::OkStatus();
  }).IgnoreError();
}

absl::Status DeviceDrawer::StageRows(absl::Span<const int> slots, absl::Span<const float> rows) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_));
  RETURN_IF_ERROR(CheckStagedRows(slots, rows.size(), tokens_));
  if (slots.empty()) return absl::OkStatus();
  return CatchTorch("upload of M's rows to the GPU", [&] {
    const size_t columns = rows.size() / slots.size();
    const size_t bytes = tokens_ * sizeof(float);
    const float* row = rows.data();
    for (const int slot : slots) {
      // An upload of an earlier row of the slot that nobody drew from may still read this memory;
      // the one that is queued here comes after it.
      float* const pinned = static_cast<float*>(pinned_rows_.mutable_data_ptr()) + slot * tokens_;
      memcpy(pinned, row, bytes);
      row += columns;
      absl::MutexLock lock(&mutex_);
      runtime_->Upload(static_cast<float*>(model_.mutable_data_ptr()) + slot * tokens_, pinned,
                       bytes);
    }
    return absl::OkStatus();
  });
}

absl::Status DeviceDrawer::KeepRows(const char* what, const at::Tensor& rows,
                                    absl::Span<const int> slots, at::Tensor& to, int64_t columns) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_));
  RETURN_IF_ERROR(CheckDeltas(slots, rows.size(0), rows.size(1), vocab_));
  return CatchTorch(what, [&] {
    runtime_->MakeCurrent();
    const size_t bytes = columns * sizeof(float);
    float* const first = static_cast<float*>(to.mutable_data_ptr());
    const float* from = static_cast<const float*>(rows.const_data_ptr());
    for (const int slot : slots) {
      runtime_->CopyPieces(first + slot * columns, from, bytes, bytes, 1);
      from += vocab_;
    }
    return absl::OkStatus();
  });
}

absl::Status DeviceDrawer::KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) {
  return KeepRows("deltas of the pair", deltas, slots, delta_, vocab_);
}

absl::Status DeviceDrawer::KeepReferences(const at::Tensor& references,
                                          absl::Span<const int> slots) {
  return KeepRows("the reference's rows", references, slots, model_, tokens_);
}

absl::Status DeviceDrawer::KeepZeroDeltas(absl::Span<const int> slots) {
  RETURN_IF_ERROR(CheckSlots(slots, slots_));
  return CatchTorch("deltas of no adapter", [&] {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    for (const int slot : slots) delta_[slot].zero_();
    return absl::OkStatus();
  });
}

absl::Status DeviceDrawer::Prepare(const Request& request, DeviceDraw& draw) const {
  RETURN_IF_ERROR(CheckSlots({request.slot}, slots_));
  RETURN_IF_ERROR(CheckSamplingOptions(request.sampling));
  const float alpha = static_cast<float>(request.alpha);
  if (!std::isfinite(alpha)) {
    return absl::InvalidArgumentError(
        absl::StrCat("alpha is ", request.alpha, ", must be finite in fp32"));
  }
  if (request.forced) {
    RETURN_IF_ERROR(CheckForced(*request.forced, tokens_));
    draw.forced = *request.forced;
  }
  draw.key = {request.key.seed, request.key.sample, request.key.position};
  draw.inverse_temperature =
      request.sampling.temperature > 0 ? 1.0 / request.sampling.temperature : 0;
  draw.min_p_log = MinPFloor(0, request.sampling);
  draw.alpha = alpha;
  draw.delta_row = draw.model_row = request.slot;
  return absl::OkStatus();
}

absl::Status DeviceDrawer::ErrorOf(const Request& request, int32_t errors) {
  const at::Tensor delta = delta_[request.slot].to(at::kCPU);
  const size_t tokens = static_cast<size_t>(tokens_);
  // Nobody stages the slot before it has been drawn from.
  const at::Tensor model = model_[request.slot].to(at::kCPU);
  const absl::Status status =
      cpu_drawer_.Combine({model.const_data_ptr<float>(), tokens},
                          {delta.const_data_ptr<float>(), tokens}, request.alpha);
  return status.ok() ? absl::InternalError(absl::StrCat(
                           "the GPU refuses a row that is in order (errors ", errors, ")"))
                     : status;
}

absl::StatusOr<SampledToken> DeviceDrawer::DrawOnCpu(const Request& request, int64_t row) {
  const at::Tensor ensemble = ensemble_[row].to(at::kCPU);
  // z is complete; alpha = 0 leaves it as it is.
  RETURN_IF_ERROR(cpu_drawer_.Combine(
      {ensemble.const_data_ptr<float>(), static_cast<size_t>(tokens_)}, zeros_, 0));
  return cpu_drawer_.Draw(request.sampling, request.key);
}

absl::Status DeviceDrawer::Draw(absl::Span<const Request> requests, Use use) {
  if (static_cast<int>(requests.size()) > slots_) {
    return absl::InvalidArgumentError(
        absl::StrCat(requests.size(), " tokens to draw from ", slots_, " slots"));
  }
  auto* const draws = static_cast<DeviceDraw*>(pinned_.mutable_data_ptr());
  auto* const drawn = reinterpret_cast<DeviceDrawn*>(draws + slots_);
  std::vector<absl::StatusOr<SampledToken>> tokens;
  std::vector<size_t> rows;  // which request each draw is
  for (size_t i = 0; i < requests.size(); ++i) {
    DeviceDraw draw = {};
    absl::Status status = Prepare(requests[i], draw);
    const bool wrong = !status.ok();
    tokens.push_back(wrong ? absl::StatusOr<SampledToken>(std::move(status)) : SampledToken());
    if (wrong) continue;
    draws[rows.size()] = draw;
    rows.push_back(i);
  }
  RETURN_IF_ERROR(CatchTorch("drawing on the GPU", [&]() -> absl::Status {
    if (rows.empty()) return absl::OkStatus();
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    {
      absl::MutexLock lock(&mutex_);
      runtime_->JoinUploads();
    }
    runtime_->CopyToDevice(draws_.mutable_data_ptr(), draws, rows.size() * sizeof(DeviceDraw));
    const int64_t parts = slots_ * DrawChunks(tokens_);
    DrawTokensArguments a;
    a.draws = static_cast<const DeviceDraw*>(draws_.const_data_ptr());
    a.count = static_cast<int64_t>(rows.size());
    a.tokens = tokens_;
    a.model = model_.const_data_ptr<float>();
    a.model_stride = tokens_;
    a.delta = delta_.const_data_ptr<float>();
    a.delta_stride = vocab_;
    a.ensemble = ensemble_.mutable_data_ptr<float>();
    a.sums = static_cast<LogSum*>(parts_.mutable_data_ptr());
    a.candidates = reinterpret_cast<Candidate*>(a.sums + parts);
    a.chunk_errors = reinterpret_cast<int32_t*>(a.candidates + parts);
    a.drawn = static_cast<DeviceDrawn*>(drawn_.mutable_data_ptr());
    DrawTokens(runtime_->stream(), a);
    runtime_->CopyToHost(drawn, a.drawn, rows.size() * sizeof(DeviceDrawn));
    runtime_->Wait();
    for (size_t row = 0; row < rows.size(); ++row) {
      const Request& request = requests[rows[row]];
      absl::StatusOr<SampledToken>& token = tokens[rows[row]];
      if (drawn[row].errors != 0) {
        token = ErrorOf(request, drawn[row].errors);
      } else if (NeedsCpu(request)) {
        token = DrawOnCpu(request, static_cast<int64_t>(row));
      } else {
        token = SampledToken{drawn[row].id, drawn[row].logprob};
      }
    }
    return absl::OkStatus();
  }));
  for (absl::StatusOr<SampledToken>& token : tokens) use(std::move(token));
  return absl::OkStatus();
}

}  // namespace unlearn
