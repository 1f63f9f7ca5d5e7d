#include "trainer/train/logit_cache.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/combine/combiner.h"
#include "offset/model/safetensors.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

constexpr size_t kAtOnce = 16;  // sequences that M works on at the same time
constexpr int64_t kFileBytes = 16 << 20;

// Asks M for one sequence: the prompt's last row predicts the first answer token, the answer's rows
// (all but the last token's) the others. `done` runs when the rows are there.
class Question {
 public:
  Question(const EncodedItem& item, absl::Mutex* mutex, int* open)
      : item_(item), mutex_(mutex), open_(open) {}

  absl::Status Start(Upstream& upstream) {
    ASSIGN_OR_RETURN(session_, upstream.NewSession());
    UpstreamStep prompt;
    prompt.token_ids = item_.prompt;
    session_->Step(std::move(prompt), Take());
    if (item_.answer.size() > 1) {
      UpstreamStep answer;
      answer.base_position = static_cast<int32_t>(item_.prompt.size());
      answer.token_ids.assign(item_.answer.begin(), item_.answer.end() - 1);
      answer.positions = UpstreamStep::Positions::kAll;
      session_->Step(std::move(answer), Take());
    }
    return absl::OkStatus();
  }

  const absl::Status& status() const { return status_; }
  const std::vector<float>& rows() const { return rows_; }

 private:
  UpstreamSession::Callback Take() {
    {
      absl::MutexLock lock(mutex_);
      ++*open_;
    }
    return [this](absl::StatusOr<UpstreamLogits> result) {
      absl::MutexLock lock(mutex_);
      if (result.ok()) {
        rows_.insert(rows_.end(), result->logits.begin(), result->logits.end());
      } else if (status_.ok()) {
        status_ = result.status();
      }
      --*open_;
    };
  }

  const EncodedItem& item_;
  absl::Mutex* const mutex_;
  int* const open_;  // steps under way over all questions
  absl::Status status_;
  std::vector<float> rows_;
  std::unique_ptr<UpstreamSession> session_;  // last: gone before what its callbacks touch
};

absl::Status AskModel(Upstream& upstream, int64_t vocab_size,
                      absl::Span<TrainingSequence> sequences) {
  absl::Mutex mutex;
  int open = 0;
  std::vector<std::unique_ptr<Question>> questions;
  absl::Status status;
  for (const TrainingSequence& sequence : sequences) {
    questions.push_back(std::make_unique<Question>(sequence.item, &mutex, &open));
    status.Update(questions.back()->Start(upstream));
  }
  {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](int* open) { return *open == 0; }, &open));
  }
  RETURN_IF_ERROR(status);
  const int64_t width = upstream.info().vocab_size;
  for (size_t i = 0; i < sequences.size(); ++i) {
    RETURN_IF_ERROR(questions[i]->status());
    const int64_t rows = sequences[i].item.answer.size();
    const std::vector<float>& logits = questions[i]->rows();
    if (static_cast<int64_t>(logits.size()) != rows * width) {
      return absl::FailedPreconditionError(absl::StrCat(
          "M gave ", logits.size(), " logits where ", rows, " rows of ", width, " were asked for"));
    }
    for (int64_t row = 0; row < rows; ++row) {
      RETURN_IF_ERROR(
          CheckModelLogits(absl::MakeConstSpan(logits).subspan(row * width, vocab_size)));
    }
    const at::Tensor all = at::from_blob(const_cast<float*>(logits.data()), {rows, width},
                                         at::TensorOptions(at::kFloat))
                               .narrow(1, 0, vocab_size);
    sequences[i].model_logits = (all - all.amax(1, /*keepdim=*/true)).to(at::kHalf);
  }
  return absl::OkStatus();
}

// Takes the rows from a file of an earlier run. False when it was made for other sequences (the
// request was retried with other settings) or another M.
bool TakeSaved(const SafetensorsFile& saved, const std::string& digest, int64_t vocab_size,
               absl::Span<TrainingSequence> sequences) {
  const auto made_for = saved.metadata().find("digest");
  if (made_for == saved.metadata().end() || made_for->second != digest) return false;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto it = saved.tensors().find(absl::StrCat(i));
    const std::vector<int64_t> shape = {static_cast<int64_t>(sequences[i].item.answer.size()),
                                        vocab_size};
    if (it == saved.tensors().end() || it->second.shape != shape || it->second.dtype != "F16") {
      return false;
    }
    at::Tensor rows = at::empty(shape, at::TensorOptions(at::kHalf));
    std::copy_n(it->second.data, it->second.bytes, static_cast<char*>(rows.data_ptr()));
    sequences[i].model_logits = rows;
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

absl::Status FillModelLogits(Upstream& upstream, int64_t vocab_size, SealedFolder& work,
                             const std::function<bool()>& should_stop,
                             std::vector<TrainingSequence>& sequences) {
  return CatchTorch("caching M's logits", [&]() -> absl::Status {
    size_t next = 0;
    for (int file = 0; next < sequences.size(); ++file) {
      const std::string name = absl::StrCat("logits-", file);
      // Files hold the same sequences in every run: their borders follow from the lengths alone.
      size_t end = next;
      for (int64_t bytes = 0; end < sequences.size() && (end == next || bytes < kFileBytes);
           ++end) {
        bytes += sequences[end].item.answer.size() * vocab_size * 2;
      }
      const absl::Span<TrainingSequence> part = absl::MakeSpan(sequences).subspan(next, end - next);
      next = end;
      // Of another M the rows would be others.
      const std::string digest = absl::StrCat(SequencesDigest(part), " ", upstream.info().model_id,
                                              " ", upstream.info().weights_fingerprint);
      if (work.Has(name)) {
        ASSIGN_OR_RETURN(std::string bytes, work.Read(name));
        ASSIGN_OR_RETURN(const auto saved, SafetensorsFile::FromBytes(std::move(bytes), name));
        if (TakeSaved(*saved, digest, vocab_size, part)) continue;
      }
      std::map<std::string, at::Tensor> tensors;
      for (size_t begin = 0; begin < part.size(); begin += kAtOnce) {
        if (should_stop()) return absl::CancelledError("stopped while asking M");
        RETURN_IF_ERROR(AskModel(upstream, vocab_size, part.subspan(begin, kAtOnce)));
      }
      for (size_t i = 0; i < part.size(); ++i) tensors[absl::StrCat(i)] = part[i].model_logits;
      RETURN_IF_ERROR(work.Write(name, SerializeTensors(tensors, at::kHalf, {{"digest", digest}})));
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
