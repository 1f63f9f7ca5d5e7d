#include "tools/bench_runner/bench_models.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/tensor_io.h"

namespace unlearn {
namespace {

BenchModel Shape(const std::string& name, int64_t hidden, int64_t intermediate, int64_t layers,
                 int64_t heads, int64_t kv_heads, int64_t vocabulary) {
  BenchModel model;
  model.name = name;
  model.config.hidden_size = hidden;
  model.config.intermediate_size = intermediate;
  model.config.num_layers = layers;
  model.config.num_heads = heads;
  model.config.num_kv_heads = kv_heads;
  model.config.head_dim = hidden / heads;
  model.config.vocab_size = vocabulary;
  model.config.max_positions = 256;
  model.config.tie_word_embeddings = true;
  model.config.eos_token_ids = {0};
  return model;
}

}  // namespace

BenchModel DemoBase() { return Shape("demo base", 96, 256, 4, 4, 4, 1536); }
BenchModel DemoModel() { return Shape("demo M", 192, 512, 6, 6, 3, 1536); }
BenchModel TenfoldModel() { return Shape("tenfold M", 512, 1408, 9, 8, 4, 1536); }
BenchModel MiddleBase() { return Shape("middle base", 256, 704, 4, 4, 4, 32000); }
BenchModel LargeModel() { return Shape("large", 768, 2048, 12, 12, 12, 32000); }

int64_t CountParameters(const Decoder& decoder) {
  int64_t count = 0;
  for (const at::Tensor& tensor : decoder.Parameters()) count += tensor.numel();
  return count;
}

void AddSizes(const std::string& prefix, const BenchModel& model, const Decoder& decoder,
              nlohmann::ordered_json& sizes) {
  sizes[absl::StrCat(prefix, "model")] = model.name;
  sizes[absl::StrCat(prefix, "parameters")] = CountParameters(decoder);
  sizes[absl::StrCat(prefix, "hidden")] = model.config.hidden_size;
  sizes[absl::StrCat(prefix, "layers")] = model.config.num_layers;
  sizes[absl::StrCat(prefix, "intermediate")] = model.config.intermediate_size;
  sizes[absl::StrCat(prefix, "vocab")] = model.config.vocab_size;
}

LoraAdapter RandomAdapter(const ModelConfig& model, int64_t rank, uint64_t seed) {
  LoraAdapter adapter = LoraAdapter::Init(model, {rank, 2.0 * rank}, seed);
  at::Generator generator = at::detail::createCPUGenerator(seed + 1);
  for (auto& [name, tensor] : adapter.tensors()) {
    if (!absl::StrContains(name, ".lora_B.")) continue;
    tensor = at::randn(tensor.sizes(), generator, tensor.options()) * 0.01;
  }
  return adapter;
}

absl::Status WriteRandomModel(const std::string& folder, const ModelConfig& config, uint64_t seed) {
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(folder, "config.json"), ModelConfigToJson(config, "bfloat16")));
  return WriteFileAtomically(JoinPath(folder, "model.safetensors"),
                             SerializeTensors(Decoder::Init(config, seed)->NamedWeights(),
                                              at::kBFloat16, {{"format", "pt"}}));
}

}  // namespace unlearn
