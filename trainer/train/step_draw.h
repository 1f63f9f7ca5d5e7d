#ifndef TRAINER_TRAIN_STEP_DRAW_H_
#define TRAINER_TRAIN_STEP_DRAW_H_

#include <cstdint>
#include <random>
#include <vector>

#include "trainer/train/training_sequence.h"
#include "trainer/train/training_set.h"

namespace unlearn {

// What one training step trains on.
struct StepDraw {
  std::vector<const TrainingSequence*> forget;
  std::vector<const TrainingSequence*> keep;
  // Which of the frozen earlier adapters take part: each is dropped with probability 1/2, so that
  // the new one holds with and without them.
  std::vector<bool> with_earlier;
  std::mt19937_64 bystanders;  // seeds the made-up people of this step
};

struct StepSizes {
  int forget = 0;
  int keep = 0;
};

// A function of (set, sizes, seed, step) alone, so that a resumed run draws what an uninterrupted
// one would. Forget groups come in turn, in an order that is new in each round: none is left out by
// chance; up to half of them are transplanted ones. Kept sequences are half the request's and half
// the operator's, where both exist.
StepDraw DrawStep(const TrainingSet& set, const StepSizes& sizes, uint64_t seed, int step,
                  size_t earlier);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_STEP_DRAW_H_
