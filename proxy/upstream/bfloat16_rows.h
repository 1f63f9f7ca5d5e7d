#ifndef PROXY_UPSTREAM_BFLOAT16_ROWS_H_
#define PROXY_UPSTREAM_BFLOAT16_ROWS_H_

#include <cstddef>
#include <cstdint>

namespace unlearn {

// Many numbers at once with the processor's widest vectors, chosen at run time (Highway); each bit
// for bit as the function of one number in logits_codec.h. Bytes may begin anywhere. Both do whole
// vectors only (none on a processor without) and return how many numbers that was.

// out: 2 * count bytes, bfloat16 of in[i] - shift.
size_t Bfloat16sFromFloats(const float* in, size_t count, float shift, char* out);
// in: 2 * count bytes.
size_t FloatsFromBfloat16s(const char* in, size_t count, float* out);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_BFLOAT16_ROWS_H_
