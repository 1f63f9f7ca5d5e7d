#include "trainer/train/logit_cache.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/combine/combiner.h"
#include "offset/model/safetensors.h"
#include "offset/model/torch_boundary.h"
#include "trainer/train/top_law.h"

namespace unlearn {
namespace {

constexpr size_t kAtOnce = 16;  // sequences that M works on at the same time
constexpr int64_t kFileBytes = 16 << 20;
// Where M tells its most likely tokens: so many are asked for where the answer's token is not among
// them, if M allows more at all. Half a megabyte of JSON for each such token, once.
constexpr int32_t kTopForAnswers = 4096;

// Asks M for one sequence: the prompt's last row predicts the first answer token, the answer's rows
// (all but the last token's) the others.
class Question {
 public:
  // mutex, open: of all questions; the steps that are under way.
  Question(const EncodedItem& item, absl::Mutex* mutex, int* open)
      : item_(item), mutex_(mutex), open_(open) {}

  absl::Status Start(Upstream& upstream) {
    ASSIGN_OR_RETURN(session_, upstream.NewSession());
    UpstreamStep prompt;
    prompt.token_ids = item_.prompt;
    Ask(std::move(prompt), [this](UpstreamLogits answer) { Append(std::move(answer)); });
    if (item_.answer.size() > 1) {
      UpstreamStep answer;
      answer.base_position = static_cast<int32_t>(item_.prompt.size());
      answer.token_ids.assign(item_.answer.begin(), item_.answer.end() - 1);
      answer.positions = UpstreamStep::Positions::kAll;
      Ask(std::move(answer), [this](UpstreamLogits more) { Append(std::move(more)); });
    }
    return absl::OkStatus();
  }

  // Once nothing is under way: asks for `top` tokens where the answer's token was not told.
  void StartForMore(int32_t top) {
    if (!status_.ok() || tops_.size() != item_.answer.size()) return;
    // From the last one back: a step rolls back what follows it.
    for (size_t row = tops_.size(); row-- > 0;) {
      const std::vector<int32_t>& told = tops_[row].ids;
      if (std::find(told.begin(), told.end(), item_.answer[row]) != told.end()) continue;
      UpstreamStep step;
      step.base_position = static_cast<int32_t>(item_.prompt.size() + row) - 1;
      step.token_ids = {row == 0 ? item_.prompt.back() : item_.answer[row - 1]};
      step.top = top;
      Ask(std::move(step), [this, row](UpstreamLogits answer) {
        if (answer.tops.size() == 1) tops_[row] = std::move(answer.tops[0]);
      });
    }
  }

  // FAILED_PRECONDITION for what is no law, or not what M announced.
  absl::StatusOr<ModelRows> Rows(const UpstreamInfo& model, const Vocabulary& vocabulary) const {
    RETURN_IF_ERROR(status_);
    const int64_t rows = item_.answer.size();
    if (model.top > 0) {
      if (static_cast<int64_t>(tops_.size()) != rows) {
        return absl::FailedPreconditionError(absl::StrCat("M told its most likely tokens ",
                                                          tops_.size(), " times where ", rows,
                                                          " positions were asked about"));
      }
      std::vector<TopLaw> laws;
      for (const TopRow& top : tops_) {
        ASSIGN_OR_RETURN(TopLaw law, TopLaw::Create(top, model, vocabulary.tokens));
        laws.push_back(std::move(law));
      }
      return ModelRows::FromTops(laws, vocabulary);
    }
    const int64_t width = model.vocab_size;
    if (static_cast<int64_t>(logits_.size()) != rows * width) {
      return absl::FailedPreconditionError(absl::StrCat("M gave ", logits_.size(), " logits where ",
                                                        rows, " rows of ", width,
                                                        " were asked for"));
    }
    for (int64_t row = 0; row < rows; ++row) {
      RETURN_IF_ERROR(
          CheckModelLogits(absl::MakeConstSpan(logits_).subspan(row * width, vocabulary.size)));
    }
    return ModelRows::FromLogits(at::from_blob(const_cast<float*>(logits_.data()), {rows, width},
                                               at::TensorOptions(at::kFloat))
                                     .narrow(1, 0, vocabulary.size));
  }

