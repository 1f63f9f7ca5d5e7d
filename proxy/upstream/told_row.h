#ifndef PROXY_UPSTREAM_TOLD_ROW_H_
#define PROXY_UPSTREAM_TOLD_ROW_H_

#include <cstdint>
#include <vector>

#include "proxy/upstream/upstream.h"

namespace unlearn {

// M's row if it told all: log-probs of what it told, -inf for all others. [tokens]; the ids are
// below `tokens`.
std::vector<float> ToldRow(const TopRow& top, int64_t tokens);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_TOLD_ROW_H_
