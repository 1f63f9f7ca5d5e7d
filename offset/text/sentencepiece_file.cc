#include "offset/text/sentencepiece_file.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/text/byte_fallback.h"
#include "offset/text/json_node.h"
#include "offset/text/utf8.h"

namespace unlearn {

const absl::string_view kSpacePiece = "\xE2\x96\x81";

namespace {

// The longest piece that is read; trainers stop at 16 characters unless told otherwise.
constexpr size_t kLongestPiece = 512;

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a SentencePiece model, or damaged: ", what));
}

// One field of a message in protobuf's wire format.
struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;  // 0: `value`; 2: `bytes`; 1 and 5: `bytes`, 8 and 4 of them
  uint64_t value = 0;
  absl::string_view bytes;
};

// The fields of a message, one after the other.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view message) : rest_(message) {}

  bool done() const { return rest_.empty(); }

  absl::StatusOr<Field> Next() {
    Field field;
    ASSIGN_OR_RETURN(const uint64_t tag, Varint());
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire = static_cast<uint32_t>(tag & 7);
    if (tag >> 32 != 0 || field.number == 0) return Damaged("a field has no valid number");
    uint64_t size = 0;
    if (field.wire == 0) {
      ASSIGN_OR_RETURN(field.value, Varint());
      return field;
    }
    if (field.wire == 1) {
      size = 8;
    } else if (field.wire == 5) {
      size = 4;
    } else if (field.wire == 2) {
      ASSIGN_OR_RETURN(size, Varint());
    } else {
      return Damaged(absl::StrCat("a field has the wire type ", field.wire));
    }
    if (size > rest_.size()) return Damaged("it ends within a field");
    field.bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }

 private:
  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return Damaged("it ends within a number");
      const uint8_t byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return Damaged("a number has more than ten bytes");
  }

  absl::string_view rest_;
};

// A known field must have the wire type of its kind.
absl::Status Expect(const Field& field, uint32_t wire, absl::string_view name) {
  if (field.wire == wire) return absl::OkStatus();
  return Damaged(absl::StrCat(name, " has the wire type ", field.wire, " instead of ", wire));
}

absl::StatusOr<std::string> Text(const Field& field, absl::string_view name) {
  RETURN_IF_ERROR(Expect(field, 2, name));
  if (ValidUtf8Prefix(field.bytes) != field.bytes.size()) {
    return Damaged(absl::StrCat(name, " is not valid UTF-8"));
  }
  return std::string(field.bytes);
}

absl::StatusOr<bool> Flag(const Field& field, absl::string_view name) {
  RETURN_IF_ERROR(Expect(field, 0, name));
  return field.value != 0;
}

absl::StatusOr<SentencePiece> ParsePiece(absl::string_view message) {
  SentencePiece piece;
  FieldReader reader(message);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) {
      ASSIGN_OR_RETURN(piece.text, Text(field, "its text"));
    } else if (field.number == 2) {
      RETURN_IF_ERROR(Expect(field, 5, "its score"));
      uint32_t bits = 0;
      for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<uint8_t>(field.bytes[i]);
      std::memcpy(&piece.score, &bits, sizeof(bits));
      if (!std::isfinite(piece.score)) return Damaged("its score is not a finite number");
    } else if (field.number == 3) {
      RETURN_IF_ERROR(Expect(field, 0, "its type"));
      if (field.value < 1 || field.value > 6) {
        return Damaged(absl::StrCat("its type is ", field.value, ", not from 1 to 6"));
      }
      piece.kind = static_cast<SentencePiece::Kind>(field.value);
    }
  }
  if (piece.text.empty()) return Damaged("it has no text");
  if (piece.text.size() > kLongestPiece) {
    return Damaged(absl::StrCat("it has ", piece.text.size(), " bytes, more than ", kLongestPiece));
  }
  return piece;
}