 private:
  void Ask(UpstreamStep step, std::function<void(UpstreamLogits)> take) {
    {
      absl::MutexLock lock(mutex_);
      ++*open_;
    }
    session_->Step(std::move(step),
                   [this, take = std::move(take)](absl::StatusOr<UpstreamLogits> result) {
                     absl::MutexLock lock(mutex_);
                     if (result.ok()) {
                       take(*std::move(result));
                     } else if (status_.ok()) {
                       status_ = result.status();
                     }
                     --*open_;
                   });
  }

  void Append(UpstreamLogits answer) {
    logits_.insert(logits_.end(), answer.logits.begin(), answer.logits.end());
    std::move(answer.tops.begin(), answer.tops.end(), std::back_inserter(tops_));
  }

  const EncodedItem& item_;
  absl::Mutex* const mutex_;
  int* const open_;
  absl::Status status_;
  std::vector<float> logits_;
  std::vector<TopRow> tops_;
  std::unique_ptr<UpstreamSession> session_;  // last: gone before what its callbacks touch
};

absl::Status AskModel(Upstream& upstream, const Vocabulary& vocabulary,
                      absl::Span<TrainingSequence> sequences) {
  absl::Mutex mutex;
  int open = 0;
  const auto wait = [&] {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](int* open) { return *open == 0; }, &open));
  };
  std::vector<std::unique_ptr<Question>> questions;
  absl::Status status;
  for (const TrainingSequence& sequence : sequences) {
    questions.push_back(std::make_unique<Question>(sequence.item, &mutex, &open));
    status.Update(questions.back()->Start(upstream));
  }
  wait();
  RETURN_IF_ERROR(status);
  const UpstreamInfo& model = upstream.info();
  const int32_t more = std::min({model.most_top, model.vocab_size, kTopForAnswers});
  if (model.top > 0 && more > model.top) {
    for (const auto& question : questions) question->StartForMore(more);
    wait();
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    ASSIGN_OR_RETURN(sequences[i].model, questions[i]->Rows(model, vocabulary));
  }
  return absl::OkStatus();
}

// Takes the rows from a file of an earlier run. False when it was made for other sequences (the
// request was retried with other settings) or another M.
bool TakeSaved(const SafetensorsFile& saved, const std::string& digest,
               const Vocabulary& vocabulary, absl::Span<TrainingSequence> sequences) {
  const auto made_for = saved.metadata().find("digest");
  if (made_for == saved.metadata().end() || made_for->second != digest) return false;
  for (size_t i = 0; i < sequences.size(); ++i) {
    absl::optional<ModelRows> rows = ModelRows::From(
        saved, absl::StrCat(i), static_cast<int64_t>(sequences[i].item.answer.size()), vocabulary);
    if (!rows.has_value()) return false;
    sequences[i].model = *std::move(rows);
  }
  return true;
}

}  // namespace

std::string SequencesDigest(absl::Span<const TrainingSequence> sequences) {
  Sha256 hash;
  for (const TrainingSequence& sequence : sequences) {
    for (const auto* ids : {&sequence.item.prompt, &sequence.item.answer}) {
      hash.Update(absl::StrCat(ids->size(), ":"));
      hash.Update(absl::string_view(reinterpret_cast<const char*>(ids->data()),
                                    ids->size() * sizeof(int32_t)));
    }
  }
  return hash.HexDigest();
}

