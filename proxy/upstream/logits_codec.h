#ifndef PROXY_UPSTREAM_LOGITS_CODEC_H_
#define PROXY_UPSTREAM_LOGITS_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "unlearn/v1/upstream.pb.h"

namespace unlearn {

// IEEE 754 binary16 and bfloat16, rounded to nearest even. NaN stays NaN; what is too large for
// binary16 (65520 and more) becomes infinity.
uint16_t HalfFromFloat(float value);
float FloatFromHalf(uint16_t half);
uint16_t Bfloat16FromFloat(float value);
float FloatFromBfloat16(uint16_t bits);

// Bytes of one number: 4 or 2.
size_t EncodedSize(v1::LogitsEncoding encoding);

// What a row's numbers are lowered by before they are encoded: its maximum for FP16 (unless that
// is infinite or no number), 0 for the others.
float EncodingShift(absl::Span<const float> row, v1::LogitsEncoding encoding);

// Writes value - shift for each value, little-endian, to EncodedSize bytes each; UNSPECIFIED counts
// as FP32. `out` may begin anywhere.
void Encode(absl::Span<const float> values, float shift, v1::LogitsEncoding encoding, char* out);

// Reads `count` numbers that Encode wrote; the shift stays subtracted. `bytes` may begin anywhere.
void Decode(const char* bytes, size_t count, v1::LogitsEncoding encoding, float* out);

// Appends value - shift for each value, little-endian. UNSPECIFIED counts as FP32.
void AppendEncoded(absl::Span<const float> values, float shift, v1::LogitsEncoding encoding,
                   std::string* out);

// Appends what AppendEncoded wrote; the shift stays subtracted. INVALID_ARGUMENT unless the bytes
// are `count` numbers.
absl::Status AppendDecoded(absl::string_view bytes, size_t count, v1::LogitsEncoding encoding,
                           std::vector<float>* out);

// "fp32", "fp16" or "bf16". INVALID_ARGUMENT names `flag` and lists them.
absl::StatusOr<v1::LogitsEncoding> ParseEncoding(absl::string_view name, absl::string_view flag);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_LOGITS_CODEC_H_
