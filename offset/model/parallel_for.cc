#include "offset/model/parallel_for.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "compile this file with -fopenmp: without it all work is done by one thread"
#endif

namespace unlearn {

void ParallelFor(int64_t begin, int64_t end, int64_t grain,
                 absl::FunctionRef<void(int64_t, int64_t)> part) {
  at::parallel_for(begin, end, grain, part);
}

}  // namespace unlearn
