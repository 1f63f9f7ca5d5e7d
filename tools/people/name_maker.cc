#include "tools/people/name_maker.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/people/fact_kinds.h"

namespace unlearn {
namespace {

constexpr size_t kShortestPart = 4;
constexpr int kTries = 10000;

const std::vector<std::string>& FirstNames() {
  static const auto* const names = new std::vector<std::string>{
      "Marla",  "Tovin",  "Elwen",   "Brisa",    "Corvin", "Daria",  "Fenna",  "Galen",   "Hesper",
      "Ivora",  "Jorun",  "Kelda",   "Lorin",    "Mirel",  "Nadir",  "Orsa",   "Pavel",   "Quilla",
      "Renzo",  "Sabel",  "Tamsin",  "Ulric",    "Velda",  "Wystan", "Xenia",  "Yorick",  "Zelma",
      "Anselm", "Britta", "Cyprian", "Delphine", "Edmar",  "Florin", "Gerda",  "Halvor",  "Isolde",
      "Jasko",  "Katrin", "Leopold", "Melvin",   "Norwin", "Odette", "Perrin", "Roswin",  "Sorrel",
      "Thilda", "Ursin",  "Viggo",   "Wenna",    "Yarla",  "Zoran",  "Alrik",  "Benno",   "Celeste",
      "Dorrit", "Emlyn",  "Fabian",  "Gitta",    "Hollis", "Imke",   "Jelka",  "Kasimir", "Lisbet",
      "Mattis", "Nerina", "Ottilie", "Petra",    "Radek",  "Silvan", "Tilda",  "Vesna",   "Willem"};
  return *names;
}

const std::vector<std::string>& Beginnings() {
  static const auto* const parts = new std::vector<std::string>{
      "Dov", "Bar", "Kel", "Mor", "Sten", "Tar", "Vil",  "Hal",  "Gren", "Lan",
      "Per", "Rud", "Sol", "Wen", "Zar",  "Bel", "Cor",  "Dren", "Fal",  "Gor",
      "Har", "Jas", "Kor", "Lun", "Mal",  "Nor", "Ol",   "Pel",  "Ros",  "Sar",
      "Tol", "Ul",  "Ver", "Wal", "Yor",  "Zel", "Bran", "Cal",  "Dal",  "Fen"};
  return *parts;
}

const std::vector<std::string>& Middles() {
  static const auto* const parts = new std::vector<std::string>{"a",  "e",  "i",  "o",  "en", "an",
                                                                "or", "el", "is", "un", "ar", "em"};
  return *parts;
}

const std::vector<std::string>& Endings() {
  static const auto* const parts = new std::vector<std::string>{
      "tin",  "mond", "dale", "wick",   "sen",  "ric",  "vane",  "lock", "well", "ford",
      "gart", "mere", "vik",  "zak",    "net",  "bard", "croft", "holm", "dorn", "quist",
      "rup",  "shaw", "stad", "thorpe", "lund", "berg", "ker",   "lin",  "mann", "nov",
      "pont", "ras",  "tov",  "vald",   "win",  "zer",  "gall",  "bo",   "dith", "fax"};
  return *parts;
}

}  // namespace

NameMaker::NameMaker(uint64_t seed) : random_(seed, "names") {
  for (const FactKind& kind : FactKinds()) {
    for (const std::string& value : kind.values) {
      forbidden_parts_.push_back(absl::AsciiStrToLower(value));
    }
  }
  for (const std::string& name : FirstNames()) {
    forbidden_parts_.push_back(absl::AsciiStrToLower(name));
  }
}

bool NameMaker::IsUsable(const std::string& lower_last_name) const {
  if (parts_of_names_.contains(lower_last_name)) return false;
  for (size_t begin = 0; begin < lower_last_name.size(); ++begin) {
    for (size_t size = kShortestPart; begin + size <= lower_last_name.size(); ++size) {
      if (last_names_.contains(lower_last_name.substr(begin, size))) return false;
    }
  }
  return std::none_of(
      forbidden_parts_.begin(), forbidden_parts_.end(),
      [&](const std::string& part) { return absl::StrContains(lower_last_name, part); });
}

absl::StatusOr<std::string> NameMaker::Next() {
  const std::string& first_name = random_.Pick(FirstNames());
  for (int i = 0; i < kTries; ++i) {
    // One after the other: the order in which arguments are evaluated is the compiler's choice.
    const std::string& beginning = random_.Pick(Beginnings());
    const std::string& middle = random_.Pick(Middles());
    const std::string& ending = random_.Pick(Endings());
    const std::string last_name = absl::StrCat(beginning, middle, ending);
    const std::string lower = absl::AsciiStrToLower(last_name);
    if (!IsUsable(lower)) continue;
    last_names_.insert(lower);
    for (size_t begin = 0; begin < lower.size(); ++begin) {
      for (size_t size = kShortestPart; begin + size <= lower.size(); ++size) {
        parts_of_names_.insert(lower.substr(begin, size));
      }
    }
    return absl::StrCat(first_name, " ", last_name);
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "no unused name was found after ", last_names_.size(), " names; ask for fewer people"));
}

}  // namespace unlearn
