#ifndef PROXY_DECODE_DECODING_H_
#define PROXY_DECODE_DECODING_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// How a stream's tokens come about; see Decoding in generation.proto.
enum class Decoding { kAuto, kLockstep, kDraftAndVerify, kTopK, kStreamAndVerify };

// As requests and flags spell it: "auto", "lockstep", "draft-and-verify", ...
absl::string_view DecodingName(Decoding decoding);

// What `asked` means in front of this M; never kAuto. UNIMPLEMENTED where M cannot do it.
absl::StatusOr<Decoding> ChooseDecoding(Decoding asked, const UpstreamInfo& model);

}  // namespace unlearn

#endif  // PROXY_DECODE_DECODING_H_
