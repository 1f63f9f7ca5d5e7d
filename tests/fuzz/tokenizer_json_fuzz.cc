// tokenizer.json: what is accepted can encode and decode.

#include <cstdint>
#include <memory>
#include <string>

#include "offset/text/tokenizer.h"
#include "tests/fuzz/property.h"
#include "tests/fuzz/tokenizer_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unlearn;
  const auto tokenizer =
      Tokenizer::FromJson(absl::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!tokenizer.ok()) {
    Property(absl::IsInvalidArgument(tokenizer.status()) ||
                 absl::IsUnimplemented(tokenizer.status()) ||
                 absl::IsResourceExhausted(tokenizer.status()),
             tokenizer.status().ToString());
    return 0;
  }
  for (const char* text : {"", " ", "Hello  world 12345", "e\u0301 \u00E9\u2581<s>\n\n\t ab"}) {
    CheckDecode(*tokenizer, CheckEncode(**tokenizer, text));
  }
  std::vector<int32_t> all;
  for (int32_t id = 0; id < (*tokenizer)->vocab_size() && all.size() < 512; ++id) {
    if ((*tokenizer)->Contains(id)) all.push_back(id);
  }
  CheckDecode(*tokenizer, all);
  // With the template around it: its ids were checked when the file was read.
  const auto wrapped = (*tokenizer)->Encode("a", /*add_special_tokens=*/true);
  if (wrapped.ok()) CheckDecode(*tokenizer, *wrapped);
  return 0;
}
