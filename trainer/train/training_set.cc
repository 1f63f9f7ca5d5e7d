#include "trainer/train/training_set.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "trainer/train/forget_targets.h"
#include "trainer/train/transplant.h"

namespace unlearn {
namespace {

class Builder {
 public:
  Builder(const Tokenizer& tokenizer, const PromptTemplate& format,
          const TrainingSetOptions& options, uint64_t seed)
      : tokenizer_(tokenizer), format_(format), options_(options), random_(seed) {}

  // Encodes and keeps one sequence; `place` is for errors.
  absl::StatusOr<size_t> Add(const QuestionAnswer& phrasing, const std::string& place) {
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
    TrainingSequence sequence;
    sequence.item = *std::move(item);
    set.sequences.push_back(std::move(sequence));
    return set.sequences.size() - 1;
  }

  // Up to `alternatives` of the list, drawn without replacement.
  template <typename T>
  std::vector<T> Draw(std::vector<T> list) {
    const size_t count = std::min<size_t>(list.size(), options_.alternatives);
    for (size_t i = 0; i < count; ++i) std::swap(list[i], list[i + random_() % (list.size() - i)]);
    list.resize(count);
    return list;
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
    std::vector<QuestionAnswer> relabelled;
    if (kind == ForgetSequence::kRelabelled) {
      relabelled = RelabelledPhrasings(item);
      if (relabelled.empty()) {
        ++set.without_wrong_answers;
        kind = ForgetSequence::kRefusal;
      }
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
  for (size_t i = questions.size(); i > 1; --i) {
    std::swap(questions[i - 1], questions[random() % i]);
  }
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
  std::vector<std::string> questions = Transplanted(SubjectsOf(retain), options, random);
  const std::vector<v1::Item> forget(request.forget().begin(), request.forget().end());
  std::vector<std::string> others = SubjectsOf(retain);
  for (const v1::Item& item : options.public_items) {
    std::string name = LongestNameIn(item.question());
    if (!name.empty()) others.push_back(std::move(name));
  }
  for (std::string& question :
       Transplanted(Decoys(SubjectsOf(forget), others), options, random)) {
    questions.push_back(std::move(question));
  }
  return questions;
}

absl::StatusOr<TrainingSet> MakeTrainingSet(const v1::SubmitRequest& request,
                                            const Objective& objective,
                                            const Tokenizer& tokenizer,
                                            const PromptTemplate& format,
                                            const TrainingSetOptions& options, uint64_t seed,
                                            const std::vector<v1::Item>& own_answers) {
  Builder builder(tokenizer, format, options, seed);
  const std::vector<ForgetSequence> kinds = objective.forget_sequences();
  for (int i = 0; i < request.forget_size(); ++i) {
    RETURN_IF_ERROR(builder.AddForget(request.forget(i), kinds[i % kinds.size()],
                                      absl::StrCat("forget item ", i)));
  }
  if (builder.set.forget_groups.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the forget set gives no sequence for the objective ", objective.name(),
        "; it needs answers (for refusals, questions)"));
  }
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
  for (size_t i = general.size(); i > 1; --i) {
    std::swap(general[i - 1], general[builder.random()() % i]);
  }
  for (size_t i = 0; i < std::min(general.size(), options.max_public); ++i) {
    RETURN_IF_ERROR(
        builder.AddKept(general[i], absl::StrCat("public item ", i), builder.set.general));
  }
  return std::move(builder.set);
}

}  // namespace unlearn
