#include "offset/cuda/cuda_bench.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/cuda_device_runtime.h"
#include "offset/cuda/device_drawer.h"
#include "offset/cuda/device_pair_backend.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

constexpr int kSlots = 64;
constexpr int kPrefillRows = 256;

struct BenchShape {
  const char* name;
  int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
  bool tied;
};
// In the shapes of Qwen2.5-0.5B and Llama-3.2-1B.
constexpr BenchShape kShapes[] = {
    {"0.5B", 151936, 896, 4864, 24, 14, 2, 64, true},
    {"1.2B", 128256, 2048, 8192, 16, 32, 8, 64, true},
};

ModelConfig ConfigOf(const BenchShape& shape) {
  ModelConfig config;
  config.vocab_size = shape.vocab;
  config.hidden_size = shape.hidden;
  config.intermediate_size = shape.intermediate;
  config.num_layers = shape.layers;
  config.num_heads = shape.heads;
  config.num_kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.max_positions = 8192;
  config.tie_word_embeddings = shape.tied;
  return config;
}

// The middle of `times` runs, each with all that it queues, in microseconds.
double Microseconds(DeviceRuntime& runtime, int times, const std::function<void()>& work) {
  std::vector<double> measured;
  for (int i = 0; i < times + 3; ++i) {
    runtime.Wait();
    const auto begin = std::chrono::steady_clock::now();
    work();
    runtime.Wait();
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    if (i >= 3) measured.push_back(took.count());
  }
  std::nth_element(measured.begin(), measured.begin() + times / 2, measured.end());
  return measured[times / 2];
}

// Bytes read and written per microsecond by a copy on the device.
double Bandwidth(DeviceRuntime& runtime) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const at::Tensor from =
      at::zeros({kBytes}, at::TensorOptions(at::kByte).device(runtime.device()));
  at::Tensor to = at::empty_like(from);
  const double took = Microseconds(runtime, 11, [&] {
    runtime.CopyPieces(to.mutable_data_ptr(), from.const_data_ptr(), kBytes, kBytes, 1);
  });
  return 2.0 * kBytes / took;
}

// Streams of a pair at one context, decoding the same position again and again.
class Streams {
 public:
  Streams(DevicePairBackend* backend, const LoraStack* stack, int streams, int32_t context)
      : backend_(*backend), stack_(stack), context_(context) {
    for (int i = 0; i < 2 * streams; ++i) sequences_.push_back(backend_.pages().AddSequence());
    for (int64_t i = 0; i < 2 * streams; ++i) batch_.Add(Token(context), sequences_[i], context);
    batch_.loras.push_back({streams, 2 * streams, stack_});
    for (int64_t i = 0; i < streams; ++i) wanted_.push_back({i, streams + i});
  }
  ~Streams() {
    for (const int sequence : sequences_) backend_.pages().RemoveSequence(sequence);
  }

