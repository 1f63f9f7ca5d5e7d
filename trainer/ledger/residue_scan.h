#ifndef TRAINER_LEDGER_RESIDUE_SCAN_H_
#define TRAINER_LEDGER_RESIDUE_SCAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace unlearn {

// Something whose traces are looked for: a text, its tokens, or both. Secret.
struct ResidueNeedle {
  std::string text;                // UTF-8, at least 6 bytes when not empty
  std::vector<int32_t> token_ids;  // at least 3 when not empty
};

// Where a trace was found. Holds nothing of the text itself.
struct Residue {
  std::string file;
  uint64_t offset = 0;  // bytes from its start
  size_t needle = 0;    // index into the needles
  std::string form;     // "utf-8", "json", "base64", "int32", "int64", "varint"
};

// The byte strings that betray a needle.
struct ResiduePattern {
  std::string form;
  std::string bytes;
};

// All forms: UTF-8; JSON escapes (\uXXXX in both cases, and short escapes only); base64 and its URL
// alphabet at all three alignments; token ids as int32 and int64, little endian, and as protobuf's
// packed varints. Without duplicates. INVALID_ARGUMENT for a needle too short to mean anything.
absl::StatusOr<std::vector<ResiduePattern>> ResiduePatterns(const ResidueNeedle& needle);

// Searches the raw bytes of every regular file below the folders (links are not followed), and
// reports the first occurrence of each form per file. A folder that does not exist holds nothing;
// a file that vanishes during the search is skipped. Any other file that cannot be read is an
// error: what was not searched was not found clean.
absl::StatusOr<std::vector<Residue>> FindResidue(absl::Span<const std::string> folders,
                                                 absl::Span<const ResidueNeedle> needles);

}  // namespace unlearn

#endif  // TRAINER_LEDGER_RESIDUE_SCAN_H_
