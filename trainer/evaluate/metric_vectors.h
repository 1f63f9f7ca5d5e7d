#ifndef TRAINER_EVALUATE_METRIC_VECTORS_H_
#define TRAINER_EVALUATE_METRIC_VECTORS_H_

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "offset/base/file.h"

namespace unlearn {

// One list of tests/golden/metric_vectors.json; an empty list, and a failed test, when it cannot be
// read. Tests only. A path from the workspace's root: that is where Bazel runs tests.
inline nlohmann::json MetricVectors(const std::string& list) {
  const absl::StatusOr<std::string> text = ReadFile("tests/golden/metric_vectors.json");
  if (!text.ok()) {
    ADD_FAILURE() << text.status();
    return nlohmann::json::array();
  }
  nlohmann::json vectors = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!vectors.is_object() || !vectors.contains(list) || vectors[list].empty()) {
    ADD_FAILURE() << "tests/golden/metric_vectors.json has no list " << list;
    return nlohmann::json::array();
  }
  return vectors[list];
}

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_METRIC_VECTORS_H_
