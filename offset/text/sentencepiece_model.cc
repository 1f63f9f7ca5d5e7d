#include "offset/text/sentencepiece_model.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "offset/base/status_macros.h"
#include "offset/text/byte_fallback.h"
#include "offset/text/utf8.h"
#include "offset/text/word_cache.h"

namespace unlearn {
namespace {

using Kind = SentencePiece::Kind;

// What a character without a piece costs, below the lowest score.
constexpr float kUnknownPenalty = 10;
// Sums of scores beyond this are counted from 0 again.
constexpr float kMostScore = 100000;

}  // namespace

absl::StatusOr<SentencePieceModel> SentencePieceModel::Create(const SentencePieceFile& file) {
  ASSIGN_OR_RETURN(SentencePieceNormalizer normalizer, SentencePieceNormalizer::Create(file));
  SentencePieceModel model(std::move(normalizer));
  model.byte_fallback_ = file.byte_fallback;
  model.byte_ids_.fill(-1);
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    if (piece.kind == Kind::kUnknown) model.unknown_id_ = static_cast<int32_t>(id);
    if (piece.kind != Kind::kByte) continue;
    const std::optional<uint8_t> byte = FallbackByte(piece.text);
    if (byte.has_value()) model.byte_ids_[*byte] = static_cast<int32_t>(id);
  }
  if (file.type == SentencePieceFile::Type::kBpe) {
    model.FillBpe(file);
  } else {
    model.FillUnigram(file);
  }
  return model;
}

void SentencePieceModel::FillUnigram(const SentencePieceFile& file) {
  float lowest = std::numeric_limits<float>::max();
  scores_.resize(file.pieces.size());
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    if (piece.kind != Kind::kNormal && piece.kind != Kind::kUserDefined) continue;
    pieces_.Insert(piece.text, static_cast<int32_t>(id));
    if (piece.kind == Kind::kUserDefined) {  // more than others, the more the longer
      scores_[id] = static_cast<float>(0.1 * (static_cast<double>(piece.text.size()) - 1));
      continue;
    }
    scores_[id] = piece.score;
    lowest = std::min(lowest, piece.score);
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

// Two neighbours merge whenever a piece has their text together, the highest score first: as merges
// of ids that is a merge for every cut of every piece into two that occur. Characters that occur in
// pieces but are none get ids of their own for this.
void SentencePieceModel::FillBpe(const SentencePieceFile& file) {
  BpeModelParts parts;
  parts.by_character = true;
  parts.byte_ids = byte_ids_;
  parts.unknown_id = unknown_id_;
  parts.cut_before = std::string(kSpacePiece);
  first_symbol_ = static_cast<int32_t>(file.pieces.size());
  absl::flat_hash_map<absl::string_view, int32_t> known;
  std::vector<float> scores;
  std::vector<AddedToken> user_defined;
  const auto add_symbol = [&](absl::string_view character) {
    const int32_t symbol = first_symbol_ + static_cast<int32_t>(symbols_.size());
    if (!known.emplace(character, symbol).second) return;
    symbols_.push_back(std::string(character));
    parts.characters.emplace(character, symbol);
  };
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const SentencePiece& piece = file.pieces[i];
    const int32_t id = static_cast<int32_t>(i);
    const bool character = NextUtf8(piece.text).length == piece.text.size();
    if (piece.kind == Kind::kUserDefined) {
      user_defined.push_back({id, piece.text});
    } else if (piece.kind == Kind::kNormal) {
      known.emplace(piece.text, id);
      scores.push_back(piece.score);
      if (character) parts.characters.emplace(piece.text, id);
      if (!CanCutBefore(kSpacePiece, piece.text)) parts.cut_before.clear();
    }
  }
  user_defined_ = AddedTokenMatcher(std::move(user_defined));
  std::sort(scores.begin(), scores.end(), std::greater<float>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (const SentencePiece& piece : file.pieces) {
    if (piece.kind != Kind::kNormal) continue;
    for (size_t at = 0; at < piece.text.size();) {
      const absl::string_view rest = absl::string_view(piece.text).substr(at);
      const size_t length = NextUtf8(rest).length;
      add_symbol(rest.substr(0, length));
      at += length;
    }
  }
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    if (file.pieces[i].kind != Kind::kNormal) continue;
    const absl::string_view text = file.pieces[i].text;
    const auto place =
        std::lower_bound(scores.begin(), scores.end(), file.pieces[i].score, std::greater<float>());
    const int32_t rank = static_cast<int32_t>(place - scores.begin());
    for (size_t cut = NextUtf8(text).length; cut < text.size();
         cut += NextUtf8(text.substr(cut)).length) {
      const auto left = known.find(text.substr(0, cut));
      const auto right = known.find(text.substr(cut));
      if (left == known.end() || right == known.end()) continue;
      parts.merges[BpePair(left->second, right->second)] = {rank, static_cast<int32_t>(i)};
    }
  }
  bpe_.emplace(std::move(parts));
}

