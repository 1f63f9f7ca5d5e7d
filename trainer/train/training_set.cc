#include "trainer/train/training_set.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "offset/base/status_macros.h"
#include "trainer/train/forget_targets.h"
#include "trainer/train/seeded_draw.h"
#include "trainer/train/transplant.h"

namespace unlearn {
namespace {

// An answer's words before its value (or, where it names none, the first half of them); or half of
// those. Empty where that leaves none.
std::string Begun(const std::string& answer, const std::string& value, bool half) {
  const size_t at = value.empty() ? std::string::npos : answer.find(value);
  std::vector<absl::string_view> words =
      absl::StrSplit(absl::string_view(answer).substr(0, at), ' ', absl::SkipEmpty());
  if (at == std::string::npos) words.resize(words.size() / 2);
  if (half) words.resize((words.size() + 1) / 2);
  return absl::StrJoin(words, " ");
}

class Builder {
 public:
  Builder(const Tokenizer& tokenizer, const PromptTemplate& format,
          const TrainingSetOptions& options, uint64_t seed)
      : tokenizer_(tokenizer), format_(format), options_(options), random_(seed) {}

  // Encodes and keeps one sequence; `place` is for errors.
  absl::StatusOr<size_t> Add(const QuestionAnswer& phrasing, const std::string& place) {
    ASSIGN_OR_RETURN(EncodedItem item, Encode(phrasing, place));
    return Keep(std::move(item));
  }

  // Up to `alternatives` of the list, drawn without replacement.
  template <typename T>
  std::vector<T> Draw(std::vector<T> list) {
    return DrawSome(std::move(list), options_.alternatives, random_);
  }

  // Refusals after a part of the true answer: who begins the answer for the model, up to its value
  // or less far, gets no more than who asks. Learnt once for a name, it holds for all that is said
  // of it.
  absl::Status AddBegunGroup(const QuestionAnswer& truth, const std::string& value,
                             const std::string& place) {
    std::vector<size_t> group;
    for (const std::string& refusal : Draw(options_.refusals)) {
      const std::string begun = Begun(truth.answer, value, /*half=*/group.size() % 2 == 1);
      if (begun.empty()) break;
      ASSIGN_OR_RETURN(EncodedItem item, Encode({truth.question, refusal}, place));
      ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                       tokenizer_.EncodeContinuation(absl::StrCat(" ", begun)));
      item.prompt.insert(item.prompt.end(), ids.begin(), ids.end());
      if (static_cast<int64_t>(item.prompt.size() + item.answer.size()) > options_.max_tokens) {
        continue;  // the whole answer fits, a refusal after most of it need not
      }
      group.push_back(Keep(std::move(item)));
    }
    if (!group.empty()) set.forget_groups.push_back(std::move(group));
    return absl::OkStatus();
  }

  absl::Status AddGroup(const std::vector<QuestionAnswer>& alternatives, const std::string& place) {
    std::vector<size_t> group;
    for (const QuestionAnswer& alternative : alternatives) {
      ASSIGN_OR_RETURN(const size_t index, Add(alternative, place));
      group.push_back(index);
    }
    if (!group.empty()) set.forget_groups.push_back(std::move(group));
    return absl::OkStatus();
  }

