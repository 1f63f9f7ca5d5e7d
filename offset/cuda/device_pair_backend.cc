#include "offset/cuda/device_pair_backend.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/device_drawer.h"
#include "offset/cuda/device_pages.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

constexpr int64_t kSmallestGraph = 2;  // rows: one token of one stream
constexpr int64_t kRankStep = 16;
// Blocks of attention for each multiprocessor, and the most that share a row.
constexpr int64_t kBlocksPerProcessor = 2;
constexpr int64_t kMaxSplits = 16;

int64_t NextPowerOfTwo(int64_t value) {
  int64_t power = 1;
  while (power < value) power *= 2;
  return power;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DevicePairBackend>> DevicePairBackend::Make(
    std::unique_ptr<DeviceRuntime> runtime, const Decoder& base, const Options& options) {
  if (options.dtype != at::kBFloat16 && options.dtype != at::kFloat) {
    return absl::InvalidArgumentError("the pair runs in bf16 or fp32 on a GPU");
  }
  if (options.graph_rows < kSmallestGraph ||
      NextPowerOfTwo(options.graph_rows) != options.graph_rows) {
    return absl::InvalidArgumentError(absl::StrCat("graph_rows is ", options.graph_rows,
                                                   ", must be a power of two, at least ",
                                                   kSmallestGraph));
  }
  return CatchTorch(
      "the pair on the GPU", [&]() -> absl::StatusOr<std::unique_ptr<DevicePairBackend>> {
        c10::InferenceMode inference;
        runtime->MakeCurrent();
        auto backend =
            std::unique_ptr<DevicePairBackend>(new DevicePairBackend(std::move(runtime), options));
        DeviceRuntime* const device = backend->runtime_.get();
        backend->config_ = base.config();
        ASSIGN_OR_RETURN(backend->weights_, CopyWeights(base, options.dtype, device->device()));
        backend->pages_ = std::make_unique<DevicePages>(base.config(), options.kv_cache_tokens,
                                                        options.dtype, device);
        backend->stacks_ = std::make_unique<DeviceStacks>(base.config(), device);
        device->Wait();
        return backend;
      });
}

DevicePairBackend::DevicePairBackend(std::unique_ptr<DeviceRuntime> runtime, const Options& options)
    : options_(options), runtime_(std::move(runtime)) {}

KvPages& DevicePairBackend::pages() { return *pages_; }

DevicePairBackend::~DevicePairBackend() {
  // Nothing may be in flight over memory that goes. What failed before fails again here; it was
  // reported then.
  CatchTorch("the end of the pair on the GPU", [&] {
    runtime_->MakeCurrent();
    runtime_->Wait();
    return absl::OkStatus();
  }).IgnoreError();
}

absl::Status DevicePairBackend::AddStack(const std::shared_ptr<const LoraStack>& stack) {
  if (stacks_->SlotOf(stack.get()) >= 0) return absl::OkStatus();
  return CatchTorch("an adapter stack on the GPU", [&]() -> absl::Status {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    RETURN_IF_ERROR(stacks_->Add(stack));
    if (stacks_->max_rank() <= rank_capacity_) return absl::OkStatus();
    // Buffers for larger ranks lie elsewhere, so that what was captured is void.
    runtime_->Wait();
    const bool had_graphs = !graphs_.empty();
    graphs_.clear();
    large_.reset();
    rank_capacity_ = (stacks_->max_rank() + kRankStep - 1) / kRankStep * kRankStep;
    const int64_t rows = options_.graph_rows;
    BatchNeeds room;
    room.rows = rows;
    room.wanted = room.tiles = rows / 2;
    room.pages = rows * (config_.max_positions / KvPages::kPageTokens + 1);
    small_ = std::make_unique<DeviceBuffers>(config_, options_.dtype, room, rank_capacity_,
                                             ScratchFor(rows), runtime_.get());
    if (had_graphs) CaptureGraphs();
    return absl::OkStatus();
  });
}

absl::Status DevicePairBackend::Warm(const std::shared_ptr<const LoraStack>& stack) {
  RETURN_IF_ERROR(AddStack(stack));
  return CatchTorch("CUDA graphs of the pair", [&] {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    CaptureGraphs();
    return absl::OkStatus();
  });
}

void DevicePairBackend::CaptureGraphs() {
  for (int64_t rows = kSmallestGraph; rows <= options_.graph_rows; rows *= 2) {
    std::unique_ptr<DeviceRuntime::Graph>& graph = graphs_[rows];
    if (graph != nullptr) continue;
    const BatchNeeds needs = {rows, rows / 2, rows / 2, 0};
    runtime_->Wait();
    small_->Stage(PackedBatch({}, {}, *pages_, *stacks_), needs, *runtime_);
    // Once without capturing: libraries take their memory at the first call.
    RunLayers(*small_, needs);
    runtime_->Wait();
    graph = runtime_->Capture([&] { RunLayers(*small_, needs); });
  }
  staged_unwaited_ = false;
}

int64_t DevicePairBackend::BucketOf(const BatchNeeds& needs) const {
  if (!use_graphs_ || needs.pages > small_->room.pages) return 0;
  const int64_t rows =
      NextPowerOfTwo(std::max({kSmallestGraph, needs.rows, 2 * needs.wanted, 2 * needs.tiles}));
  const auto it = graphs_.find(rows);
  return it == graphs_.end() || it->second == nullptr ? 0 : rows;
}

int32_t DevicePairBackend::SplitsOf(int64_t rows) const {
  const int64_t blocks = rows * config_.num_kv_heads;
  const int64_t wanted =
      kBlocksPerProcessor * runtime_->multiprocessors() / std::max<int64_t>(1, blocks);
  return static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, kMaxSplits));
}

