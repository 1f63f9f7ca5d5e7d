#include "tests/fuzz/sentencepiece_recipe.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

constexpr size_t kLong = 100 * 1000;

// SentencePiece's kinds of pieces.
constexpr int kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// A field of protobuf's wire format.
void AppendNumber(int field, uint64_t value, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3, out);
  AppendVarint(value, out);
}

void AppendBytes(int field, absl::string_view bytes, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  absl::StrAppend(out, bytes);
}

void AppendPiece(absl::string_view text, float score, int kind, std::string* model) {
  std::string piece;
  AppendBytes(1, text, &piece);
  uint32_t bits = 0;
  std::memcpy(&bits, &score, sizeof(bits));
  piece.push_back(2 << 3 | 5);
  for (int shift = 0; shift < 32; shift += 8) piece.push_back(static_cast<char>(bits >> shift));
  AppendNumber(3, kind, &piece);
  AppendBytes(1, piece, model);
}

float Score(int byte) {
  const int step = byte >> 3;
  if (step == 31) return 3e38f;  // sums overflow
  if (step == 30) return -3e38f;
  if (step == 29) return -60000;  // sums are counted from 0 again
  return -0.5f * static_cast<float>(step);
}

void AppendPieces(Input* input, SentencePieceRecipe* recipe) {
  constexpr int kKinds[] = {kNormal,  kNormal,      kNormal, kNormal,
                            kControl, kUserDefined, kUnused, kNormal};
  std::set<std::string> seen = {"<unk>"};
  AppendPiece("<unk>", 0, kUnknown, &recipe->model);
  if (recipe->byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      const std::string text = absl::StrFormat("<0x%02X>", byte);
      seen.insert(text);
      AppendPiece(text, 0, kByte, &recipe->model);
    }
  }
  while (!input->empty()) {
    const int byte = input->Byte();
    const std::string text = ReplaceInvalidUtf8(input->Until('\xFF'));
    if (text.empty()) break;
    int kind = kKinds[byte & 7];
    if (kind == kUnused && recipe->bpe) kind = kNormal;  // refused there
    if (!seen.insert(text).second) continue;
    AppendPiece(text, Score(byte), kind, &recipe->model);
    if (text == "\u2581" && (kind == kNormal || kind == kUserDefined)) recipe->has_space = true;
  }
}

std::string Rules(Input* input) {
  const size_t units = 4 * input->TwoBytes();
  const std::string rest = input->Rest();
  const uint32_t size = static_cast<uint32_t>(std::min(units, rest.size() / 4 * 4));
  std::string rules;
  for (int shift = 0; shift < 32; shift += 8) rules.push_back(static_cast<char>(size >> shift));
  return absl::StrCat(rules, rest, absl::string_view("\0", 1));
}

}  // namespace

SentencePieceRecipe ReadSentencePieceRecipe(Input* input) {
  SentencePieceRecipe recipe;
  const int flags = input->Byte();
  recipe.bpe = (flags & 1) != 0;
  recipe.byte_fallback = (flags & 2) != 0;
  recipe.add_dummy_prefix = (flags & 4) == 0;
  recipe.remove_extra_whitespaces = (flags & 8) == 0;
  recipe.beside_name = (flags & 16) != 0 ? "added_tokens.json" : "tokenizer_config.json";
  recipe.beside = input->Until('\xFF');
  recipe.text = input->Until('\xFF');
  if ((flags & 64) != 0 && !recipe.text.empty()) {
    while (recipe.long_text.size() < kLong) recipe.long_text += recipe.text;
  }
  AppendPieces(input, &recipe);
  if ((flags & 32) != 0) recipe.rules = Rules(input);
  std::string trainer;
  AppendNumber(3, recipe.bpe ? 2 : 1, &trainer);
  AppendNumber(35, recipe.byte_fallback, &trainer);
  AppendBytes(2, trainer, &recipe.model);
  std::string normalizer;
  if (!recipe.rules.empty()) AppendBytes(2, recipe.rules, &normalizer);
  AppendNumber(3, recipe.add_dummy_prefix, &normalizer);
  AppendNumber(4, recipe.remove_extra_whitespaces, &normalizer);
  AppendBytes(3, normalizer, &recipe.model);
  return recipe;
}

}  // namespace unlearn
