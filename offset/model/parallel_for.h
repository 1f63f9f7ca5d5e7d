#ifndef OFFSET_MODEL_PARALLEL_FOR_H_
#define OFFSET_MODEL_PARALLEL_FOR_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace unlearn {

// Runs part(b, e) on pieces [b, e) that make up [begin, end), each of `grain` or more, on the
// threads that LibTorch's own operations run on; returns when all are done. Inside such a part it
// runs on the caller's thread alone.
//
// at::parallel_for is a template that runs serially, without a word, in a file that is compiled
// without -fopenmp: call it here only, where the flag is.
void ParallelFor(int64_t begin, int64_t end, int64_t grain,
                 absl::FunctionRef<void(int64_t, int64_t)> part);

}  // namespace unlearn

#endif  // OFFSET_MODEL_PARALLEL_FOR_H_
