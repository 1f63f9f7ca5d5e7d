#ifndef OFFSET_MODEL_CHECKPOINT_H_
#define OFFSET_MODEL_CHECKPOINT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/model_config.h"
#include "offset/model/safetensors.h"

namespace unlearn {

// An HF model folder: config.json and model.safetensors, or the shards that
// model.safetensors.index.json names. Weights stay mapped until the object dies.
class Checkpoint {
 public:
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& folder);

  const ModelConfig& config() const { return config_; }
  const std::string& folder() const { return folder_; }
  // Whether every matrix lies in the files as bf16, so that holding them so loses nothing.
  bool is_bf16() const;
  // tokenizer.json, or tokenizer.model where only that is there.
  std::string tokenizer_path() const;
  // What the folder says that the model has seen ("unlearn_training_data"); empty: it does not say.
  const std::vector<std::string>& training_data() const { return training_data_; }

  // NOT_FOUND names the folder and the tensor; INVALID_ARGUMENT when the shape is another.
  absl::StatusOr<TensorView> Find(const std::string& name,
                                  const std::vector<int64_t>& expected_shape) const;
  bool Has(const std::string& name) const { return tensors_.count(name) > 0; }

  // Hex SHA-256 over the config and every tensor's name, dtype, shape and bytes: the same function
  // has the same fingerprint, however it is sharded.
  std::string Fingerprint() const;

 private:
  Checkpoint() = default;
  std::string folder_;
  ModelConfig config_;
  std::vector<std::string> training_data_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_CHECKPOINT_H_
