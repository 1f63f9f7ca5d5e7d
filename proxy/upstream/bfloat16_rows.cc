#include "proxy/upstream/bfloat16_rows.h"

// Compiles the part between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "proxy/upstream/bfloat16_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace unlearn {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// The caller does them one by one.
size_t Encode(const float*, size_t, float, char*) { return 0; }
size_t Decode(const char*, size_t, float*) { return 0; }
#else

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;
using Halves = hn::Rebind<uint16_t, Floats>;  // as many lanes
using Bytes = hn::Repartition<uint8_t, Halves>;

size_t Encode(const float* in, size_t count, float shift, char* out) {
  const Floats d;
  const Words words;
  const hn::RebindToSigned<Floats> integers;
  const auto shifts = hn::Set(d, shift);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto value = hn::Sub(hn::LoadU(d, in + i), shifts);
    const auto bits = hn::BitCast(words, value);
    const auto high = hn::ShiftRight<16>(bits);
    const auto odd = hn::And(high, hn::Set(words, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7FFF))));
    // A NaN must not round to infinity.
    const auto result = hn::IfThenElse(hn::RebindMask(words, hn::IsNaN(value)),
                                       hn::Or(high, hn::Set(words, 0x40)), rounded);
    const auto halves = hn::DemoteTo(Halves(), hn::BitCast(integers, result));
    hn::StoreU(hn::BitCast(Bytes(), halves), Bytes(), reinterpret_cast<uint8_t*>(out + 2 * i));
  }
  return i;
}

size_t Decode(const char* in, size_t count, float* out) {
  const Floats d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto bytes = hn::LoadU(Bytes(), reinterpret_cast<const uint8_t*>(in + 2 * i));
    const auto wide = hn::PromoteTo(Words(), hn::BitCast(Halves(), bytes));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(wide)), d, out + i);
  }
  return i;
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace unlearn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace unlearn {

HWY_EXPORT(Encode);
HWY_EXPORT(Decode);

size_t Bfloat16sFromFloats(const float* in, size_t count, float shift, char* out) {
  return HWY_DYNAMIC_DISPATCH(Encode)(in, count, shift, out);
}

size_t FloatsFromBfloat16s(const char* in, size_t count, float* out) {
  return HWY_DYNAMIC_DISPATCH(Decode)(in, count, out);
}

}  // namespace unlearn
#endif  // HWY_ONCE
