#include "proxy/upstream/logits_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proxy/upstream/bfloat16_rows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire format is little-endian");

namespace unlearn {
namespace {

template <typename To, typename From>
To BitCast(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof(result));
  return result;
}

#if defined(__x86_64__)
bool HasF16c() {
  static const bool has = __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");
  return has;
}

// The processor's own conversion, eight at a time; both return how many values they did.
__attribute__((target("avx,f16c"))) size_t HalvesFromFloats(const float* in, size_t count,
                                                            float shift, char* out) {
  const __m256 shifts = _mm256_set1_ps(shift);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 shifted = _mm256_sub_ps(_mm256_loadu_ps(in + i), shifts);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i),
                     _mm256_cvtps_ph(shifted, _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}

__attribute__((target("avx,f16c"))) size_t FloatsFromHalves(const char* in, size_t count,
                                                            float* out) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 2 * i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(halves));
  }
  return i;
}
#endif

}  // namespace

uint16_t HalfFromFloat(float value) {
  const uint32_t bits = BitCast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;   // NaN
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // rounds past 65504
  if (magnitude < 0x38800000) {
    // Below 2^-14 steps are 2^-24 wide, as floats' are from 0.5 on: the addition rounds.
    return sign | (BitCast<uint32_t>(BitCast<float>(magnitude) + 0.5f) - 0x3F000000);
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return sign | ((rounded - 0x38000000) >> 13);
}

float FloatFromHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1F;
  const uint32_t fraction = half & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return BitCast<float>(sign | BitCast<uint32_t>(magnitude));
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return BitCast<float>(sign | (wide << 23) | (fraction << 13));
}

uint16_t Bfloat16FromFloat(float value) {
  const uint32_t bits = BitCast<uint32_t>(value);
  // A NaN must not round to infinity.
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return (bits >> 16) | 0x0040;
  return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
}

float FloatFromBfloat16(uint16_t bits) { return BitCast<float>(static_cast<uint32_t>(bits) << 16); }

size_t EncodedSize(v1::LogitsEncoding encoding) {
  return encoding == v1::LOGITS_ENCODING_FP16 || encoding == v1::LOGITS_ENCODING_BF16 ? 2 : 4;
}

float EncodingShift(absl::Span<const float> row, v1::LogitsEncoding encoding) {
  if (encoding != v1::LOGITS_ENCODING_FP16 || row.empty()) return 0;
  const float maximum = *std::max_element(row.begin(), row.end());
  return std::isfinite(maximum) ? maximum : 0;
}

void Encode(absl::Span<const float> values, float shift, v1::LogitsEncoding encoding, char* out) {
  const size_t count = values.size();
  if (encoding == v1::LOGITS_ENCODING_FP16) {
    size_t i = 0;
#if defined(__x86_64__)
    if (HasF16c()) i = HalvesFromFloats(values.data(), count, shift, out);
#endif
    for (; i < count; ++i) {
      const uint16_t half = HalfFromFloat(values[i] - shift);
      std::memcpy(out + 2 * i, &half, sizeof(half));
    }
  } else if (encoding == v1::LOGITS_ENCODING_BF16) {
    for (size_t i = Bfloat16sFromFloats(values.data(), count, shift, out); i < count; ++i) {
      const uint16_t bits = Bfloat16FromFloat(values[i] - shift);
      std::memcpy(out + 2 * i, &bits, sizeof(bits));
    }
  } else if (shift == 0) {
    if (count > 0) std::memcpy(out, values.data(), count * sizeof(float));
  } else {
    for (size_t i = 0; i < count; ++i) {
      const float shifted = values[i] - shift;
      std::memcpy(out + 4 * i, &shifted, sizeof(shifted));
    }
  }
}

void Decode(const char* bytes, size_t count, v1::LogitsEncoding encoding, float* out) {
  if (encoding == v1::LOGITS_ENCODING_FP16) {
    size_t i = 0;
#if defined(__x86_64__)
    if (HasF16c()) i = FloatsFromHalves(bytes, count, out);
#endif
    for (; i < count; ++i) {
      uint16_t half;
      std::memcpy(&half, bytes + 2 * i, sizeof(half));
      out[i] = FloatFromHalf(half);
    }
  } else if (encoding == v1::LOGITS_ENCODING_BF16) {
    for (size_t i = FloatsFromBfloat16s(bytes, count, out); i < count; ++i) {
      uint16_t bits;
      std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
      out[i] = FloatFromBfloat16(bits);
    }
  } else if (count > 0) {
    std::memcpy(out, bytes, count * sizeof(float));
  }
}

void AppendEncoded(absl::Span<const float> values, float shift, v1::LogitsEncoding encoding,
                   std::string* out) {
  const size_t start = out->size();
  out->resize(start + values.size() * EncodedSize(encoding));
  Encode(values, shift, encoding, out->data() + start);
}

absl::Status AppendDecoded(absl::string_view bytes, size_t count, v1::LogitsEncoding encoding,
                           std::vector<float>* out) {
  const size_t size = EncodedSize(encoding);
  if (bytes.size() != count * size) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes of logits where ", count,
                                                   " numbers of ", size, " bytes were expected"));
  }
  const size_t start = out->size();
  out->resize(start + count);
  Decode(bytes.data(), count, encoding, out->data() + start);
  return absl::OkStatus();
}

absl::StatusOr<v1::LogitsEncoding> ParseEncoding(absl::string_view name, absl::string_view flag) {
  if (name == "fp32") return v1::LOGITS_ENCODING_FP32;
  if (name == "fp16") return v1::LOGITS_ENCODING_FP16;
  if (name == "bf16") return v1::LOGITS_ENCODING_BF16;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", name, " is no encoding of logits; use fp32, fp16 or bf16"));
}

}  // namespace unlearn
