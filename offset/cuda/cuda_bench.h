#ifndef OFFSET_CUDA_CUDA_BENCH_H_
#define OFFSET_CUDA_CUDA_BENCH_H_

#include "absl/status/status.h"

namespace unlearn {

// Measures a decode step of pairs on the first GPU and prints a table: the step as a CUDA graph and
// without, against the time to read the weights once at the bandwidth that a copy reaches; drawing;
// the upload of M's rows beside the step. Models of random weights in the shapes of real ones.
absl::Status RunCudaBench();

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_BENCH_H_
