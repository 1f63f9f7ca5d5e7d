#include "proxy/upstream/bfloat16_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "offset/combine/hwy_targets.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

// All but less than a vector.
size_t AtLeast(size_t count) {
  const bool vectors = hwy::SupportedTargets() != HWY_SCALAR;
  return vectors && count > 64 ? count - 64 : 0;
}

class Bfloat16RowsTest : public EveryTarget {};
INSTANTIATE_EVERY_TARGET(Bfloat16RowsTest);

// Any bits: every exponent, both infinities, NaNs of all kinds.
std::vector<float> AnyFloats(size_t count) {
  std::mt19937 random(3);
  std::vector<float> values(count);
  for (float& value : values) {
    const uint32_t bits = random();
    std::memcpy(&value, &bits, sizeof(value));
  }
  const uint32_t special[] = {0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7F7FFFFF,
                              0x3F808000, 0x3F818000, 0x80000000, 0x00000001};
  for (size_t i = 0; i < std::min(count, std::size(special)); ++i) {
    std::memcpy(&values[count - 1 - i], &special[i], sizeof(float));
  }
  return values;
}

TEST_P(Bfloat16RowsTest, EncodesAsOneByOne) {
  for (const size_t count : {0, 1, 7, 64, 1003, 100000}) {
    for (const float shift : {0.0f, 2.5f}) {
      const std::vector<float> values = AnyFloats(count);
      std::vector<char> bytes(2 * count + 1);
      char* const out = bytes.data() + 1;  // at an odd place
      const size_t done = Bfloat16sFromFloats(values.data(), count, shift, out);
      ASSERT_LE(done, count);
      EXPECT_GE(done, AtLeast(count));
      for (size_t i = 0; i < done; ++i) {
        uint16_t half;
        std::memcpy(&half, out + 2 * i, sizeof(half));
        ASSERT_EQ(half, Bfloat16FromFloat(values[i] - shift)) << values[i] << " at " << i;
      }
    }
  }
}

TEST_P(Bfloat16RowsTest, DecodesAsOneByOne) {
  constexpr size_t kCount = 0x10000 + 5;
  std::vector<char> bytes(2 * kCount + 1);
  char* const in = bytes.data() + 1;
  for (size_t i = 0; i < kCount; ++i) {
    const uint16_t half = static_cast<uint16_t>(i);
    std::memcpy(in + 2 * i, &half, sizeof(half));
  }
  std::vector<float> values(kCount);
  const size_t done = FloatsFromBfloat16s(in, kCount, values.data());
  EXPECT_GE(done, AtLeast(kCount));
  for (size_t i = 0; i < done; ++i) {
    const float expected = FloatFromBfloat16(static_cast<uint16_t>(i));
    ASSERT_EQ(std::memcmp(&values[i], &expected, sizeof(float)), 0) << i;
  }
}

}  // namespace
}  // namespace unlearn
