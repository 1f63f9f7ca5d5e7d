#include "offset/model/checkpoint.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

absl::StatusOr<std::vector<std::string>> ShardNames(const std::string& folder) {
  if (FileExists(JoinPath(folder, "model.safetensors"))) {
    return std::vector<std::string>{"model.safetensors"};
  }
  const std::string path = JoinPath(folder, "model.safetensors.index.json");
  if (!FileExists(path)) {
    return absl::NotFoundError(
        absl::StrCat(folder, ": holds neither model.safetensors nor model.safetensors.index.json"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object() || !json.contains("weight_map") ||
      !json["weight_map"].is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": $.weight_map is missing"));
  }
  std::set<std::string> names;
  for (const auto& item : json["weight_map"].items()) {
    if (!item.value().is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": $.weight_map.", item.key(), " is not a file name"));
    }
    const std::string name = item.value().get<std::string>();
    if (absl::StrContains(name, "/")) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": $.weight_map.", item.key(), ": ", name, " leaves the folder"));
    }
    names.insert(name);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

// `text` is JSON that was parsed before.
std::vector<std::string> ReadTrainingData(const std::string& text) {
  std::vector<std::string> names;
  const nlohmann::json json = nlohmann::json::parse(text);
  const auto field = json.find("unlearn_training_data");
  if (field == json.end()) return names;
  for (const nlohmann::json& name : field->is_array() ? *field : nlohmann::json::array({*field})) {
    names.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  }
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& folder) {
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint);
  checkpoint->folder_ = folder;
  const std::string config_path = JoinPath(folder, "config.json");
  ASSIGN_OR_RETURN(const std::string config_text, ReadFile(config_path));
  ASSIGN_OR_RETURN(checkpoint->config_, ParseModelConfig(config_text, config_path));
  checkpoint->training_data_ = ReadTrainingData(config_text);
  ASSIGN_OR_RETURN(const std::vector<std::string> shards, ShardNames(folder));
  for (const std::string& shard : shards) {
    ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(JoinPath(folder, shard)));
    for (const auto& [name, view] : file->tensors()) {
      if (!checkpoint->tensors_.emplace(name, view).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(file->path(), ": ", name, " stands in another shard too"));
      }
    }
    checkpoint->files_.push_back(std::move(file));
  }
  return checkpoint;
}

bool Checkpoint::is_bf16() const {
  return std::all_of(tensors_.begin(), tensors_.end(), [](const auto& item) {
    return item.second.shape.size() < 2 || item.second.dtype == "BF16";
  });
}

std::string Checkpoint::tokenizer_path() const {
  const std::string json = JoinPath(folder_, "tokenizer.json");
  const std::string sentencepiece = JoinPath(folder_, "tokenizer.model");
  return !FileExists(json) && FileExists(sentencepiece) ? sentencepiece : json;
}

absl::StatusOr<TensorView> Checkpoint::Find(const std::string& name,
                                            const std::vector<int64_t>& expected_shape) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    return absl::NotFoundError(absl::StrCat(folder_, ": the weights lack ", name));
  }
  if (it->second.shape != expected_shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder_, ": ", name, " has shape [", absl::StrJoin(it->second.shape, ", "),
                     "] where config.json asks for [", absl::StrJoin(expected_shape, ", "), "]"));
  }
  return it->second;
}

std::string Checkpoint::Fingerprint() const {
  Sha256 hash;
  hash.Update(ModelConfigToJson(config_, ""));
  for (const auto& [name, view] : tensors_) {
    hash.Update(
        absl::StrCat("\n", name, " ", view.dtype, " ", absl::StrJoin(view.shape, ","), "\n"));
    hash.Update(absl::string_view(view.data, view.bytes));
  }
  return hash.HexDigest();
}

}  // namespace unlearn
