// Any bytes as a text, and as token ids, through the golden tokenizers. The first byte chooses the
// tokenizer; the text that follows ends with the first byte 0xFF, which no UTF-8 holds, and what
// stands behind is ids.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "offset/text/tokenizer.h"
#include "offset/text/utf8.h"
#include "tests/fuzz/property.h"
#include "tests/fuzz/tokenizer_checks.h"

namespace unlearn {
namespace {

// What comes back when a text is encoded and decoded.
enum class RoundTrip {
  kSame,         // the text itself
  kNormalized,   // the text's NFC: of ASCII the text itself, and a second time the same
  kNoMetaspace,  // the text itself, unless it holds the sign for a space or an added token
  kFirstSpace,   // the same, but that a space at its start is taken for the one that is put there
  kLossy,        // spaces are added, or characters lost
};

struct Golden {
  const char* name;
  RoundTrip round_trip;
  std::shared_ptr<const Tokenizer> tokenizer;
};

const std::vector<Golden>& Goldens() {
  static const auto* const goldens = [] {
    auto* list = new std::vector<Golden>{
        {"gpt2", RoundTrip::kSame, nullptr},          {"llama3", RoundTrip::kSame, nullptr},
        {"qwen2", RoundTrip::kNormalized, nullptr},   {"gpt2_prefix", RoundTrip::kLossy, nullptr},
        {"llama2", RoundTrip::kNoMetaspace, nullptr}, {"mistral", RoundTrip::kFirstSpace, nullptr},
        {"gemma", RoundTrip::kNoMetaspace, nullptr},  {"words_unknown", RoundTrip::kLossy, nullptr},
    };
    for (Golden& golden : *list) {
      const std::string path = absl::StrCat("tests/golden/tokenizer_", golden.name, ".json");
      auto tokenizer = Tokenizer::Load(path);
      if (!tokenizer.ok()) {
        std::fprintf(stderr, "run this in the root of the checkout: %s\n",
                     tokenizer.status().ToString().c_str());
        std::exit(1);
      }
      golden.tokenizer = *std::move(tokenizer);
    }
    return list;
  }();
  return *goldens;
}

void CheckRoundTrip(const Golden& golden, const std::string& text, const std::vector<int32_t>& ids,
                    const std::string& decoded) {
  bool is_ascii = true;
  for (const char c : text) is_ascii = is_ascii && static_cast<unsigned char>(c) < 0x80;
  bool has_special = false;
  for (const int32_t id : ids) has_special = has_special || golden.tokenizer->IsSpecial(id);
  switch (golden.round_trip) {
    case RoundTrip::kSame:
      Property(decoded == text, "decode(encode(x)) is x");
      break;
    case RoundTrip::kNormalized:
      if (is_ascii) Property(decoded == text, "decode(encode(x)) is x where x is ASCII");
      Property(CheckDecode(golden.tokenizer, CheckEncode(*golden.tokenizer, decoded)) == decoded,
               "a normalised text stays what it is");
      break;
    case RoundTrip::kNoMetaspace:
    case RoundTrip::kFirstSpace:
      if (!has_special && !absl::StrContains(text, "\u2581")) {
        absl::string_view expected = text;
        if (golden.round_trip == RoundTrip::kFirstSpace) absl::ConsumePrefix(&expected, " ");
        Property(decoded == expected, "decode(encode(x)) is x without the sign for a space");
      }
      break;
    case RoundTrip::kLossy:
      break;
  }
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unlearn;
  Input input(data, size);
  const Golden& golden = Goldens()[input.Byte() % Goldens().size()];
  const std::string text = input.Until('\xFF');
  const std::vector<int32_t> ids = CheckEncode(*golden.tokenizer, text);
  const std::string decoded = CheckDecode(golden.tokenizer, ids);
  if (ValidUtf8Prefix(text) == text.size()) CheckRoundTrip(golden, text, ids, decoded);

  std::vector<int32_t> any;
  while (!input.empty()) {
    const int32_t id = input.TwoBytes() % golden.tokenizer->vocab_size();
    if (golden.tokenizer->Contains(id)) any.push_back(id);
  }
  CheckDecode(golden.tokenizer, any);
  return 0;
}
