#include "offset/text/stream_decoder.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "offset/text/utf8.h"

namespace unlearn {

std::string StreamDecoder::Append(int32_t id) {
  if (!tokenizer_->Contains(id)) return absl::StrCat(Flush(), kReplacementCharacter);
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return "";
  const std::string token = tokenizer_->TokenBytes(id);
  absl::string_view bytes = token;
  while (strip_ > 0 && !bytes.empty()) {
    strip_ = bytes[0] == ' ' ? strip_ - 1 : 0;
    if (bytes[0] != ' ') break;
    bytes.remove_prefix(1);
  }
  absl::StrAppend(&pending_, bytes);
  std::string text;
  absl::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = NextUtf8(rest);
    if (step.kind == Utf8Kind::kIncomplete) break;
    absl::StrAppend(&text, step.kind == Utf8Kind::kComplete ? rest.substr(0, step.length)
                                                            : kReplacementCharacter);
    rest.remove_prefix(step.length);
  }
  pending_ = std::string(rest);
  return text;
}

std::string StreamDecoder::Flush() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace unlearn
