#include "proxy/upstream/step_answer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpc/slice.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"
#include "proxy/upstream/logits_codec.h"

namespace unlearn {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t Tag(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}
constexpr uint32_t kLengthTag =
    Tag(v1::StepResponse::kLengthFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kRowsTag =
    Tag(v1::StepResponse::kRowsFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kEncodingTag =
    Tag(v1::StepResponse::kEncodingFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kLogitsTag =
    Tag(v1::StepResponse::kLogitsFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

// Decodes `count` numbers, which the stream may hold in pieces of any length. False: it ended.
bool DecodeNumbers(CodedInputStream& in, size_t count, v1::LogitsEncoding encoding, float* out) {
  const size_t size = EncodedSize(encoding);
  char split[sizeof(float)];  // the beginning of a number that goes on in the next piece
  size_t held = 0;
  while (count > 0) {
    const void* data = nullptr;
    int available = 0;
    if (!in.GetDirectBufferPointer(&data, &available)) return false;
    const char* piece = static_cast<const char*>(data);
    size_t left = std::min<size_t>(available, count * size - held);
    if (!in.Skip(static_cast<int>(left))) return false;
    if (held > 0) {
      const size_t rest = std::min(left, size - held);
      std::memcpy(split + held, piece, rest);
      held += rest;
      piece += rest;
      left -= rest;
      if (held < size) continue;
      Decode(split, 1, encoding, out++);
      --count;
      held = 0;
    }
    const size_t whole = left / size;
    Decode(piece, whole, encoding, out);
    out += whole;
    count -= whole;
    held = left - whole * size;
    std::memcpy(split, piece + whole * size, held);
  }
  return true;
}

// What is read field by field.
struct Reading {
  size_t count;  // logits that are expected
  v1::LogitsEncoding encoding;
  size_t start;  // where they go in `out`
  std::vector<float>* out;
  size_t received = 0;  // bytes of logits
  StepAnswer answer;
};

bool ReadField(CodedInputStream& in, uint32_t tag, Reading& reading) {
  if (tag == kLogitsTag) {
    uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > std::numeric_limits<int>::max()) return false;
    const bool expected = size == reading.count * EncodedSize(reading.encoding);
    reading.received = size;  // as protobuf has it, the last one counts
    reading.out->resize(reading.start + (expected ? reading.count : 0));
    return expected ? DecodeNumbers(in, reading.count, reading.encoding,
                                    reading.out->data() + reading.start)
                    : in.Skip(static_cast<int>(size));
  }
  if (tag != kLengthTag && tag != kRowsTag && tag != kEncodingTag) {
    return WireFormatLite::SkipField(&in, tag);
  }
  uint64_t value = 0;
  if (!in.ReadVarint64(&value)) return false;
  StepAnswer& answer = reading.answer;
  if (tag == kLengthTag) answer.length = static_cast<int32_t>(value);
  if (tag == kRowsTag) answer.rows = static_cast<int32_t>(value);
  if (tag == kEncodingTag) answer.encoding = static_cast<v1::LogitsEncoding>(value);
  return true;
}

bool ReadFields(grpc::ByteBuffer& message, Reading& reading) {
  grpc::ProtoBufferReader reader(&message);
  if (!reader.status().ok()) return false;
  CodedInputStream in(&reader);
  while (const uint32_t tag = in.ReadTag()) {
    if (!ReadField(in, tag, reading)) return false;
  }
  return in.ConsumedEntireMessage();
}

}  // namespace

grpc::ByteBuffer WriteStepAnswer(const v1::StepResponse& response, absl::Span<const float> rows) {
  std::string header = response.SerializeAsString();
  if (rows.empty()) {
    const grpc::Slice slice(header);
    return grpc::ByteBuffer(&slice, 1);
  }
  const v1::LogitsEncoding encoding = response.encoding();
  const size_t bytes = rows.size() * EncodedSize(encoding);
  {
    google::protobuf::io::StringOutputStream stream(&header);
    CodedOutputStream out(&stream);
    out.WriteTag(kLogitsTag);
    out.WriteVarint64(bytes);
  }
  grpc_slice logits = grpc_slice_malloc(bytes);
  char* target = reinterpret_cast<char*>(GRPC_SLICE_START_PTR(logits));
  const size_t vocab = rows.size() / response.rows();
  for (int32_t i = 0; i < response.rows(); ++i) {
    const absl::Span<const float> row = rows.subspan(i * vocab, vocab);
    Encode(row, EncodingShift(row, encoding), encoding, target);
    target += vocab * EncodedSize(encoding);
  }
  const grpc::Slice slices[] = {grpc::Slice(header), grpc::Slice(logits, grpc::Slice::STEAL_REF)};
  return grpc::ByteBuffer(slices, 2);
}

absl::StatusOr<StepAnswer> ReadStepAnswer(grpc::ByteBuffer& message, size_t count,
                                          v1::LogitsEncoding encoding, std::vector<float>* out) {
  Reading reading{count, encoding, out->size(), out};
  if (!ReadFields(message, reading)) {
    out->resize(reading.start);
    return absl::InvalidArgumentError("bytes that are no StepResponse");
  }
  if (reading.received != count * EncodedSize(encoding)) {
    reading.answer.logits = absl::InvalidArgumentError(
        absl::StrCat(reading.received, " bytes of logits where ", count, " numbers of ",
                     EncodedSize(encoding), " bytes were expected"));
  }
  return std::move(reading.answer);
}

}  // namespace unlearn