int64_t DevicePairBackend::ScratchFor(int64_t rows) const {
  int64_t most = 0;
  for (int64_t r = 1; r <= rows; ++r) {
    const int64_t splits = SplitsOf(r);
    if (splits > 1) most = std::max(most, r * splits);
  }
  return most * config_.num_heads * (config_.head_dim + 2);
}

absl::StatusOr<DevicePairBackend::Ran> DevicePairBackend::RunBatch(
    const TokenBatch& batch, absl::Span<const RowPair> wanted) {
  // Buffers come with the first stack; without one there is nothing of which a pair could differ.
  if (small_ == nullptr) return absl::InternalError("a batch of the pair before any adapter stack");
  for (const LoraRange& range : batch.loras) {
    if (range.lora != nullptr && !range.lora->empty() && stacks_->SlotOf(range.lora) < 0) {
      return absl::InternalError("a batch of the pair names an adapter stack that was not added");
    }
  }
  RETURN_IF_ERROR(PrepareBatch(config_, batch, *pages_));
  const PackedBatch packed(batch, wanted, *pages_, *stacks_);
  const BatchNeeds needs = packed.needs();
  if (staged_unwaited_) runtime_->Wait();
  staged_unwaited_ = true;
  if (const int64_t rows = BucketOf(needs); rows > 0) {
    const BatchNeeds padded = {rows, rows / 2, rows / 2, needs.pages};
    small_->Stage(packed, padded, *runtime_);
    graphs_.at(rows)->Replay();
    ++graph_replays_;
    return Ran{small_.get(), padded.wanted};
  }
  DeviceBuffers* buffers = small_.get();
  if (!needs.FitIn(small_->room)) {
    if (large_ == nullptr || !needs.FitIn(large_->room)) {
      BatchNeeds room = large_ == nullptr ? needs : large_->room;
      large_.reset();
      room.rows = NextPowerOfTwo(std::max(room.rows, needs.rows));
      room.wanted = NextPowerOfTwo(std::max(room.wanted, needs.wanted));
      room.tiles = NextPowerOfTwo(std::max(room.tiles, needs.tiles));
      room.pages = NextPowerOfTwo(std::max(room.pages, needs.pages));
      large_ = std::make_unique<DeviceBuffers>(config_, options_.dtype, room, rank_capacity_,
                                               ScratchFor(room.rows), runtime_.get());
    }
    buffers = large_.get();
  }
  buffers->Stage(packed, needs, *runtime_);
  RunLayers(*buffers, needs);
  return Ran{buffers, needs.wanted};
}

