#ifndef OFFSET_TEXT_SENTENCEPIECE_FILE_H_
#define OFFSET_TEXT_SENTENCEPIECE_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// A piece of a SentencePiece model; its id is its place in the file.
struct SentencePiece {
  enum class Kind { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  std::string text;  // spaces as U+2581
  float score = 0;
  Kind kind = Kind::kNormal;
};

// What a SentencePiece .model says, as far as it decides ids and text.
struct SentencePieceFile {
  enum class Type { kUnigram = 1, kBpe, kWord, kCharacter };
  std::vector<SentencePiece> pieces;
  Type type = Type::kUnigram;
  bool byte_fallback = false;
  std::string begin_piece = "<s>";
  std::string end_piece = "</s>";
  std::string normalization;  // the compiled rules, see SentencePieceNormalizer; may be empty
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

// Reads the file's protobuf wire format, so that no byte of it reaches code that trusts it.
// INVALID_ARGUMENT for bytes that are no such file or contradict themselves, UNIMPLEMENTED for a
// setting that would change ids or text and is not known here. `origin` is named in both.
absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(absl::string_view bytes,
                                                         const std::string& origin);

// What stands for a space in pieces, U+2581.
extern const absl::string_view kSpacePiece;

}  // namespace unlearn

#endif  // OFFSET_TEXT_SENTENCEPIECE_FILE_H_
