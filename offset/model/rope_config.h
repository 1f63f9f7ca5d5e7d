#ifndef OFFSET_MODEL_ROPE_CONFIG_H_
#define OFFSET_MODEL_ROPE_CONFIG_H_

#include "absl/status/status.h"
#include "offset/model/config_reader.h"
#include "offset/model/model_config.h"

namespace unlearn {

// The part of config.json about rotary positions, in both spellings (rope_theta + rope_scaling, or
// rope_parameters). head_dim and max_positions of `config` are read already.
absl::Status ReadRopeConfig(ConfigReader& reader, ModelConfig& config);

// The object `rope_parameters` that reads back as the same.
ConfigReader::Json RopeConfigToJson(const ModelConfig& config);

}  // namespace unlearn

#endif  // OFFSET_MODEL_ROPE_CONFIG_H_
