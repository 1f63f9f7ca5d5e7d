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
  CheckTokenizer(*tokenizer);
  return 0;
}
