#include "trainer/evaluate/porter_stemmer.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace unlearn {
namespace {

// One flag a letter, true for consonants. "y" is a consonant at the start and after a vowel.
std::vector<bool> Consonants(absl::string_view word) {
  std::vector<bool> consonant(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    switch (word[i]) {
      case 'a':
      case 'e':
      case 'i':
      case 'o':
      case 'u':
        consonant[i] = false;
        break;
      case 'y':
        consonant[i] = i == 0 || !consonant[i - 1];
        break;
      default:
        consonant[i] = true;
    }
  }
  return consonant;
}

// Porter's m: how often a vowel is followed by a consonant.
int Measure(absl::string_view word) {
  const std::vector<bool> consonant = Consonants(word);
  int measure = 0;
  for (size_t i = 1; i < word.size(); ++i) measure += !consonant[i - 1] && consonant[i];
  return measure;
}

bool ContainsVowel(absl::string_view word) {
  const std::vector<bool> consonant = Consonants(word);
  return std::find(consonant.begin(), consonant.end(), false) != consonant.end();
}

// Porter's *d.
bool EndsWithDoubleConsonant(absl::string_view word) {
  const size_t n = word.size();
  return n >= 2 && word[n - 1] == word[n - 2] && Consonants(word).back();
}

// Porter's *o (consonant, vowel, consonant other than w, x, y); NLTK lets a word that is just
// vowel, consonant count as well.
bool EndsWithShortSyllable(absl::string_view word) {
  const size_t n = word.size();
  const std::vector<bool> consonant = Consonants(word);
  if (n == 2) return !consonant[0] && consonant[1];
  return n >= 3 && consonant[n - 3] && !consonant[n - 2] && consonant[n - 1] &&
         word[n - 1] != 'w' && word[n - 1] != 'x' && word[n - 1] != 'y';
}

struct Rule {
  absl::string_view suffix;
  absl::string_view replacement;
};

constexpr Rule kStep2[] = {
    {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
    {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
    {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
    {"fulli", "ful"},
};

constexpr Rule kStep3[] = {
    {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
    {"ical", "ic"},  {"ful", ""},   {"ness", ""},
};

// "ement" and "ment" stand before "ent": the first suffix that fits decides.
constexpr absl::string_view kStep4[] = {
    "al",  "ance", "ence", "er",  "ic",  "able", "ible", "ant", "ement", "ment",
    "ent", "ion",  "ou",   "ism", "ate", "iti",  "ous",  "ive", "ize",
};

// The word without `suffix`, which it must end with.
absl::string_view Without(absl::string_view word, absl::string_view suffix) {
  word.remove_suffix(suffix.size());
  return word;
}

// Applies the first rule whose suffix fits, if what stays has m > 0. Nothing is tried after it.
std::string ApplyFirst(absl::Span<const Rule> rules, std::string word) {
  for (const Rule& rule : rules) {
    if (!absl::EndsWith(word, rule.suffix)) continue;
    const absl::string_view stem = Without(word, rule.suffix);
    return Measure(stem) > 0 ? absl::StrCat(stem, rule.replacement) : word;
  }
  return word;
}

// Plurals.
std::string Step1a(std::string word) {
  if (absl::EndsWith(word, "ies")) {
    // NLTK: "dies" gives "die", but "flies" gives "fli".
    return absl::StrCat(Without(word, "ies"), word.size() == 4 ? "ie" : "i");
  }
  if (absl::EndsWith(word, "sses")) return word.substr(0, word.size() - 2);
  if (absl::EndsWith(word, "ss")) return word;
  if (absl::EndsWith(word, "s")) word.pop_back();
  return word;
}

// -ed and -ing, and what has to be put right after taking them off.
std::string Step1b(std::string word) {
  if (absl::EndsWith(word, "ied")) {
    return absl::StrCat(Without(word, "ied"), word.size() == 4 ? "ie" : "i");
  }
  if (absl::EndsWith(word, "eed")) {
    if (Measure(Without(word, "eed")) > 0) word.pop_back();
    return word;
  }
  std::string stem;
  if (absl::EndsWith(word, "ed")) {
    stem = word.substr(0, word.size() - 2);
  } else if (absl::EndsWith(word, "ing")) {
    stem = word.substr(0, word.size() - 3);
  }
  if (!ContainsVowel(stem)) return word;
  if (absl::EndsWith(stem, "at") || absl::EndsWith(stem, "bl") || absl::EndsWith(stem, "iz")) {
    return stem + "e";
  }
  if (EndsWithDoubleConsonant(stem)) {
    const char last = stem.back();
    if (last != 'l' && last != 's' && last != 'z') stem.pop_back();
    return stem;
  }
  if (Measure(stem) == 1 && EndsWithShortSyllable(stem)) stem += 'e';
  return stem;
}

// NLTK: y becomes i after a consonant, where more than that consonant stands before it.
std::string Step1c(std::string word) {
  if (word.size() > 2 && word.back() == 'y' && Consonants(word)[word.size() - 2]) {
    word.back() = 'i';
  }
  return word;
}

std::string Step2(std::string word) {
  // NLTK: -alli goes first, and the other rules of this step see what it leaves.
  while (absl::EndsWith(word, "alli") && Measure(Without(word, "alli")) > 0) {
    word.resize(word.size() - 2);
  }
  // NLTK: the l of -logi counts as part of the stem, so that "geo" and "theo" behave like "philo".
  // No other suffix of this step can end in "logi".
  if (absl::EndsWith(word, "logi")) {
    if (Measure(Without(word, "ogi")) > 0) word.pop_back();
    return word;
  }
  return ApplyFirst(kStep2, std::move(word));
}

std::string Step4(std::string word) {
  for (const absl::string_view suffix : kStep4) {
    if (!absl::EndsWith(word, suffix)) continue;
    const absl::string_view stem = Without(word, suffix);
    if (Measure(stem) <= 1) return word;
    if (suffix == "ion" && stem.back() != 's' && stem.back() != 't') return word;
    return std::string(stem);
  }
  return word;
}

// A last -e, and one l of a double l.
std::string Step5(std::string word) {
  if (absl::EndsWith(word, "e")) {
    const absl::string_view stem = Without(word, "e");
    const int measure = Measure(stem);
    if (measure > 1 || (measure == 1 && !EndsWithShortSyllable(stem))) word.pop_back();
  }
  if (absl::EndsWith(word, "ll") && Measure(Without(word, "l")) > 1) word.pop_back();
  return word;
}

// NLTK's irregular forms; empty when `word` is none of them.
absl::string_view Irregular(absl::string_view word) {
  static constexpr Rule kForms[] = {
      {"sky", "sky"},         {"skies", "sky"},        {"dying", "die"},
      {"lying", "lie"},       {"tying", "tie"},        {"news", "news"},
      {"innings", "inning"},  {"inning", "inning"},    {"outings", "outing"},
      {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
      {"howe", "howe"},       {"proceed", "proceed"},  {"exceed", "exceed"},
      {"succeed", "succeed"},
  };
  for (const Rule& form : kForms) {
    if (word == form.suffix) return form.replacement;
  }
  return {};
}

}  // namespace

std::string PorterStem(absl::string_view word) {
  std::string stem = absl::AsciiStrToLower(word);
  const absl::string_view irregular = Irregular(stem);
  if (!irregular.empty()) return std::string(irregular);
  if (stem.size() <= 2) return stem;
  stem = Step1c(Step1b(Step1a(std::move(stem))));
  stem = ApplyFirst(kStep3, Step2(std::move(stem)));
  return Step5(Step4(std::move(stem)));
}

}  // namespace unlearn
