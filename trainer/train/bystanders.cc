#include "trainer/train/bystanders.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "trainer/train/transplant.h"

namespace unlearn {
namespace {

constexpr size_t kShortestPart = 2;  // bytes of a last name that a cut leaves

std::string FirstWord(const std::string& name) { return name.substr(0, name.find(' ')); }
std::string LastWord(const std::string& name) { return name.substr(name.rfind(' ') + 1); }

template <typename T>
const T& Any(const std::vector<T>& list, std::mt19937_64& random) {
  return list[random() % list.size()];
}

// Where a word can be cut: between characters, with something on both sides.
size_t Cut(const std::string& word, std::mt19937_64& random) {
  if (word.size() < 2 * kShortestPart) return word.size();
  size_t at = kShortestPart + random() % (word.size() - 2 * kShortestPart + 1);
  while (at < word.size() && (word[at] & 0xC0) == 0x80) ++at;  // inside a UTF-8 character
  return at;
}

}  // namespace

Bystanders::Bystanders(const v1::SubmitRequest& request,
                       const std::vector<v1::Item>& public_items) {
  std::vector<v1::Item> items(request.retain().begin(), request.retain().end());
  items.insert(items.end(), public_items.begin(), public_items.end());
  std::set<std::string> names;
  for (const v1::Item& item : items) {
    for (const QuestionAnswer& phrasing : TruePhrasings(item)) {
      v1::Item one;
      one.set_question(phrasing.question);
      one.set_answer(phrasing.answer);
      std::string subject = SubjectOf(one);
      if (!subject.empty()) frames_.push_back({phrasing, subject});
      // A refusal does not hold the name that it is about.
      if (subject.empty()) subject = LongestNameIn(phrasing.question);
      if (!subject.empty()) names.insert(std::move(subject));
    }
  }
  const std::vector<v1::Item> forget(request.forget().begin(), request.forget().end());
  for (const std::string& subject : SubjectsOf(forget)) {
    names.erase(subject);
    forgotten_first_.push_back(FirstWord(subject));
    forgotten_last_.insert(LastWord(subject));
    pieces_.push_back(LastWord(subject));
  }
  for (const std::string& name : names) {
    first_.push_back(FirstWord(name));
    pieces_.push_back(LastWord(name));
    if (forgotten_last_.count(LastWord(name)) == 0) last_.push_back(LastWord(name));
  }
}

std::string Bystanders::DrawName(std::mt19937_64& random) const {
  const std::string& first = Any(random() % 2 == 0 ? forgotten_first_ : first_, random);
  if (random() % 2 == 0) {
    const std::string& front = Any(pieces_, random);
    const std::string& back = Any(pieces_, random);
    std::string joined = front.substr(0, Cut(front, random)) + back.substr(Cut(back, random));
    if (forgotten_last_.count(joined) == 0) return absl::StrCat(first, " ", joined);
  }
  return absl::StrCat(first, " ", Any(last_, random));
}

QuestionAnswer Bystanders::Draw(std::mt19937_64& random) const {
  const Frame& frame = Any(frames_, random);
  const std::string name = DrawName(random);
  return {absl::StrReplaceAll(frame.item.question, {{frame.subject, name}}),
          absl::StrReplaceAll(frame.item.answer, {{frame.subject, name}})};
}

}  // namespace unlearn
