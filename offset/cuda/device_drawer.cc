#include "offset/cuda/device_drawer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/device_kernels.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

absl::Status ErrorOf(int32_t errors) {
  if (errors & kBadDelta) {
    return absl::FailedPreconditionError("delta of the pair is not finite; no token can be drawn");
  }
  if (errors & kBadModel) {
    return absl::FailedPreconditionError("M gave NaN or +inf; no token can be drawn from that");
  }
  if (errors & kBadSum) {
    return absl::FailedPreconditionError("the ensemble exceeds fp32; no token can be drawn");
  }
  return absl::FailedPreconditionError("M gave -inf for every token");
}

// Warps that need the vocabulary sorted run on the CPU.
bool NeedsCpu(const SamplingOptions& options) {
  return options.temperature > 0 && (options.top_k > 0 || options.top_p < 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceDrawer>> DeviceDrawer::Make(DeviceRuntime* runtime,
                                                                 int64_t tokens, int64_t vocab,
                                                                 int slots) {
  if (tokens < 1 || vocab < tokens || slots < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a drawer of ", slots, " slots for ", tokens, " of ", vocab, " tokens"));
  }
  return CatchTorch(
      "memory for drawing on the GPU", [&]() -> absl::StatusOr<std::unique_ptr<DeviceDrawer>> {
        c10::InferenceMode inference;
        runtime->MakeCurrent();
        auto drawer =
            std::unique_ptr<DeviceDrawer>(new DeviceDrawer(runtime, tokens, vocab, slots));
        return drawer;
      });
}

DeviceDrawer::DeviceDrawer(DeviceRuntime* runtime, int64_t tokens, int64_t vocab, int slots)
    : runtime_(runtime), tokens_(tokens), vocab_(vocab), slots_(slots) {
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

absl::Status DeviceDrawer::CheckSlot(int slot) const {
  if (slot >= 0 && slot < slots_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("slot ", slot, " of a drawer that has ", slots_, " slots"));
}

absl::Status DeviceDrawer::Stage(int slot, absl::Span<const float> row) {
  RETURN_IF_ERROR(CheckSlot(slot));
  if (static_cast<int64_t>(row.size()) < tokens_) {
    return absl::InvalidArgumentError(
        absl::StrCat("M's row has ", row.size(), " logits, fewer than the ", tokens_, " tokens"));
  }
  return CatchTorch("upload of M's row to the GPU", [&] {
    float* const pinned = static_cast<float*>(pinned_rows_.mutable_data_ptr()) + slot * tokens_;
    const size_t bytes = tokens_ * sizeof(float);
    memcpy(pinned, row.data(), bytes);
    absl::MutexLock lock(&mutex_);
    runtime_->Upload(static_cast<float*>(model_.mutable_data_ptr()) + slot * tokens_, pinned,
                     bytes);
    return absl::OkStatus();
  });
}

absl::Status DeviceDrawer::KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) {
  for (const int slot : slots) RETURN_IF_ERROR(CheckSlot(slot));
  if (deltas.size(0) < static_cast<int64_t>(slots.size()) || deltas.size(1) != vocab_) {
    return absl::InvalidArgumentError(absl::StrCat("deltas [", deltas.size(0), ", ", deltas.size(1),
                                                   "] for ", slots.size(), " slots of ", vocab_));
  }
  return CatchTorch("deltas of the pair", [&] {
    runtime_->MakeCurrent();
    const size_t bytes = vocab_ * sizeof(float);
    float* const to = static_cast<float*>(delta_.mutable_data_ptr());
    const float* from = static_cast<const float*>(deltas.const_data_ptr());
    for (const int slot : slots) {
      runtime_->CopyPieces(to + slot * vocab_, from, bytes, bytes, 1);
      from += vocab_;
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<absl::StatusOr<SampledToken>>> DeviceDrawer::Draw(
    absl::Span<const Request> requests) {
  using Tokens = std::vector<absl::StatusOr<SampledToken>>;
  if (static_cast<int>(requests.size()) > slots_) {
    return absl::InvalidArgumentError(
        absl::StrCat(requests.size(), " tokens to draw from ", slots_, " slots"));
  }
  auto* const draws = static_cast<DeviceDraw*>(pinned_.mutable_data_ptr());
  auto* const drawn = reinterpret_cast<DeviceDrawn*>(draws + slots_);
  for (size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    RETURN_IF_ERROR(CheckSlot(request.slot));
    RETURN_IF_ERROR(CheckSamplingOptions(request.options));
    const float alpha = static_cast<float>(request.alpha);
    if (!std::isfinite(alpha)) {
      return absl::InvalidArgumentError(
          absl::StrCat("alpha is ", request.alpha, ", must be finite in fp32"));
    }
    DeviceDraw draw = {};
    draw.key = {request.key.seed, request.key.sample, request.key.position};
    draw.inverse_temperature =
        request.options.temperature > 0 ? 1.0 / request.options.temperature : 0;
    draw.min_p_log = MinPFloor(0, request.options);
    draw.alpha = alpha;
    draw.delta_row = draw.model_row = request.slot;
    draws[i] = draw;
  }
  return CatchTorch("drawing on the GPU", [&]() -> absl::StatusOr<Tokens> {
    Tokens tokens;
    if (requests.empty()) return tokens;
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    {
      absl::MutexLock lock(&mutex_);
      runtime_->JoinUploads();
    }
    runtime_->CopyToDevice(draws_.mutable_data_ptr(), draws, requests.size() * sizeof(DeviceDraw));
    const int64_t parts = slots_ * DrawChunks(tokens_);
    DrawTokensArguments a;
    a.draws = static_cast<const DeviceDraw*>(draws_.const_data_ptr());
    a.count = static_cast<int64_t>(requests.size());
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
    runtime_->CopyToHost(drawn, a.drawn, requests.size() * sizeof(DeviceDrawn));
    runtime_->Wait();
    for (size_t i = 0; i < requests.size(); ++i) {
      if (drawn[i].errors != 0) {
        tokens.push_back(ErrorOf(drawn[i].errors));
      } else if (NeedsCpu(requests[i].options)) {
        const at::Tensor row = ensemble_[static_cast<int64_t>(i)].to(at::kCPU);
        tokens.push_back(SampleToken({row.const_data_ptr<float>(), static_cast<size_t>(tokens_)},
                                     requests[i].options, requests[i].key));
      } else {
        SampledToken token;
        token.id = drawn[i].id;
        token.logprob = drawn[i].logprob;
        tokens.push_back(token);
      }
    }
    return tokens;
  });
}

}  // namespace unlearn
