// SentencePiece models: what is accepted can encode and decode. An input is a .model, of which the
// last bytes are a text to encode too; or, where it begins with 0xFF, which no .model does, what a
// model is made from (sentencepiece_recipe.h).

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "offset/base/file.h"
#include "offset/text/tokenizer.h"
#include "offset/text/utf8.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/property.h"
#include "tests/fuzz/sentencepiece_recipe.h"
#include "tests/fuzz/tokenizer_checks.h"

namespace unlearn {
namespace {

// nullptr: it was refused, as it has to be. `beside`: what lies beside the model; none where empty.
std::shared_ptr<const Tokenizer> Load(const std::string& model, const std::string& beside_name,
                                      const std::string& beside) {
  static const std::string* const folder = [] {
    auto* path = new std::string(JoinPath(FuzzFolder(), "sentencepiece"));
    Property(MakeFolders(*path).ok(), "a folder can be made");
    return path;
  }();
  WriteQuickly(JoinPath(*folder, "tokenizer.model"), model);
  if (!beside.empty()) WriteQuickly(JoinPath(*folder, beside_name), beside);
  const auto tokenizer = Tokenizer::Load(*folder);
  if (!beside.empty()) RemoveFolder(JoinPath(*folder, beside_name));
  if (tokenizer.ok()) return *tokenizer;
  Property(absl::IsInvalidArgument(tokenizer.status()) || absl::IsUnimplemented(tokenizer.status()),
           tokenizer.status().ToString());
  Property(absl::StartsWith(tokenizer.status().message(), *folder), "the error names the file");
  return nullptr;
}

// A text made of the tokens themselves, so that they meet.
std::string TokensText(const Tokenizer& tokenizer) {
  std::string text;
  for (int32_t id = tokenizer.vocab_size() - 1; id >= 0 && text.size() < 256; --id) {
    absl::StrAppend(&text, tokenizer.TokenBytes(id));
  }
  return ReplaceInvalidUtf8(text);
}

std::string WithoutSpaces(const std::string& text) {
  return absl::StrReplaceAll(text, {{" ", ""}});
}

// What bytes for all characters without a piece promise, where no rules rewrite the text.
void CheckRoundTrip(const std::shared_ptr<const Tokenizer>& tokenizer, bool keeps_spaces,
                    const std::string& text) {
  if (ValidUtf8Prefix(text) != text.size() || absl::StrContains(text, "\u2581")) return;
  const auto expect = [&](const std::vector<int32_t>& ids) {
    const std::string decoded = CheckDecode(tokenizer, ids);
    Property(keeps_spaces ? decoded == text : WithoutSpaces(decoded) == WithoutSpaces(text),
             "decode(encode(x)) is x");
  };
  expect(CheckEncode(*tokenizer, text));
  if (text.empty()) return;
  const size_t first = NextUtf8(text).length;
  std::vector<int32_t> ids = CheckEncode(*tokenizer, text.substr(0, first));
  const auto rest = tokenizer->EncodeContinuation(absl::string_view(text).substr(first));
  Property(rest.ok(), rest.status().ToString());
  ids.insert(ids.end(), rest->begin(), rest->end());
  expect(ids);
}

void CheckBytes(const std::string& model) {
  const auto tokenizer = Load(model, "", "");
  if (tokenizer == nullptr) return;
  const std::string tail = model.substr(model.size() - std::min<size_t>(model.size(), 64));
  CheckTokenizer(tokenizer, {tail, ReplaceInvalidUtf8(tail), TokensText(*tokenizer)});
}

void CheckRecipe(Input* input) {
  const SentencePieceRecipe recipe = ReadSentencePieceRecipe(input);
  const auto tokenizer = Load(recipe.model, recipe.beside_name, recipe.beside);
  if (tokenizer == nullptr) return;
  const std::string tokens_text = TokensText(*tokenizer);
  CheckTokenizer(tokenizer, {recipe.text, tokens_text});
  const auto long_ids = tokenizer->Encode(recipe.long_text);
  Property(long_ids.ok() || absl::IsInvalidArgument(long_ids.status()) ||
               absl::IsResourceExhausted(long_ids.status()),
           long_ids.status().ToString());
  // Without a piece for it a space becomes the bytes of U+2581, and those are text again.
  if (!recipe.byte_fallback || !recipe.has_space) return;
  if (!recipe.rules.empty() || !recipe.beside.empty()) return;
  for (const std::string& text : {recipe.text, tokens_text}) {
    CheckRoundTrip(tokenizer, !recipe.remove_extra_whitespaces, text);
  }
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unlearn;
  Input input(data, size);
  if (size > 0 && data[0] == 0xFF) {
    input.Byte();
    CheckRecipe(&input);
  } else {
    CheckBytes(input.Rest());
  }
  return 0;
}
