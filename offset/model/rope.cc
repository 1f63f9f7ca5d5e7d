#include "offset/model/rope.h"

#include <cmath>

namespace unlearn {

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  constexpr double kPi = 3.14159265358979323846;
  std::vector<double> frequencies(config.head_dim / 2);
  const RopeScaling& scaling = config.rope_scaling;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * i / config.head_dim);
    if (scaling.kind == RopeScaling::Kind::kLinear) {
      frequency /= scaling.factor;
    } else if (scaling.kind == RopeScaling::Kind::kLlama3) {
      // Long wavelengths are stretched by `factor`, short ones kept, those between blended.
      const double context = scaling.original_max_position_embeddings;
      const double wavelength = 2 * kPi / frequency;
      if (wavelength > context / scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (wavelength >= context / scaling.high_freq_factor) {
        const double smooth = (context / wavelength - scaling.low_freq_factor) /
                              (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
      }
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTable MakeRopeTable(const ModelConfig& config) {
  const std::vector<double> frequencies = RopeFrequencies(config);
  RopeTable table;
  table.half = static_cast<int64_t>(frequencies.size());
  table.cosine.reserve(config.max_positions * table.half);
  table.sine.reserve(config.max_positions * table.half);
  for (int64_t position = 0; position < config.max_positions; ++position) {
    for (const double frequency : frequencies) {
      const float angle = static_cast<float>(position) * static_cast<float>(frequency);
      table.cosine.push_back(std::cos(angle));
      table.sine.push_back(std::sin(angle));
    }
  }
  return table;
}

}  // namespace unlearn
