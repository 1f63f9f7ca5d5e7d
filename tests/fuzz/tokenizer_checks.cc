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

void CheckTokenizer(const std::shared_ptr<const Tokenizer>& tokenizer,
                    const std::vector<std::string>& texts) {
  for (const char* text : {"", " ", "Hello  world 12345", "e\u0301 \u00E9\u2581<s>\n\n\t ab"}) {
    CheckDecode(tokenizer, CheckEncode(*tokenizer, text));
  }
  for (const std::string& text : texts) CheckDecode(tokenizer, CheckEncode(*tokenizer, text));
  std::vector<int32_t> all;
  for (int32_t id = 0; id < tokenizer->vocab_size() && all.size() < 512; ++id) {
    if (tokenizer->Contains(id)) all.push_back(id);
  }
  CheckDecode(tokenizer, all);
  // With the template around it: its ids were checked when the file was read.
  const auto wrapped = tokenizer->Encode("a", /*add_special_tokens=*/true);
  if (wrapped.ok()) CheckDecode(tokenizer, *wrapped);
}

}  // namespace unlearn
