#ifndef TESTS_FUZZ_FUZZ_KEY_H_
#define TESTS_FUZZ_FUZZ_KEY_H_

#include "offset/store/seal.h"

namespace unlearn {

// The store's key in the fuzzers: always the same, so that a finding is one in the next run too.
// It lies in FuzzFolder(), under the name "key".
const SealingKey& FuzzKey();

}  // namespace unlearn

#endif  // TESTS_FUZZ_FUZZ_KEY_H_