at::Tensor DevicePairBackend::MultiplyHead(const Ran& ran) {
  const bool split = options_.dtype != at::kFloat;
  const int64_t rows = ran.wanted * (split ? 2 : 1);
  if (!delta_.defined() || delta_.size(0) < rows) {
    delta_.reset();
    delta_ = at::empty({NextPowerOfTwo(rows), config_.vocab_size},
                       at::TensorOptions(at::kFloat).device(runtime_->device()));
  }
  at::Tensor delta = delta_.narrow(0, 0, rows);
  runtime_->Multiply(ran.buffers->halves.narrow(0, 0, rows), weights_.head, delta);
  const int64_t count = ran.wanted * config_.vocab_size;
  float* const to = delta_.mutable_data_ptr<float>();
  if (split) AddInPlace(runtime_->stream(), to + count, count, to);
  return delta;
}

at::Tensor DevicePairBackend::ToHost(const at::Tensor& rows) {
  const int64_t bytes = rows.numel() * static_cast<int64_t>(sizeof(float));
  at::Tensor host = runtime_->PinnedBytes(bytes).view(at::kFloat).view(rows.sizes());
  runtime_->CopyToHost(host.mutable_data_ptr(), rows.const_data_ptr(), bytes);
  runtime_->Wait();
  staged_unwaited_ = false;
  return host;
}

absl::StatusOr<at::Tensor> DevicePairBackend::Differences(const TokenBatch& batch,
                                                          absl::Span<const RowPair> wanted) {
  return CatchTorch("hidden states of the pair on the GPU", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    ASSIGN_OR_RETURN(const Ran ran, RunBatch(batch, wanted));
    const int64_t count = static_cast<int64_t>(wanted.size());
    if (count == 0) return at::empty({0, config_.hidden_size}, at::TensorOptions(at::kFloat));
    return ToHost(ran.buffers->difference.narrow(0, 0, count));
  });
}

at::Tensor DevicePairBackend::MultiplyReferences(const Ran& ran, absl::Span<const RowPair> wanted,
                                                 absl::Span<const int64_t> drafting) {
  std::vector<int64_t> places;
  for (const int64_t i : drafting) places.push_back(wanted[i].reference);
  const at::Tensor hidden =
      ran.buffers->hidden
          .index_select(0, at::tensor(places, at::TensorOptions(at::kLong)).to(runtime_->device()))
          .to(options_.dtype);
  at::Tensor rows = at::empty({static_cast<int64_t>(places.size()), config_.vocab_size},
                              at::TensorOptions(at::kFloat).device(runtime_->device()));
  runtime_->Multiply(hidden, weights_.head, rows);
  return rows;
}

absl::StatusOr<PairRows> DevicePairBackend::QueueRows(const TokenBatch& batch,
                                                      absl::Span<const RowPair> wanted,
                                                      absl::Span<const int64_t> drafting) {
  return CatchTorch("delta of the pair on the GPU", [&]() -> absl::StatusOr<PairRows> {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    ASSIGN_OR_RETURN(const Ran ran, RunBatch(batch, wanted));
    PairRows rows;
    if (wanted.empty()) {
      rows.deltas = at::empty({0, config_.vocab_size},
                              at::TensorOptions(at::kFloat).device(runtime_->device()));
      return rows;
    }
    rows.deltas = MultiplyHead(ran).narrow(0, 0, static_cast<int64_t>(wanted.size()));
    if (!drafting.empty()) rows.references = MultiplyReferences(ran, wanted, drafting);
    return rows;
  });
}

absl::StatusOr<at::Tensor> DevicePairBackend::Deltas(const TokenBatch& batch,
                                                     absl::Span<const RowPair> wanted) {
  ASSIGN_OR_RETURN(const PairRows rows, QueueRows(batch, wanted, {}));
  return CatchTorch("delta of the pair from the GPU", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    if (wanted.empty()) return at::empty({0, config_.vocab_size}, at::TensorOptions(at::kFloat));
    return ToHost(rows.deltas);
  });
}

absl::StatusOr<std::unique_ptr<EnsembleDrawer>> DevicePairBackend::MakeDrawer(int64_t tokens,
                                                                              int slots) {
  return DeviceDrawer::Make(runtime_.get(), tokens, config_.vocab_size, slots);
}

}  // namespace unlearn