  absl::Status Prefill() {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      for (int32_t begin = 0; begin < context_; begin += kPrefillRows) {
        TokenBatch batch;
        for (int32_t at = begin; at < std::min(context_, begin + kPrefillRows); ++at) {
          batch.Add(Token(at), sequences_[i], at);
        }
        if (i >= sequences_.size() / 2) batch.loras.push_back({0, batch.size(), stack_});
        RETURN_IF_ERROR(backend_.Differences(batch, {}).status());
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<at::Tensor> Step() {
    ASSIGN_OR_RETURN(const PairRows rows, backend_.QueueRows(batch_, wanted_, {}));
    return rows.deltas;
  }

 private:
  int32_t Token(int32_t at) const {
    return static_cast<int32_t>((at * int64_t{7919} + 17) % backend_.config().vocab_size);
  }
  DevicePairBackend& backend_;
  const LoraStack* const stack_;
  const int32_t context_;
  std::vector<int> sequences_;
  TokenBatch batch_;
  std::vector<RowPair> wanted_;
};

absl::Status BenchModel(const BenchShape& shape) {
  const ModelConfig config = ConfigOf(shape);
  ASSIGN_OR_RETURN(auto made, MakeCudaRuntime(0));
  made->MakeCurrent();
  const double bandwidth = Bandwidth(*made);
  DevicePairBackend::Options options;
  options.kv_cache_tokens = 2 * 32 * (2048 + 32);
  auto decoder = Decoder::Init(config, 1);
  LoraAdapter adapter = LoraAdapter::Init(config, {16, 32}, 2);
  for (auto& [name, tensor] : adapter.tensors()) {
    if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * 0.01;
  }
  const LoraAdapter* const adapters[] = {&adapter};
  const auto stack = std::make_shared<const LoraStack>(FuseAdapters(config, adapters));
  ASSIGN_OR_RETURN(auto backend, DevicePairBackend::Make(std::move(made), *decoder, options));
  decoder.reset();
  DeviceRuntime& runtime = backend->runtime();
  const auto before = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(backend->Warm(stack));
  const std::chrono::duration<double, std::milli> warming =
      std::chrono::steady_clock::now() - before;
  const double read = static_cast<double>(backend->BytesPerStep(stack.get())) / bandwidth;
  printf(
      "\n%s: %.2f GB a step, %.0f GB/s by a copy, so %.0f us to read the weights once; "
      "CUDA graphs captured in %.0f ms\n",
      shape.name, backend->BytesPerStep(stack.get()) / 1e9, bandwidth / 1e3, read, warming.count());
  printf("%8s %8s %10s %10s %8s %12s %12s %14s\n", "streams", "context", "graph us", "eager us",
         "/ read", "draw T=0 us", "draw T=1 us", "step+upload us");
  ASSIGN_OR_RETURN(auto drawer,
                   DeviceDrawer::Make(&runtime, config.vocab_size, config.vocab_size, kSlots));
  const at::Tensor rows = at::randn({kSlots, config.vocab_size}) * 4;
  const absl::Span<const float> models(rows.const_data_ptr<float>(), rows.numel());
  for (const int streams : {1, 4, 16, 32}) {
    for (const int32_t context : {128, 2048}) {
      Streams pair(backend.get(), stack.get(), streams, context);
      RETURN_IF_ERROR(pair.Prefill());
      absl::Status failed;
      at::Tensor delta;
      const auto step = [&] {
        auto deltas = pair.Step();
        failed.Update(deltas.status());
        if (deltas.ok()) delta = *deltas;
      };
      const int64_t replays = backend->graph_replays();
      const double graph = Microseconds(runtime, 30, step);
      if (backend->graph_replays() == replays) {
        return absl::InternalError("the steps were not replayed as graphs");
      }
      backend->set_use_graphs(false);
      const double eager = Microseconds(runtime, 30, step);
      backend->set_use_graphs(true);
      RETURN_IF_ERROR(failed);
      std::vector<int> slots;
      std::vector<DeviceDrawer::Request> requests(streams);
      for (int i = 0; i < streams; ++i) {
        slots.push_back(i);
        requests[i].slot = i;
        requests[i].key.position = i;
      }
      const auto stage = [&] {
        failed.Update(drawer->StageRows(slots, models.first(slots.size() * config.vocab_size)));
      };
      const auto draw_all = [&] {
        failed.Update(drawer->Draw(requests, [&](const absl::StatusOr<SampledToken>& token) {
          failed.Update(token.status());
        }));
      };
      stage();
      RETURN_IF_ERROR(drawer->KeepDeltas(delta, slots));
      double draw[2];
      for (int warm = 0; warm < 2; ++warm) {
        for (auto& request : requests) request.sampling.temperature = static_cast<float>(warm);
        draw[warm] = Microseconds(runtime, 30, draw_all);
      }
      // M's rows go up while the pair runs; Draw waits for both.
      const double together = Microseconds(runtime, 30, [&] {
        step();
        stage();
        failed.Update(drawer->KeepDeltas(delta, slots));
        draw_all();
      });
      RETURN_IF_ERROR(failed);
      printf("%8d %8d %10.0f %10.0f %8.2f %12.0f %12.0f %14.0f\n", streams, context, graph, eager,
             graph / read, draw[0], draw[1], together);
      fflush(stdout);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCudaBench() {
  printf("\nPair step against reading the weights once (goal: / read at most 1.5)\n");
  for (const BenchShape& shape : kShapes) {
    RETURN_IF_ERROR(CatchTorch(absl::StrCat("benchmark of ", shape.name), [&] {
      c10::InferenceMode inference;
      return BenchModel(shape);
    }));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