absl::Status ParseTrainerSpec(absl::string_view message, SentencePieceFile* file) {
  FieldReader reader(message);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 3) {
      RETURN_IF_ERROR(Expect(field, 0, "trainer_spec.model_type"));
      if (field.value < 1 || field.value > 4) {
        return Damaged(absl::StrCat("trainer_spec.model_type is ", field.value));
      }
      file->type = static_cast<SentencePieceFile::Type>(field.value);
    } else if (field.number == 24) {
      ASSIGN_OR_RETURN(const bool suffix, Flag(field, "trainer_spec.treat_whitespace_as_suffix"));
      if (suffix) {
        return absl::UnimplementedError(
            "trainer_spec.treat_whitespace_as_suffix is true: only spaces before words are "
            "supported");
      }
    } else if (field.number == 35) {
      ASSIGN_OR_RETURN(file->byte_fallback, Flag(field, "trainer_spec.byte_fallback"));
    } else if (field.number == 46) {
      ASSIGN_OR_RETURN(file->begin_piece, Text(field, "trainer_spec.bos_piece"));
    } else if (field.number == 47) {
      ASSIGN_OR_RETURN(file->end_piece, Text(field, "trainer_spec.eos_piece"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseNormalizerSpec(absl::string_view message, SentencePieceFile* file) {
  FieldReader reader(message);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 2) {
      RETURN_IF_ERROR(Expect(field, 2, "normalizer_spec.precompiled_charsmap"));
      file->normalization = std::string(field.bytes);
    } else if (field.number == 3) {
      ASSIGN_OR_RETURN(file->add_dummy_prefix, Flag(field, "normalizer_spec.add_dummy_prefix"));
    } else if (field.number == 4) {
      ASSIGN_OR_RETURN(file->remove_extra_whitespaces,
                       Flag(field, "normalizer_spec.remove_extra_whitespaces"));
    } else if (field.number == 5) {
      ASSIGN_OR_RETURN(const bool escape, Flag(field, "normalizer_spec.escape_whitespaces"));
      if (!escape) {
        return absl::UnimplementedError(
            "normalizer_spec.escape_whitespaces is false: only pieces with U+2581 for a space are "
            "supported");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status RefuseDenormalizer(absl::string_view message) {
  FieldReader reader(message);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 2 && !field.bytes.empty()) {
      return absl::UnimplementedError(
          "denormalizer_spec.precompiled_charsmap: rewriting decoded text is not supported");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPieces(const SentencePieceFile& file) {
  absl::flat_hash_map<absl::string_view, size_t> seen;
  int unknown = 0;
  absl::flat_hash_set<uint8_t> bytes;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    const auto [first, added] = seen.emplace(piece.text, id);
    if (!added) {
      return Damaged(
          absl::StrCat("the pieces ", first->second, " and ", id, " have the same text"));
    }
    if (piece.kind == SentencePiece::Kind::kUnknown) ++unknown;
    if (piece.kind == SentencePiece::Kind::kByte) {
      const auto byte = FallbackByte(piece.text);
      if (!byte.has_value() || !file.byte_fallback) {
        return Damaged(absl::StrCat("piece ", id, " is a byte",
                                    file.byte_fallback ? ", but is not written as <0xXX>"
                                                       : " in a model without byte_fallback"));
      }
      bytes.insert(*byte);
    }
    if (piece.kind == SentencePiece::Kind::kUnused && file.type == SentencePieceFile::Type::kBpe) {
      return absl::UnimplementedError(absl::StrCat(
          "piece ", id, " is marked as unused, which is not supported in a BPE model"));
    }
  }
  if (unknown != 1) {
    return Damaged(absl::StrCat("it has ", unknown, " pieces for what is unknown, not one"));
  }
  if (file.byte_fallback && bytes.size() != 256) {
    return Damaged(absl::StrCat("byte_fallback needs 256 byte pieces, it has ", bytes.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<SentencePieceFile> Parse(absl::string_view bytes) {
  SentencePieceFile file;
  FieldReader reader(bytes);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number < 1 || field.number > 5) continue;
    RETURN_IF_ERROR(Expect(field, 2, absl::StrCat("field ", field.number)));
    if (field.number == 1) {
      absl::StatusOr<SentencePiece> piece = ParsePiece(field.bytes);
      if (!piece.ok()) {
        return absl::Status(piece.status().code(), absl::StrCat("piece ", file.pieces.size(), ": ",
                                                                piece.status().message()));
      }
      if (file.pieces.size() > kMaxTokenId) return Damaged("it has too many pieces");
      file.pieces.push_back(*std::move(piece));
    } else if (field.number == 2) {
      RETURN_IF_ERROR(ParseTrainerSpec(field.bytes, &file));
    } else if (field.number == 3) {
      RETURN_IF_ERROR(ParseNormalizerSpec(field.bytes, &file));
    } else if (field.number == 5) {
      RETURN_IF_ERROR(RefuseDenormalizer(field.bytes));
    }
  }
  if (file.type != SentencePieceFile::Type::kUnigram &&
      file.type != SentencePieceFile::Type::kBpe) {
    return absl::UnimplementedError("trainer_spec.model_type: only UNIGRAM and BPE are supported");
  }
  RETURN_IF_ERROR(CheckPieces(file));
  return file;
}

}  // namespace

absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(absl::string_view bytes,
                                                         const std::string& origin) {
  absl::StatusOr<SentencePieceFile> file = Parse(bytes);
  if (file.ok()) return file;
  return absl::Status(file.status().code(), absl::StrCat(origin, ": ", file.status().message()));
}

}  // namespace unlearn
