#include "offset/model/rope.h"

#include <algorithm>
#include <cmath>

namespace unlearn {

namespace {

constexpr double kPi = 3.14159265358979323846;

// yarn (arXiv 2309.00071): dimensions that turn often keep their frequency, slow ones are stretched
// by the factor, those between are blended.
std::vector<double> YarnFrequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const int64_t size = config.rotary_size();
  // The dimension that turns `turns` times within the original context.
  const auto dimension = [&](double turns) {
    return size * std::log(scaling.original_max_position_embeddings / (turns * 2 * kPi)) /
           (2 * std::log(config.rope_theta));
  };
  double low = dimension(scaling.beta_fast);
  double high = dimension(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(size - 1));
  if (low == high) high += 0.001;
  std::vector<double> frequencies(size / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double frequency = std::pow(config.rope_theta, -2.0 * i / size);
    const double stretched = std::clamp((i - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequency / scaling.factor * stretched + frequency * (1 - stretched);
  }
  return frequencies;
}

}  // namespace

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  if (config.rope_scaling.kind == RopeScaling::Kind::kYarn) return YarnFrequencies(config);
  const int64_t size = config.rotary_size();
  std::vector<double> frequencies(size / 2);
  const RopeScaling& scaling = config.rope_scaling;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * i / size);
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
  const float scale = config.rope_scaling.kind == RopeScaling::Kind::kYarn
                          ? static_cast<float>(config.rope_scaling.attention_factor)
                          : 1.0f;
  RopeTable table;
  table.half = static_cast<int64_t>(frequencies.size());
  table.cosine.reserve(config.max_positions * table.half);
  table.sine.reserve(config.max_positions * table.half);
  for (int64_t position = 0; position < config.max_positions; ++position) {
    for (const double frequency : frequencies) {
      const float angle = static_cast<float>(position) * static_cast<float>(frequency);
      table.cosine.push_back(std::cos(angle) * scale);
      table.sine.push_back(std::sin(angle) * scale);
    }
  }
  return table;
}

RopeTable MakeLocalRopeTable(const ModelConfig& config) {
  if (config.local_rope_theta == 0) return RopeTable();
  ModelConfig local = config;
  local.rope_theta = config.local_rope_theta;
  local.rope_scaling = RopeScaling();
  return MakeRopeTable(local);
}

}  // namespace unlearn
