#include "offset/cuda/device_pair_backend.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

constexpr int64_t kSmallestGraph = 2;  // rows: one token of one stream
constexpr int64_t kRankStep = 16;
// Blocks of attention for each multiprocessor, and the most that share a row.
constexpr int64_t kBlocksPerProcessor = 2;
constexpr int64_t kMaxSplits = 16;

ElementType TypeOf(at::ScalarType dtype) {
  return dtype == at::kFloat ? ElementType::kFloat32 : ElementType::kBfloat16;
}

const float* Floats(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

DeviceActivation ActivationOf(ModelConfig::Activation activation) {
  switch (activation) {
    case ModelConfig::Activation::kSilu:
      return DeviceActivation::kSilu;
    case ModelConfig::Activation::kGelu:
      return DeviceActivation::kGelu;
    case ModelConfig::Activation::kGeluTanh:
      return DeviceActivation::kGeluTanh;
  }
  return DeviceActivation::kSilu;
}

int64_t NextPowerOfTwo(int64_t value) {
  int64_t power = 1;
  while (power < value) power *= 2;
  return power;
}

}  // namespace

// Keys and values on the device: [layers, pages, 2, page tokens, kv_heads, head_dim].
class DevicePairBackend::Pages final : public KvPages {
 public:
  Pages(const ModelConfig& config, const Options& options, DeviceRuntime* runtime)
      : KvPages(options.kv_cache_tokens), layers_(config.num_layers), runtime_(runtime) {
    pool_ = at::empty({layers_, page_count(), 2, kPageTokens, config.num_kv_heads, config.head_dim},
                      at::TensorOptions(options.dtype).device(runtime->device()));
    layer_bytes_ = pool_.stride(0) * static_cast<int64_t>(pool_.element_size());
    page_bytes_ = pool_.stride(1) * static_cast<int64_t>(pool_.element_size());
  }
  void* Layer(int64_t layer) {
    return static_cast<char*>(pool_.mutable_data_ptr()) + layer * layer_bytes_;
  }

 private:
  void CopyPage(int32_t from, int32_t to) override {
    char* const pool = static_cast<char*>(pool_.mutable_data_ptr());
    runtime_->CopyPieces(pool + to * page_bytes_, pool + from * page_bytes_, page_bytes_,
                         layer_bytes_, layers_);
  }
  const int64_t layers_;
  DeviceRuntime* const runtime_;
  at::Tensor pool_;
  int64_t layer_bytes_;
  int64_t page_bytes_;
};

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
        backend->pages_ = std::make_unique<Pages>(base.config(), options, device);
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

void DevicePairBackend::AddLoraTo(DeviceBuffers& buffers, const BatchNeeds& needs, int64_t layer,
                                  DeviceStacks::Part part, const at::Tensor& x, at::Tensor& y) {
  AddLoraArguments lora;
  lora.type = TypeOf(options_.dtype);
  lora.x = x.const_data_ptr();
  lora.in = x.size(1);
  lora.out = y.size(1);
  lora.tiles = buffers.tiles();
  lora.tile_count = needs.tiles;
  lora.loras = stacks_->Table(layer, part);
  lora.lora_stride = stacks_->stride();
  lora.max_rank = rank_capacity_;
  lora.low = buffers.low.mutable_data_ptr<float>();
  lora.y = y.mutable_data_ptr<float>();
  AddLora(runtime_->stream(), lora);
}

