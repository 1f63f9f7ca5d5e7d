#ifndef TRAINER_TRAIN_TOP_FIGURES_H_
#define TRAINER_TRAIN_TOP_FIGURES_H_

#include <algorithm>
#include <cstdint>

namespace unlearn {

// How much of M's law was not told, over many positions where M told its most likely tokens only.
// Goes into the scores of a version: what was judged with a guess says so.
struct TopFigures {
  int64_t positions = 0;
  double mass = 0;       // of the tokens not told, at most: the sum over positions
  double most_mass = 0;  // and the largest
  // Training: answer tokens that M did not tell. Decoding: tokens that what M told did not settle.
  int64_t untold = 0;

  void Add(double tail_mass, bool is_untold) {
    ++positions;
    mass += tail_mass;
    most_mass = std::max(most_mass, tail_mass);
    untold += is_untold ? 1 : 0;
  }
  double mean_mass() const { return positions == 0 ? 0 : mass / static_cast<double>(positions); }
  double untold_share() const {
    return positions == 0 ? 0 : static_cast<double>(untold) / static_cast<double>(positions);
  }
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TOP_FIGURES_H_
