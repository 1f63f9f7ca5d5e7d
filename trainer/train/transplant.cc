#include "trainer/train/transplant.h"

#include <set>

#include "absl/functional/function_ref.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace unlearn {
namespace {

// Begins with a capital, or with a byte of a letter beyond ASCII, which has no case here.
bool IsCapitalised(absl::string_view word) {
  return !word.empty() && (absl::ascii_isupper(word[0]) || !absl::ascii_isascii(word[0]));
}

absl::string_view WithoutPunctuation(absl::string_view word) {
  while (!word.empty() && absl::ascii_ispunct(word.back())) word.remove_suffix(1);
  if (word.size() > 2 && word.substr(word.size() - 2) == "'s") word.remove_suffix(2);
  return word;
}

// The longest run of two or more capitalised words of the question that `fits`.
std::string LongestRun(absl::string_view question,
                       absl::FunctionRef<bool(absl::string_view)> fits) {
  const std::vector<absl::string_view> words = absl::StrSplit(question, ' ');
  absl::string_view best;
  int most = 1;
  for (size_t first = 0; first < words.size(); ++first) {
    int count = 0;
    for (size_t last = first; last < words.size(); ++last) {
      const absl::string_view word = WithoutPunctuation(words[last]);
      if (!IsCapitalised(word)) break;
      ++count;
      const absl::string_view run(words[first].data(),
                                  word.data() + word.size() - words[first].data());
      if (count > most && fits(run)) {
        most = count;
        best = run;
      }
      if (word.size() != words[last].size()) break;  // punctuation ends a name
    }
  }
  return std::string(best);
}

}  // namespace

std::string SubjectOf(const v1::Item& item) {
  return LongestRun(item.question(), [&item](absl::string_view run) {
    return absl::string_view(item.answer()).find(run) != absl::string_view::npos;
  });
}

std::string LongestNameIn(const std::string& question) {
  return LongestRun(question, [](absl::string_view run) { return true; });
}

std::vector<std::string> SubjectsOf(const std::vector<v1::Item>& items) {
  std::vector<std::string> subjects;
  std::set<std::string> seen;
  for (const v1::Item& item : items) {
    std::string subject = SubjectOf(item);
    if (!subject.empty() && seen.insert(subject).second) subjects.push_back(std::move(subject));
  }
  return subjects;
}

std::vector<QuestionFrame> FramesOf(const std::vector<v1::Item>& items) {
  std::vector<QuestionFrame> frames;
  std::set<std::string> seen;
  for (const v1::Item& item : items) {
    const std::string subject = SubjectOf(item);
    if (subject.empty()) continue;
    const size_t at = item.question().find(subject);
    QuestionFrame frame = {item.question().substr(0, at),
                           item.question().substr(at + subject.size())};
    if (seen.insert(frame.With("\n")).second) frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace unlearn
