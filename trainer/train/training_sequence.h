#ifndef TRAINER_TRAIN_TRAINING_SEQUENCE_H_
#define TRAINER_TRAIN_TRAINING_SEQUENCE_H_

#include <ATen/core/Tensor.h>

#include "trainer/train/encoded_item.h"
#include "trainer/train/model_rows.h"

namespace unlearn {

// One sequence of the training set with what of M and the reference training needs. M's logits on
// it never change, so M is asked once; the reference is frozen, so it runs once.
struct TrainingSequence {
  EncodedItem item;
  // What M says where each answer token is predicted: [answer tokens].
  ModelRows model;
  // The reference's last hidden state at the same places, fp32: [answer tokens, hidden].
  at::Tensor reference_hidden;
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TRAINING_SEQUENCE_H_
