#include "proxy/upstream/told_row.h"

#include <cstddef>
#include <limits>

namespace unlearn {

std::vector<float> ToldRow(const TopRow& top, int64_t tokens) {
  std::vector<float> row(tokens, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < top.ids.size(); ++i) {
    row[top.ids[i]] = static_cast<float>(top.logprobs[i]);
  }
  return row;
}

}  // namespace unlearn