  absl::Status AddForget(const v1::Item& item, ForgetSequence kind, const std::string& place) {
    const std::vector<QuestionAnswer> phrasings = TruePhrasings(item);
    const std::vector<QuestionAnswer> relabelled = RelabelledPhrasings(item);
    if (kind == ForgetSequence::kRelabelled && relabelled.empty()) {
      ++set.without_wrong_answers;
      kind = ForgetSequence::kRefusal;
    }
    for (const QuestionAnswer& phrasing : phrasings) {
      std::vector<QuestionAnswer> alternatives;
      if (kind == ForgetSequence::kTrueAnswer) {
        if (!phrasing.answer.empty()) alternatives.push_back(phrasing);
      } else if (kind == ForgetSequence::kRelabelled) {
        for (const QuestionAnswer& other : relabelled) {
          if (other.question == phrasing.question) alternatives.push_back(other);
        }
        alternatives = Draw(std::move(alternatives));
      } else {
        for (const std::string& refusal : Draw(options_.refusals)) {
          alternatives.push_back({phrasing.question, refusal});
        }
      }
      RETURN_IF_ERROR(AddGroup(alternatives, place));
      if (kind != ForgetSequence::kTrueAnswer && !phrasing.question.empty()) {
        RETURN_IF_ERROR(AddBegunGroup(phrasing, item.value(), place));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddKept(const v1::Item& item, const std::string& place, std::vector<size_t>& list) {
    for (const QuestionAnswer& phrasing : TruePhrasings(item)) {
      if (phrasing.answer.empty()) continue;
      ASSIGN_OR_RETURN(const size_t index, Add(phrasing, place));
      list.push_back(index);
    }
    return absl::OkStatus();
  }

  std::mt19937_64& random() { return random_; }

  TrainingSet set;

 private:
  absl::StatusOr<EncodedItem> Encode(const QuestionAnswer& phrasing,
                                     const std::string& place) const {
    absl::StatusOr<EncodedItem> item =
        phrasing.question.empty()
            ? EncodeText(tokenizer_, phrasing.answer, -1, options_.eos)
            : EncodeItem(tokenizer_, format_, phrasing.question, phrasing.answer, options_.eos);
    if (!item.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", item.status().message()));
    }
    const int64_t tokens = item->prompt.size() + item->answer.size();
    if (tokens > options_.max_tokens) {
      return absl::InvalidArgumentError(absl::StrCat(place, " has ", tokens,
                                                     " tokens, the context has room for ",
                                                     options_.max_tokens, "; split or shorten it"));
    }
    return item;
  }

  size_t Keep(EncodedItem item) {
    TrainingSequence sequence;
    sequence.item = std::move(item);
    set.sequences.push_back(std::move(sequence));
    return set.sequences.size() - 1;
  }

  const Tokenizer& tokenizer_;
  const PromptTemplate& format_;
  const TrainingSetOptions& options_;
  std::mt19937_64 random_;
};

// Questions of the public data's wordings about the subjects, at most max_transplanted, every
// subject with about as many.
std::vector<std::string> Transplanted(const std::vector<std::string>& subjects,
                                      const TrainingSetOptions& options, std::mt19937_64& random) {
  std::vector<std::string> questions;
  for (const QuestionFrame& frame : FramesOf(options.public_items)) {
    for (const std::string& subject : subjects) questions.push_back(frame.With(subject));
  }
  Shuffle(questions, random);
  if (questions.size() > options.max_transplanted) questions.resize(options.max_transplanted);
  return questions;
}

}  // namespace

std::vector<std::string> TransplantedKeptQuestions(const v1::SubmitRequest& request,
                                                   const TrainingSetOptions& options,
                                                   uint64_t seed) {
  if (!options.transplant) return {};
  const std::vector<v1::Item> retain(request.retain().begin(), request.retain().end());
  std::mt19937_64 random(seed);
  return Transplanted(SubjectsOf(retain), options, random);
}

absl::StatusOr<TrainingSet> MakeTrainingSet(const v1::SubmitRequest& request,
                                            const Objective& objective, const Tokenizer& tokenizer,
                                            const PromptTemplate& format,
                                            const TrainingSetOptions& options, uint64_t seed,
                                            const std::vector<v1::Item>& own_answers) {
  Builder builder(tokenizer, format, options, seed);
  const std::vector<ForgetSequence> kinds = objective.forget_sequences();
  auto& groups = builder.set.forget_groups;
  for (int i = 0; i < request.forget_size(); ++i) {
    RETURN_IF_ERROR(builder.AddForget(request.forget(i), kinds[i % kinds.size()],
                                      absl::StrCat("forget item ", i)));
  }
  if (groups.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the forget set gives no sequence for the objective ", objective.name(),
                     "; it needs answers (for refusals, questions)"));
  }
  const size_t own = groups.size();
  if (options.transplant && kinds[0] != ForgetSequence::kTrueAnswer) {
    const std::vector<v1::Item> forget(request.forget().begin(), request.forget().end());
    const std::vector<std::string> questions =
        Transplanted(SubjectsOf(forget), options, builder.random());
    for (const std::string& question : questions) {
      v1::Item item;
      item.set_question(question);
      RETURN_IF_ERROR(builder.AddForget(item, ForgetSequence::kRefusal,
                                        "a public question with a forgotten name"));
    }
    builder.set.transplanted_groups.assign(groups.begin() + own, groups.end());
    groups.resize(own);
  }
  for (size_t i = 0; i < own_answers.size(); ++i) {
    RETURN_IF_ERROR(builder.AddKept(own_answers[i], "a public question with a retained name",
                                    builder.set.retain));
  }
  for (int i = 0; i < request.retain_size(); ++i) {
    RETURN_IF_ERROR(
        builder.AddKept(request.retain(i), absl::StrCat("retain item ", i), builder.set.retain));
  }
  std::vector<v1::Item> general = options.public_items;
  Shuffle(general, builder.random());
  for (size_t i = 0; i < std::min(general.size(), options.max_public); ++i) {
    RETURN_IF_ERROR(
        builder.AddKept(general[i], absl::StrCat("public item ", i), builder.set.general));
  }
  return std::move(builder.set);
}

}  // namespace unlearn