absl::Status SentencePieceModel::Encode(absl::string_view text, bool continues,
                                        std::vector<int32_t>* ids) const {
  ASSIGN_OR_RETURN(const std::string normalized, normalizer_.Apply(text, continues));
  if (normalized.empty()) return absl::OkStatus();
  if (bpe_.has_value()) {
    EncodeBpe(normalized, ids);
  } else {
    EncodeUnigram(normalized, ids);
  }
  return absl::OkStatus();
}

// The path of pieces with the highest sum of scores. Sums are floats that start from 0 again when
// they get large, exactly as SentencePiece 0.2.3 adds them: where two paths are nearly equal, ids
// depend on the rounding.
void SentencePieceModel::EncodeUnigram(absl::string_view text, std::vector<int32_t>* ids) const {
  struct Best {  // of the paths that end here
    float score = 0;
    int32_t id = -1;
    size_t start = 0;  // of the last piece
  };
  std::vector<Best> best(text.size() + 1);
  size_t reached = 0;  // the furthest end of a path
  const auto offer = [&](size_t start, size_t end, int32_t id, float score) {
    reached = std::max(reached, end);
    Best& target = best[end];
    if (target.id >= 0 && !(score > target.score)) return;
    target = {score, id, start};
  };
  for (size_t start = 0; start < text.size();) {
    if (std::abs(best[start].score) > kMostScore) {
      const float offset = best[start].score;
      for (size_t i = start; i <= reached; ++i) {
        if (best[i].id >= 0) best[i].score -= offset;
      }
    }
    const float so_far = best[start].score;
    const size_t character = NextUtf8(text.substr(start)).length;
    bool has_character = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t end = start; end < text.size();) {
      node = pieces_.Next(node, text[end]);
      if (node < 0) break;
      ++end;
      const int32_t id = pieces_.ValueAt(node);
      if (id < 0) continue;
      offer(start, end, id, scores_[id] + so_far);
      if (end - start == character) has_character = true;
    }
    if (!has_character) offer(start, start + character, unknown_id_, unknown_score_ + so_far);
    start += character;
  }
  std::vector<size_t> ends;  // of the path's pieces, the last one first
  for (size_t end = text.size(); end > 0; end = best[end].start) ends.push_back(end);
  const size_t first = ids->size();
  for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
    const Best& piece = best[*end];
    if (piece.id == unknown_id_) {
      AppendUnknown(text.substr(piece.start, *end - piece.start), first, ids);
    } else {
      ids->push_back(piece.id);
    }
  }
}

void SentencePieceModel::EncodeBpe(absl::string_view text, std::vector<int32_t>* ids) const {
  WordCache cache(text.size());
  std::vector<int32_t> merged;
  merged.reserve(text.size() / 3 + 4);
  const auto on_piece = [&](absl::string_view piece, int32_t id) {
    if (id >= 0) {
      merged.push_back(id);
    } else {
      bpe_->Encode(piece, &cache, &merged);
    }
    return absl::OkStatus();
  };
  user_defined_.Split(text, on_piece).IgnoreError();  // only on_piece has errors
  const size_t start = ids->size();
  for (const int32_t id : merged) {
    if (id >= first_symbol_) {
      AppendUnknown(symbols_[id - first_symbol_], start, ids);
    } else if (id == unknown_id_) {
      AppendUnknown("", start, ids);
    } else {
      ids->push_back(id);
    }
  }
}

void SentencePieceModel::AppendUnknown(absl::string_view text, size_t start,
                                       std::vector<int32_t>* ids) const {
  if (byte_fallback_) {
    for (const char byte : text) ids->push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  } else if (ids->size() == start || ids->back() != unknown_id_) {
    ids->push_back(unknown_id_);
  }
}

}  // namespace unlearn
