#ifndef TRAINER_EVALUATE_PORTER_STEMMER_H_
#define TRAINER_EVALUATE_PORTER_STEMMER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// The stem of `word` by Porter's algorithm ("An algorithm for suffix stripping", 1980) with the
// departures that NLTK's PorterStemmer makes in its default mode. ROUGE numbers that are published
// with TOFU were computed with exactly that variant, so ours have to be as well.
//
// `word` is lowercased first (ASCII only: ROUGE's tokens hold nothing else). Words of one or two
// letters and digits pass through. Thread-safe.
std::string PorterStem(absl::string_view word);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_PORTER_STEMMER_H_
