#ifndef TRAINER_EVALUATE_FOLDED_WORDS_H_
#define TRAINER_EVALUATE_FOLDED_WORDS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace unlearn {

enum class Symbols { kDrop, kKeep };

// The words of a text, folded so that two spellings of one word compare equal byte for byte: case
// (all of Unicode), compatibility forms and composition (NFKC), invisible characters.
//
// White space and punctuation separate words and are dropped, with one exception: a dot or comma
// inside a single number stays ("1.5", "1,200"), but not in a date ("12.05.1990" is three words).
// Symbols ($ + = and with them # % & @) are words of their own under kKeep, so that "C" and "C++"
// differ. Scripts written without spaces give one word per character. Bytes that are not UTF-8, as
// a generation cut inside a character ends in, become U+FFFD, which is a symbol. Thread-safe.
std::vector<std::string> FoldedWords(absl::string_view text, Symbols symbols);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_FOLDED_WORDS_H_
