#include "trainer/train/step_draw.h"

#include "trainer/train/seeded_draw.h"

namespace unlearn {

namespace {

// Groups in turn, in an order that is new in each round; `place` counts on from step to step.
class Rounds {
 public:
  Rounds(size_t groups, uint64_t seed) : order_(groups), seed_(seed) {}

  size_t At(size_t place) {
    const size_t groups = order_.size();
    if (place / groups != round_) {
      round_ = place / groups;
      std::mt19937_64 random(seed_ * 7919 + round_);
      for (size_t i = 0; i < groups; ++i) order_[i] = i;
      Shuffle(order_, random);
    }
    return order_[place % groups];
  }

 private:
  std::vector<size_t> order_;
  const uint64_t seed_;
  size_t round_ = SIZE_MAX;
};

}  // namespace

StepDraw DrawStep(const TrainingSet& set, const StepSizes& sizes, uint64_t seed, int step,
                  size_t earlier) {
  StepDraw draw;
  std::mt19937_64 random(seed * 0x9E3779B97F4A7C15u + step);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const auto add_forget = [&](const std::vector<std::vector<size_t>>& groups, size_t count) {
    Rounds rounds(groups.size(), seed);
    for (size_t i = 0; i < count; ++i) {
      const std::vector<size_t>& group = groups[rounds.At(step * count + i)];
      draw.forget.push_back(&set.sequences[group[below(group.size())]]);
    }
  };
  const size_t transplanted = set.transplanted_groups.empty() ? 0 : sizes.forget / 2;
  add_forget(set.forget_groups, sizes.forget - transplanted);
  if (transplanted > 0) add_forget(set.transplanted_groups, transplanted);
  for (int i = 0; i < sizes.keep; ++i) {
    const bool general = !set.general.empty() && (set.retain.empty() || i % 2 == 1);
    const std::vector<size_t>& list = general ? set.general : set.retain;
    if (list.empty()) break;
    draw.keep.push_back(&set.sequences[list[below(list.size())]]);
  }
  for (size_t i = 0; i < earlier; ++i) draw.with_earlier.push_back(random() & 1);
  draw.bystanders.seed(random());
  return draw;
}

}  // namespace unlearn
