#include "offset/text/tokenizer.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/text/byte_alphabet.h"
#include "offset/text/byte_fallback.h"
#include "offset/text/sentencepiece_folder.h"
#include "offset/text/tokenizer_json.h"
#include "offset/text/utf8.h"
#include "offset/text/word_cache.h"

namespace unlearn {
namespace {

void AppendUint32(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) {
    out->push_back(static_cast<char>((value >> shift) & 0xFF));
  }
}

std::string BytesOf(const std::string& written, const TokenDecoding& decoding) {
  // A token that is not written in the byte alphabet stands for its own text.
  if (decoding.byte_level) return AlphabetToBytes(written).value_or(written);
  if (decoding.byte_fallback) {
    const std::optional<uint8_t> byte = FallbackByte(written);
    if (byte.has_value()) return std::string(1, static_cast<char>(*byte));
  }
  if (decoding.metaspace.empty()) return written;
  return absl::StrReplaceAll(written, {{decoding.metaspace, " "}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  std::string file = path;
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    if (FileExists(JoinPath(path, name))) file = JoinPath(path, name);
  }
  if (absl::EndsWith(file, ".model")) {
    ASSIGN_OR_RETURN(TokenizerParts parts, ReadSentencePieceFolder(file));
    return FromParts(std::move(parts));
  }
  ASSIGN_OR_RETURN(const std::string json, ReadFile(file));
  return FromJson(json, file);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromJson(absl::string_view json,
                                                                     const std::string& origin) {
  ASSIGN_OR_RETURN(TokenizerParts parts, ParseTokenizerJson(json, origin));
  return FromParts(std::move(parts));
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromParts(TokenizerParts parts) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (const AddedToken& token : parts.added_tokens) {
    if (!token.normalized) {
      raw.push_back(token);
      continue;
    }
    normalized.push_back(token);
    ASSIGN_OR_RETURN(normalized.back().content, parts.normalizer.Apply(token.content));
  }
  return absl::WrapUnique(new Tokenizer(std::move(parts), AddedTokenMatcher(std::move(raw)),
                                        AddedTokenMatcher(std::move(normalized))));
}

Tokenizer::Tokenizer(TokenizerParts parts, AddedTokenMatcher raw_matcher,
                     AddedTokenMatcher normalized_matcher)
    : normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      model_(std::move(parts.model)),
      sentence_pieces_(std::move(parts.sentence_pieces)),
      prefix_every_piece_(parts.prefix_every_piece),
      template_(std::move(parts.sequence_template)),
      strip_start_(parts.decoding.strip_start),
      raw_matcher_(std::move(raw_matcher)),
      normalized_matcher_(std::move(normalized_matcher)),
      tokens_(parts.written.size()),
      ids_(std::move(parts.ids)) {
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!parts.written[id].has_value()) continue;
    tokens_[id].known = true;
    tokens_[id].bytes = BytesOf(*parts.written[id], parts.decoding);
  }
  for (const AddedToken& token : parts.added_tokens) {
    if (token.special) tokens_[token.id].special = true;
  }
  for (const int32_t id : parts.special_ids) tokens_[id].special = true;
  fingerprint_ = ComputeFingerprint();
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(absl::string_view text,
                                                       bool add_special_tokens) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 4);
  if (add_special_tokens) ids = template_.before;
  RETURN_IF_ERROR(EncodeInto(text, PieceStart::kText, &ids));
  if (add_special_tokens) ids.insert(ids.end(), template_.after.begin(), template_.after.end());
  return ids;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeContinuation(absl::string_view text) const {
  std::vector<int32_t> ids;
  RETURN_IF_ERROR(EncodeInto(text, PieceStart::kContinued, &ids));
  return ids;
}

absl::Status Tokenizer::EncodeInto(absl::string_view text, PieceStart start,
                                   std::vector<int32_t>* ids) const {
  const size_t valid = ValidUtf8Prefix(text);
  if (valid != text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the text (", text.size(), " bytes) is not valid UTF-8 at byte offset ", valid));
  }
  WordCache cache(sentence_pieces_.has_value() ? 0 : text.size());
  const auto on_word = [&](absl::string_view word) {
    model_.Encode(word, &cache, ids);
    return absl::OkStatus();
  };
  const auto on_normalized_piece = [&](absl::string_view piece, int32_t id) -> absl::Status {
    const PieceStart piece_start = std::exchange(start, PieceStart::kWithin);
    if (id < 0) return pre_tokenizer_.Split(piece, piece_start, on_word);
    ids->push_back(id);
    return absl::OkStatus();
  };
  const auto on_piece = [&](absl::string_view piece, int32_t id) -> absl::Status {
    if (id >= 0) {
      start = PieceStart::kWithin;
      ids->push_back(id);
      return absl::OkStatus();
    }
    if (sentence_pieces_.has_value()) {
      const PieceStart piece_start = std::exchange(start, PieceStart::kWithin);
      const bool prefixed = prefix_every_piece_ ? piece_start != PieceStart::kContinued
                                                : piece_start == PieceStart::kText;
      return sentence_pieces_->Encode(piece, !prefixed, ids);
    }
    if (normalizer_.empty()) return normalized_matcher_.Split(piece, on_normalized_piece);
    ASSIGN_OR_RETURN(const std::string normalized,
                     normalizer_.Apply(piece, start == PieceStart::kContinued));
    return normalized_matcher_.Split(normalized, on_normalized_piece);
  };
  return raw_matcher_.Split(text, on_piece);
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              bool skip_special_tokens) const {
  std::string bytes;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!Contains(ids[i])) {
      return absl::InvalidArgumentError(absl::StrCat("token id ", ids[i], " at position ", i,
                                                     " is not in the vocabulary of ", vocab_size(),
                                                     " ids"));
    }
    const Token& token = tokens_[ids[i]];
    if (!(skip_special_tokens && token.special)) bytes += token.bytes;
  }
  size_t strip = 0;
  while (strip < static_cast<size_t>(strip_start_) && strip < bytes.size() && bytes[strip] == ' ') {
    ++strip;
  }
  return ReplaceInvalidUtf8(absl::string_view(bytes).substr(strip));
}

bool Tokenizer::Contains(int32_t id) const {
  return id >= 0 && id < vocab_size() && tokens_[id].known;
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  return Contains(id) ? tokens_[id].bytes : std::string();
}

std::optional<int32_t> Tokenizer::TokenToId(absl::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::IsSpecial(int32_t id) const { return Contains(id) && tokens_[id].special; }

std::string Tokenizer::ComputeFingerprint() const {
  Sha256 hash;
  std::string entry;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const Token& token = tokens_[id];
    entry.clear();
    AppendUint32(static_cast<uint32_t>(id), &entry);
    AppendUint32(token.known ? static_cast<uint32_t>(token.bytes.size()) : 0xFFFFFFFFu, &entry);
    entry += token.bytes;
    hash.Update(entry);
  }
  return hash.HexDigest();
}

}  // namespace unlearn