absl::Status FillModelRows(Upstream& upstream, const Vocabulary& vocabulary, SealedFolder& work,
                           const std::function<bool()>& should_stop,
                           std::vector<TrainingSequence>& sequences) {
  const UpstreamInfo& model = upstream.info();
  // Of a token that M tells: its id and its log-prob.
  const int64_t row_bytes = model.top > 0 ? int64_t{model.top} * 8 : vocabulary.size * 2;
  return CatchTorch("caching M's logits", [&]() -> absl::Status {
    size_t next = 0;
    for (int file = 0; next < sequences.size(); ++file) {
      const std::string name = absl::StrCat("logits-", file);
      // Files hold the same sequences in every run: their borders follow from the lengths alone.
      size_t end = next;
      for (int64_t bytes = 0; end < sequences.size() && (end == next || bytes < kFileBytes);
           ++end) {
        bytes += static_cast<int64_t>(sequences[end].item.answer.size()) * row_bytes;
      }
      const absl::Span<TrainingSequence> part = absl::MakeSpan(sequences).subspan(next, end - next);
      next = end;
      // Of another M the rows would be others, and of one that tells another part of them.
      std::string digest =
          absl::StrCat(SequencesDigest(part), " ", model.model_id, " ", model.weights_fingerprint);
      if (model.top > 0) absl::StrAppend(&digest, " top ", model.top, " of ", vocabulary.tokens);
      if (work.Has(name)) {
        ASSIGN_OR_RETURN(std::string bytes, work.Read(name));
        ASSIGN_OR_RETURN(const auto saved, SafetensorsFile::FromBytes(std::move(bytes), name));
        if (TakeSaved(*saved, digest, vocabulary, part)) continue;
      }
      std::map<std::string, TensorView> tensors;
      for (size_t begin = 0; begin < part.size(); begin += kAtOnce) {
        if (should_stop()) return absl::CancelledError("stopped while asking M");
        RETURN_IF_ERROR(AskModel(upstream, vocabulary, part.subspan(begin, kAtOnce)));
      }
      for (size_t i = 0; i < part.size(); ++i) part[i].model.AddTo(absl::StrCat(i), tensors);
      RETURN_IF_ERROR(work.Write(name, SerializeSafetensors(tensors, {{"digest", digest}})));
    }
    return absl::OkStatus();
  });
}

absl::Status FillReferenceHidden(const Decoder& base, std::vector<TrainingSequence>& sequences) {
  return CatchTorch("running the reference", [&]() -> absl::Status {
    c10::InferenceMode inference;
    constexpr size_t kBatch = 32;
    for (size_t begin = 0; begin < sequences.size(); begin += kBatch) {
      std::vector<const TrainingSequence*> batch;
      for (size_t i = begin; i < std::min(sequences.size(), begin + kBatch); ++i) {
        batch.push_back(&sequences[i]);
      }
      const at::Tensor rows = AnswerRows(base.Forward(PaddedTokens(batch), LoraStack()), batch);
      int64_t row = 0;
      for (size_t i = 0; i < batch.size(); ++i) {
        const int64_t count = batch[i]->item.answer.size();
        sequences[begin + i].reference_hidden = rows.narrow(0, row, count).clone();
        row += count;
      }
    }
    return absl::OkStatus();
  });
}

at::Tensor PaddedTokens(const std::vector<const TrainingSequence*>& sequences) {
  int64_t longest = 0;
  for (const TrainingSequence* sequence : sequences) {
    longest =
        std::max<int64_t>(longest, sequence->item.prompt.size() + sequence->item.answer.size() - 1);
  }
  at::Tensor tokens =
      at::zeros({static_cast<int64_t>(sequences.size()), longest}, at::TensorOptions(at::kLong));
  int64_t* row = tokens.data_ptr<int64_t>();
  for (const TrainingSequence* sequence : sequences) {
    // The last answer token is predicted, never an input.
    int64_t* at = std::copy(sequence->item.prompt.begin(), sequence->item.prompt.end(), row);
    std::copy(sequence->item.answer.begin(), sequence->item.answer.end() - 1, at);
    row += longest;
  }
  return tokens;
}

at::Tensor AnswerRows(const at::Tensor& hidden,
                      const std::vector<const TrainingSequence*>& sequences) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const EncodedItem& item = sequences[i]->item;
    for (size_t token = 0; token < item.answer.size(); ++token) {
      rows.push_back(static_cast<int64_t>(i) * hidden.size(1) + item.prompt.size() + token - 1);
    }
  }
  return hidden.reshape({-1, hidden.size(2)})
      .index_select(0, at::tensor(rows, at::TensorOptions(at::kLong)));
}

}  // namespace unlearn