void DevicePairBackend::RunLayers(DeviceBuffers& buffers, const BatchNeeds& needs) {
  const DeviceStream stream = runtime_->stream();
  const ElementType type = TypeOf(options_.dtype);
  const auto rows_of = [&](const at::Tensor& all) { return all.narrow(0, 0, needs.rows); };
  at::Tensor x = rows_of(buffers.x);
  at::Tensor normed = rows_of(buffers.normed);
  at::Tensor qkv = rows_of(buffers.qkv);
  at::Tensor attended = rows_of(buffers.attended);
  at::Tensor output = rows_of(buffers.output);
  at::Tensor gate_up = rows_of(buffers.gate_up);
  at::Tensor gated = rows_of(buffers.gated);
  const DeviceBatch batch = buffers.Batch(needs.rows);
  const HeadShape shape = {static_cast<int>(config_.num_heads),
                           static_cast<int>(config_.num_kv_heads),
                           static_cast<int>(config_.head_dim)};

  AddAndNormArguments norm;
  norm.rows = needs.rows;
  norm.hidden = config_.hidden_size;
  norm.eps = static_cast<float>(config_.norm_eps);
  norm.x = x.mutable_data_ptr<float>();
  // The norm before the next product; adds what the last one gave.
  const auto add_and_norm = [&](const at::Tensor& weight, const at::Tensor& bias) {
    norm.weight = Floats(weight);
    norm.bias = Floats(bias);
    norm.out = normed.mutable_data_ptr();
    norm.out_type = type;
    AddAndNorm(stream, norm);
  };

  EmbedRows(stream, type, weights_.embedding.const_data_ptr(), batch.tokens, needs.rows,
            config_.hidden_size, static_cast<float>(config_.embedding_scale), norm.x);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const DecoderLayerWeights& layer = weights_.layers[i];
    norm.norm_before_adding = false;
    add_and_norm(layer.attention_norm, layer.attention_norm_bias);
    runtime_->Multiply(normed, layer.qkv, qkv);
    AddLoraTo(buffers, needs, i, DeviceStacks::kQkv, normed, qkv);

    const int64_t window = config_.WindowOf(i);
    const bool local = window > 0 && weights_.local_cosine.defined();
    const at::Tensor& cosine = local ? weights_.local_cosine : weights_.cosine;
    FinishQkvArguments finish;
    finish.batch = batch;
    finish.shape = shape;
    finish.type = type;
    finish.eps = norm.eps;
    finish.qkv = qkv.mutable_data_ptr<float>();
    finish.bias = Floats(layer.qkv_bias);
    finish.query_norm = Floats(layer.query_norm);
    finish.key_norm = Floats(layer.key_norm);
    finish.cosine = Floats(cosine);
    finish.sine = Floats(local ? weights_.local_sine : weights_.sine);
    finish.half = static_cast<int>(cosine.size(1));
    finish.pool = pages_->Layer(i);
    FinishQkv(stream, finish);

    AttendArguments attend;
    attend.batch = batch;
    attend.shape = shape;
    attend.type = type;
    attend.scale = static_cast<float>(config_.AttentionScale());
    attend.window = static_cast<int32_t>(window);
    attend.qkv = finish.qkv;
    attend.pool = finish.pool;
    attend.splits = SplitsOf(needs.rows);
    attend.scratch = buffers.scratch.mutable_data_ptr<float>();
    attend.out = attended.mutable_data_ptr();
    Attend(stream, attend);

    runtime_->Multiply(attended, layer.attention_output, output);
    AddLoraTo(buffers, needs, i, DeviceStacks::kAttentionOutput, attended, output);
    norm.added = output.const_data_ptr<float>();
    norm.added_bias = Floats(layer.attention_output_bias);
    norm.added_norm = Floats(layer.attention_output_norm);
    norm.norm_before_adding = config_.parallel_residual;
    add_and_norm(layer.mlp_norm, layer.mlp_norm_bias);

    runtime_->Multiply(normed, layer.gate_up, gate_up);
    AddLoraTo(buffers, needs, i, DeviceStacks::kGateUp, normed, gate_up);
    ActivateRowsArguments activate;
    activate.rows = needs.rows;
    activate.intermediate = config_.intermediate_size;
    activate.gated = config_.gated_mlp;
    activate.activation = ActivationOf(config_.activation);
    activate.inner = gate_up.const_data_ptr<float>();
    activate.bias = Floats(layer.gate_up_bias);
    activate.out = gated.mutable_data_ptr();
    activate.out_type = type;
    ActivateRows(stream, activate);
    runtime_->Multiply(gated, layer.down, output);
    AddLoraTo(buffers, needs, i, DeviceStacks::kDown, gated, output);
    // Added by the norm that comes next: of the next layer, or the last.
    norm.added_bias = Floats(layer.down_bias);
    norm.added_norm = Floats(layer.mlp_output_norm);
  }
  norm.norm_before_adding = false;
  norm.weight = Floats(weights_.final_norm);
  norm.bias = Floats(weights_.final_norm_bias);
  norm.out = buffers.hidden.mutable_data_ptr();
  norm.out_type = ElementType::kFloat32;
  AddAndNorm(stream, norm);
  char* const halves = static_cast<char*>(buffers.halves.mutable_data_ptr());
  const int64_t half_bytes =
      needs.wanted * config_.hidden_size * static_cast<int64_t>(buffers.halves.element_size());
  SubtractRows(stream, type, buffers.hidden.const_data_ptr<float>(), buffers.wanted(), needs.wanted,
               config_.hidden_size, buffers.difference.mutable_data_ptr<float>(), halves,
               halves + half_bytes);
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

absl::StatusOr<at::Tensor> DevicePairBackend::QueueDeltas(const TokenBatch& batch,
                                                          absl::Span<const RowPair> wanted) {
  return CatchTorch("delta of the pair on the GPU", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    runtime_->MakeCurrent();
    ASSIGN_OR_RETURN(const Ran ran, RunBatch(batch, wanted));
    if (wanted.empty()) {
      return at::empty({0, config_.vocab_size},
                       at::TensorOptions(at::kFloat).device(runtime_->device()));
    }
    return MultiplyHead(ran).narrow(0, 0, static_cast<int64_t>(wanted.size()));
  });
}

absl::StatusOr<at::Tensor> DevicePairBackend::Deltas(const TokenBatch& batch,
                                                     absl::Span<const RowPair> wanted) {
  ASSIGN_OR_RETURN(const at::Tensor delta, QueueDeltas(batch, wanted));
  return CatchTorch("delta of the pair from the GPU", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    if (wanted.empty()) return at::empty({0, config_.vocab_size}, at::TensorOptions(at::kFloat));
    return ToHost(delta);
  });
}

}  // namespace unlearn
