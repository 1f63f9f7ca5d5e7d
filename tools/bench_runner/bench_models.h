#ifndef TOOLS_BENCH_RUNNER_BENCH_MODELS_H_
#define TOOLS_BENCH_RUNNER_BENCH_MODELS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Shapes of models with random weights: what a step costs does not depend on what was learnt.
struct BenchModel {
  std::string name;
  ModelConfig config;
};

BenchModel DemoBase();      // the demo's pair: hidden 96, 4 layers, vocabulary 1536
BenchModel DemoModel();     // the demo's M: hidden 192, 6 layers
BenchModel TenfoldModel();  // about ten times the demo's M, same vocabulary
BenchModel MiddleBase();    // a base under a vocabulary of 32000
BenchModel LargeModel();    // about 110 million parameters, vocabulary 32000

int64_t CountParameters(const Decoder& decoder);

// "model", "parameters", "hidden", ... for a result's sizes, each name after `prefix`.
void AddSizes(const std::string& prefix, const BenchModel& model, const Decoder& decoder,
              nlohmann::ordered_json& sizes);

// Like one that was trained: B is not zero, so that the offset differs from the reference.
LoraAdapter RandomAdapter(const ModelConfig& model, int64_t rank, uint64_t seed);

// config.json and model.safetensors (bf16) of random weights; no tokenizer.
absl::Status WriteRandomModel(const std::string& folder, const ModelConfig& config, uint64_t seed);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_BENCH_MODELS_H_
