#ifndef TRAINER_TRAIN_MODEL_ROWS_H_
#define TRAINER_TRAIN_MODEL_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "offset/model/safetensors.h"
#include "trainer/train/top_figures.h"
#include "trainer/train/top_law.h"

namespace unlearn {

// The ids that rows are about.
struct Vocabulary {
  int64_t size = 0;    // columns of a row: the pair's
  int64_t tokens = 0;  // ids that stand for something, 0 … tokens - 1
};

// What M says at the positions of one sequence, kept small: whole rows in fp16 less their maximum
// (fp16 spends its precision where the probable tokens are), or the tokens that M told with their
// log-probs in fp32.
class ModelRows {
 public:
  ModelRows() = default;
  // logits: [rows, vocab], raw.
  static ModelRows FromLogits(const at::Tensor& logits);
  static ModelRows FromTops(absl::Span<const TopLaw> laws, const Vocabulary& vocabulary);

  int64_t size() const;     // rows
  int64_t columns() const;  // ids
  // Whole rows, less their maximum: [rows, vocab] fp32.
  at::Tensor Expand() const;
  void ExpandInto(const at::Tensor& rows) const;

  // Adds how much of M's law at each row is a guess; nothing where rows are whole.
  // answer: [rows], the token that follows each.
  void Count(absl::Span<const int32_t> answer, TopFigures& figures) const;

  // As tensors of a file, their names beginning with `name`, their data this object's.
  void AddTo(const std::string& name, std::map<std::string, TensorView>& tensors) const;
  // What AddTo wrote; nothing where the file holds no such rows of this vocabulary.
  static absl::optional<ModelRows> From(const SafetensorsFile& file, const std::string& name,
                                        int64_t rows, const Vocabulary& vocabulary);

 private:
  at::Tensor whole_;  // [rows, vocab] fp16; undefined where M told tops
  // Of tops: of all rows one after another, counts_[row] entries each.
  std::vector<int32_t> ids_;
  std::vector<float> logits_;
  std::vector<int32_t> counts_;      // [rows]
  std::vector<float> other_logits_;  // [rows]
  std::vector<float> tail_masses_;   // [rows]
  Vocabulary vocabulary_;
};

// The rows of several sequences one after another: [all rows, vocab] fp32.
at::Tensor ExpandRows(const std::vector<const ModelRows*>& sequences);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_MODEL_ROWS_H_
