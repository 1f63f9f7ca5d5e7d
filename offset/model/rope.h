#ifndef OFFSET_MODEL_ROPE_H_
#define OFFSET_MODEL_ROPE_H_

#include <vector>

#include "offset/model/model_config.h"

namespace unlearn {

// Rotary position embeddings: the angle of pair i at position p is p · frequency[i]. Returns
// rotary_size / 2 frequencies with the configuration's scaling applied (transformers' definitions).
std::vector<double> RopeFrequencies(const ModelConfig& config);

// Cosines and sines for every position of the context, fp32 as transformers computes them.
struct RopeTable {
  int64_t half = 0;           // rotary_size / 2
  std::vector<float> cosine;  // [positions, half]
  std::vector<float> sine;    // [positions, half]
};
RopeTable MakeRopeTable(const ModelConfig& config);

// The table of the layers with a sliding window, where they have a rope of their own; else empty.
RopeTable MakeLocalRopeTable(const ModelConfig& config);

}  // namespace unlearn

#endif  // OFFSET_MODEL_ROPE_H_
