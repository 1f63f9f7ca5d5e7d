#include "tests/fuzz/tokenizer_checks.h"

#include "offset/text/stream_decoder.h"
#include "offset/text/utf8.h"
#include "tests/fuzz/property.h"

namespace unlearn {

std::vector<int32_t> CheckEncode(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.Encode(text);
  if (ValidUtf8Prefix(text) != text.size()) {
    Property(absl::IsInvalidArgument(ids.status()), "invalid UTF-8 is INVALID_ARGUMENT");
    return {};
  }
  if (!ids.ok()) {
    Property(absl::IsResourceExhausted(ids.status()), ids.status().ToString());
    return {};
  }
  for (const int32_t id : *ids) Property(tokenizer.Contains(id), "ids are in the vocabulary");
  const auto again = tokenizer.Encode(text);  // now from the cache of words
  Property(again.ok() && *again == *ids, "the same text has the same ids");
  return *ids;
}

std::string CheckDecode(const std::shared_ptr<const Tokenizer>& tokenizer,
                        const std::vector<int32_t>& ids) {
  std::string with_special;
  for (const bool skip_special : {true, false}) {
    const auto whole = tokenizer->Decode(ids, skip_special);
    Property(whole.ok(), whole.status().ToString());
    Property(ValidUtf8Prefix(*whole) == whole->size(), "decoded text is valid UTF-8");
    StreamDecoder decoder(tokenizer, skip_special);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string part = decoder.Append(id);
      Property(ValidUtf8Prefix(part) == part.size(), "each part of a stream is valid UTF-8");
      Property(decoder.pending_bytes() <= 3, "less than a character is held back");
      streamed += part;
    }
    streamed += decoder.Flush();
    Property(streamed == *whole, "the parts of a stream are the whole text");
    with_special = *whole;
  }
  return with_special;
}

}  // namespace unlearn
