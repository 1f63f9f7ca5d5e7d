#include "offset/text/sentencepiece_normalizer.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "offset/base/status_macros.h"
#include "offset/text/text_growth.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

// The longest text that a rule may be for, and that it may make of it, in bytes: both are walked
// through at each place of a text.
constexpr int kLongestRule = 512;

uint32_t ReadUint32(absl::string_view bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// The fields of a unit in Darts-clone's double array.
bool HasValue(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t ValueOf(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t LabelOf(uint32_t unit) { return unit & 0x800000FF; }
size_t OffsetOf(uint32_t unit) {
  return static_cast<size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

// How many bytes at most the double array leads along from `place`; nullopt for more than `most`,
// such as in a circle. `known`: the answers for places that were asked for before, else -1.
std::optional<int> LongestFrom(const std::vector<uint32_t>& units, size_t place, int most,
                               std::vector<int>* known) {
  if (place < known->size() && (*known)[place] >= 0) return (*known)[place];
  int longest = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const size_t child = place ^ byte;
    if (child >= units.size() || LabelOf(units[child]) != byte) continue;
    const size_t next = child ^ OffsetOf(units[child]);
    if (next >= units.size()) continue;
    if (most == 0) return std::nullopt;
    const std::optional<int> rest = LongestFrom(units, next, most - 1, known);
    if (!rest.has_value() || *rest >= most) return std::nullopt;
    longest = std::max(longest, *rest + 1);
  }
  if (place < known->size()) (*known)[place] = longest;
  return longest;
}

// Whether the rules, each for a text and making another, are short enough.
bool AreShort(const std::vector<uint32_t>& units, absl::string_view replacements) {
  std::vector<int> known(units.size(), -1);
  if (!LongestFrom(units, OffsetOf(units[0]), kLongestRule, &known)) return false;
  for (const absl::string_view replacement : absl::StrSplit(replacements, '\0')) {
    if (replacement.size() > kLongestRule) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<SentencePieceNormalizer> SentencePieceNormalizer::Create(
    const SentencePieceFile& file) {
  SentencePieceNormalizer result;
  result.add_dummy_prefix_ = file.add_dummy_prefix;
  result.remove_extra_whitespaces_ = file.remove_extra_whitespaces;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].kind == SentencePiece::Kind::kUserDefined) {
      result.user_defined_.Insert(file.pieces[id].text, static_cast<int32_t>(id));
    }
  }
  // The size of the double array in bytes, the array, the replacements.
  const absl::string_view rules = file.normalization;
  if (rules.empty()) return result;
  if (rules.size() > 4) {
    const size_t size = ReadUint32(rules);
    if (size > 0 && size % 4 == 0 && size < rules.size() - 4 && rules.back() == '\0') {
      for (size_t at = 4; at < 4 + size; at += 4) {
        result.units_.push_back(ReadUint32(rules.substr(at)));
      }
      result.replacements_ = std::string(rules.substr(4 + size));
      if (AreShort(result.units_, result.replacements_)) return result;
      return absl::InvalidArgumentError(
          absl::StrCat("normalizer_spec.precompiled_charsmap (", rules.size(),
                       " bytes) has a rule of more than ", kLongestRule, " bytes, or is damaged"));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("normalizer_spec.precompiled_charsmap (", rules.size(), " bytes) is damaged"));
}

absl::string_view SentencePieceNormalizer::Prefix(absl::string_view text, size_t* length) const {
  if (!user_defined_.empty()) {
    *length = user_defined_.LongestPrefix(text);
    if (*length > 0) return text.substr(0, *length);
  }
  *length = 0;
  absl::string_view replacement;
  // Every place is checked: the array comes from a file.
  size_t place = units_.empty() ? 0 : OffsetOf(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    place ^= byte;
    if (place >= units_.size() || LabelOf(units_[place]) != byte) break;
    const uint32_t unit = units_[place];
    place ^= OffsetOf(unit);
    if (place >= units_.size()) break;
    if (!HasValue(unit)) continue;
    const size_t start = ValueOf(units_[place]);
    if (start >= replacements_.size()) break;
    *length = i + 1;
    replacement = replacements_.c_str() + start;
  }
  if (*length > 0) return replacement;
  *length = NextUtf8(text).length;
  return text.substr(0, *length);
}

absl::StatusOr<std::string> SentencePieceNormalizer::Apply(absl::string_view text,
                                                           bool continues) const {
  const size_t given = text.size();
  std::string out;
  size_t length = 0;
  if (remove_extra_whitespaces_ && !continues) {
    while (!text.empty() && Prefix(text, &length) == " ") text.remove_prefix(length);
  }
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2 + 3);
  const auto append_space = [&out] { out.append(kSpacePiece.data(), kSpacePiece.size()); };
  if (add_dummy_prefix_ && !continues) append_space();
  bool after_space = remove_extra_whitespaces_ && !continues;
  while (!text.empty()) {
    absl::string_view part = Prefix(text, &length);
    text.remove_prefix(length);
    while (after_space && absl::StartsWith(part, " ")) part.remove_prefix(1);
    for (const char byte : part) {
      if (byte == ' ') {
        append_space();
      } else {
        out.push_back(byte);
      }
    }
    if (!part.empty()) after_space = remove_extra_whitespaces_ && part.back() == ' ';
    RETURN_IF_ERROR(CheckGrowth(given, out.size()));
  }
  if (remove_extra_whitespaces_) {
    absl::string_view kept = out;
    while (absl::EndsWith(kept, kSpacePiece)) kept.remove_suffix(kSpacePiece.size());
    out.resize(kept.size());
  }
  return out;
}

}  // namespace unlearn
