#include "proxy/decode/decoding.h"

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::string_view DecodingName(Decoding decoding) {
  switch (decoding) {
    case Decoding::kAuto:
      return "auto";
    case Decoding::kLockstep:
      return "lockstep";
    case Decoding::kDraftAndVerify:
      return "draft-and-verify";
    case Decoding::kTopK:
      return "top-k";
    case Decoding::kStreamAndVerify:
      return "stream-and-verify";
  }
  return "unknown";
}

absl::StatusOr<Decoding> ChooseDecoding(Decoding asked, const UpstreamInfo& model) {
  const bool whole_rows = model.top == 0;
  const auto cannot = [&](absl::string_view why) {
    return absl::UnimplementedError(absl::StrCat("M's server (", model.kind,
                                                 ") cannot be used for ", DecodingName(asked), ": ",
                                                 why, "; leave the field decoding out"));
  };
  switch (asked) {
    case Decoding::kAuto:
      if (!whole_rows) return model.samples ? Decoding::kStreamAndVerify : Decoding::kTopK;
      return model.scores_drafts ? Decoding::kDraftAndVerify : Decoding::kLockstep;
    case Decoding::kLockstep:
      if (!whole_rows) return cannot("it tells its most likely tokens only");
      return asked;
    case Decoding::kDraftAndVerify:
      if (!whole_rows) return cannot("it tells its most likely tokens only");
      if (!model.scores_drafts) return cannot("it does not tell several positions at once");
      return asked;
    case Decoding::kTopK:
      if (whole_rows) return cannot("it tells whole rows");
      return asked;
    case Decoding::kStreamAndVerify:
      if (whole_rows) return cannot("it tells whole rows");
      if (!model.samples) return cannot("it draws no tokens by itself");
      return asked;
  }
  return cannot("there is no such mode");
}

}  // namespace unlearn
