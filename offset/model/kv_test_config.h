#ifndef OFFSET_MODEL_KV_TEST_CONFIG_H_
#define OFFSET_MODEL_KV_TEST_CONFIG_H_

#include "offset/model/model_config.h"

namespace unlearn {

// What a cache of keys and values asks of a model, small. For tests only.
inline ModelConfig KvTestConfig() {
  ModelConfig config;
  config.num_layers = 3;
  config.num_kv_heads = 2;
  config.head_dim = 4;
  return config;
}

}  // namespace unlearn

#endif  // OFFSET_MODEL_KV_TEST_CONFIG_H_
