#ifndef TRAINER_TRAIN_SEEDED_DRAW_H_
#define TRAINER_TRAIN_SEEDED_DRAW_H_

#include <algorithm>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

namespace unlearn {

// The standard library's shuffles differ between implementations; training has to draw the same
// everywhere.

// The whole list in a random order.
template <typename T>
void Shuffle(std::vector<T>& list, std::mt19937_64& random) {
  for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random() % i]);
}

// Up to `most` of the list, drawn without replacement.
template <typename T>
std::vector<T> DrawSome(std::vector<T> list, size_t most, std::mt19937_64& random) {
  const size_t count = std::min(list.size(), most);
  for (size_t i = 0; i < count; ++i) std::swap(list[i], list[i + random() % (list.size() - i)]);
  list.resize(count);
  return list;
}

}  // namespace unlearn

#endif  // TRAINER_TRAIN_SEEDED_DRAW_H_
