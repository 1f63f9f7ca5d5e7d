// config.json: what is accepted is sound, gives finite rotary frequencies, and means the same when
// it is written and read again.

#include <cmath>
#include <cstdint>
#include <string>

#include "offset/model/model_config.h"
#include "offset/model/rope.h"
#include "tests/fuzz/property.h"

namespace unlearn {
namespace {

void CheckConfig(absl::string_view json) {
  const auto config = ParseModelConfig(json, "fuzz");
  if (!config.ok()) {
    Property(absl::IsInvalidArgument(config.status()) || absl::IsUnimplemented(config.status()),
             config.status().ToString());
    return;
  }
  Property(config->vocab_size > 0 && config->hidden_size > 0 && config->num_layers > 0 &&
               config->max_positions > 0,
           "sizes are positive");
  Property(config->num_heads % config->num_kv_heads == 0, "heads are shared evenly");
  Property(config->rotary_size() >= 2 && config->rotary_size() % 2 == 0 &&
               config->rotary_size() <= config->head_dim,
           "rotary_size is even and within the head");
  Property(std::isfinite(config->AttentionScale()) && config->AttentionScale() > 0,
           "the attention scale is a number");
  Property(config->norm_eps > 0 && config->rope_theta > 0, "positive numbers");
  for (int64_t i = 0; i < config->num_layers; ++i) {
    Property(config->WindowOf(i) >= 0, "a window is not negative");
  }
  for (const int32_t id : config->eos_token_ids) {
    Property(id >= 0 && id < config->vocab_size, "token ids are in the vocabulary");
  }
  for (const double frequency : RopeFrequencies(*config)) {
    Property(std::isfinite(frequency), "rotary frequencies are numbers");
  }
  Property(std::isfinite(config->rope_scaling.attention_factor), "rotary scale is a number");
  const std::string written = ModelConfigToJson(*config, "float32");
  const auto again = ParseModelConfig(written, "written");
  Property(again.ok(), again.status().ToString() + written);
  Property(ModelConfigToJson(*again, "float32") == written, "the same when read again");
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  unlearn::CheckConfig(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
