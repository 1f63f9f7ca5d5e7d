#include "trainer/train/logit_cache.h"

#include <cmath>

#include "offset/pair/pair_engine.h"
#include "trainer/train/tiny_training.h"

namespace unlearn {
namespace {

class LogitCacheTest : public TinyTrainingTest {
 protected:
  static constexpr Vocabulary kRowIds = {kVocab, kVocab};

  // Prompts and answers of several lengths.
  static std::vector<TrainingSequence> Sequences(int count = 20) {
    std::vector<TrainingSequence> sequences(count);
    for (int i = 0; i < count; ++i) {
      EncodedItem& item = sequences[i].item;
      for (int j = 0; j < 1 + i * 5 % 17; ++j) item.prompt.push_back((i * 13 + j * j) % 256);
      for (int j = 0; j < 1 + i * 3 % 11; ++j) item.answer.push_back((i * 29 + 3 * j) % 256);
    }
    return sequences;
  }

  absl::Status Fill(SealedFolder& work, std::vector<TrainingSequence>& sequences) {
    return FillModelRows(*counted_, kRowIds, work, Never, sequences);
  }

  // M's rows for the answer tokens, by the training forward: [answer tokens, kVocab].
  at::Tensor Direct(const EncodedItem& item) {
    const auto model =
        Decoder::Load(*Checkpoint::Open(root_ + "/model").value(), at::kFloat).value();
    const std::vector<int32_t> tokens = item.Tokens();
    const at::Tensor ids =
        at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong)).unsqueeze(0);
    return model->Logits(model->Forward(ids, LoraStack()))[0]
        .narrow(0, item.prompt.size() - 1, item.answer.size())
        .narrow(1, 0, kVocab);
  }

  static void ExpectEqual(const std::vector<TrainingSequence>& a,
                          const std::vector<TrainingSequence>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(at::equal(a[i].model.Expand(), b[i].model.Expand())) << i;
    }
  }
};

TEST_F(LogitCacheTest, CachedRowsAreMsLessTheirMaximum) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  EXPECT_EQ(counted_->sessions, 20);
  for (const TrainingSequence& sequence : sequences) {
    const at::Tensor cached = sequence.model.Expand();
    EXPECT_TRUE(at::equal(cached, cached.to(at::kHalf).to(at::kFloat))) << "not kept in fp16";
    ASSERT_EQ(cached.sizes(),
              (at::IntArrayRef{static_cast<int64_t>(sequence.item.answer.size()), kVocab}));
    EXPECT_TRUE(at::equal(cached.amax(1), at::zeros({cached.size(0)}, at::kFloat)));
    const at::Tensor direct = Direct(sequence.item);
    const at::Tensor shifted = direct - direct.amax(1, true);
    // fp16 rounds by 2^-11 of the value at most.
    const at::Tensor allowed = shifted.abs() * std::pow(2.0, -11) + 1e-4;
    EXPECT_TRUE(((cached.to(at::kFloat) - shifted).abs() <= allowed).all().item<bool>());
    EXPECT_GT(shifted.abs().mean().item<double>(), 1);
  }
}

TEST_F(LogitCacheTest, ASecondRunAsksMNothing) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> first = Sequences();
  ASSERT_TRUE(Fill(work, first).ok());
  counted_->sessions = 0;
  counted_->refuse = absl::UnavailableError("M is gone");
  std::vector<TrainingSequence> second = Sequences();
  SealedFolder again = Work();
  ASSERT_TRUE(Fill(again, second).ok());
  EXPECT_EQ(counted_->sessions, 0);
  ExpectEqual(first, second);
}

TEST_F(LogitCacheTest, OtherSequencesAreAskedAgain) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  std::vector<std::vector<TrainingSequence>> others(4, Sequences());
  others[0][7].item.answer[0] ^= 1;
  others[1][7].item.prompt[0] ^= 1;
  std::swap(others[2][3], others[2][4]);
  others[3].pop_back();
  for (std::vector<TrainingSequence>& other : others) {
    counted_->sessions = 0;
    ASSERT_TRUE(Fill(work, other).ok());
    EXPECT_EQ(counted_->sessions, static_cast<int>(other.size()));
    const at::Tensor direct = Direct(other[7].item);
    EXPECT_LT(
        (other[7].model.Expand() - (direct - direct.amax(1, true))).abs().max().item<double>(),
        0.02);
  }
}

// The border between prompt and answer belongs to the sequence, not only its tokens.
TEST_F(LogitCacheTest, TheDigestKnowsTheBorder) {
  std::vector<TrainingSequence> a(1), b(1);
  a[0].item = {{1, 2}, {3, 4}};
  b[0].item = {{1}, {2, 3, 4}};
  EXPECT_NE(SequencesDigest(a), SequencesDigest(b));
  EXPECT_EQ(SequencesDigest(a), SequencesDigest(a));
}

TEST_F(LogitCacheTest, AnotherModelIsAskedAgain) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  counted_->sessions = 0;
  counted_->mutable_info().weights_fingerprint = "another";
  ASSERT_TRUE(Fill(work, sequences).ok());
  EXPECT_EQ(counted_->sessions, 20);
}

TEST_F(LogitCacheTest, ADamagedFileIsAnError) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  const std::string path = root_ + "/work/logits-0";
  std::string bytes = ReadFile(path).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LogitCacheTest, ErrorsOfMAreHandedOnAndNothingIsKept) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  counted_->refuse = absl::UnavailableError("M is gone");
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kUnavailable);
  counted_->refuse = absl::OkStatus();
  int answers = 0;
  counted_->change_answer = [&](absl::StatusOr<UpstreamLogits>& answer) {
    if (++answers == 9) answer = absl::DeadlineExceededError("M is slow");
  };
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kDeadlineExceeded);
  counted_->change_answer = [&](absl::StatusOr<UpstreamLogits>& answer) {
    answer->logits[5] = NAN;
  };
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kFailedPrecondition);
  counted_->change_answer = [&](absl::StatusOr<UpstreamLogits>& answer) {
    answer->logits.pop_back();
  };
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(work.Has("logits-0"));
  counted_->change_answer = nullptr;
  EXPECT_TRUE(Fill(work, sequences).ok());
}

TEST_F(LogitCacheTest, StopsBetweenQuestions) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences(40);
  int asked = 0;
  EXPECT_EQ(FillModelRows(
                *counted_, kRowIds, work, [&] { return ++asked == 2; }, sequences)
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_GT(counted_->sessions, 0);
  EXPECT_LT(counted_->sessions, 40);
}

TEST_F(LogitCacheTest, ReferenceHiddenIsTheBasesOwn) {
  std::vector<TrainingSequence> sequences = Sequences(50);
  ASSERT_TRUE(FillReferenceHidden(*base_, sequences).ok());
  for (const TrainingSequence& sequence : sequences) {
    const std::vector<const TrainingSequence*> alone = {&sequence};
    const at::Tensor hidden = AnswerRows(base_->Forward(PaddedTokens(alone), LoraStack()), alone);
    ASSERT_EQ(sequence.reference_hidden.sizes(), hidden.sizes());
    EXPECT_LT((sequence.reference_hidden - hidden).abs().max().item<double>(), 1e-5);
  }
}

TEST_F(LogitCacheTest, PaddingAndAnswerRows) {
  std::vector<TrainingSequence> sequences(2);
  sequences[0].item = {{1, 2, 3}, {4, 5}};
  sequences[1].item = {{6}, {7, 8, 9}};
  const std::vector<const TrainingSequence*> both = {&sequences[0], &sequences[1]};
  const at::Tensor tokens = PaddedTokens(both);
  EXPECT_TRUE(at::equal(tokens, at::tensor({1, 2, 3, 4, 6, 7, 8, 0}, at::kLong).view({2, 4})));
  // With the token itself as its hidden state, the rows are what each answer token follows.
  EXPECT_TRUE(at::equal(AnswerRows(tokens.unsqueeze(2), both).squeeze(1),
                        at::tensor({3, 4, 6, 7, 8}, at::kLong)));
}

class TopLogitCacheTest : public LogitCacheTest {
 protected:
  // What M tells of its law for each answer token: the `top` most likely, or `more` where the
  // answer is not among them.
  void ExpectTops(const std::vector<TrainingSequence>& sequences, int top, int more) {
    for (const TrainingSequence& sequence : sequences) {
      const at::Tensor rows = sequence.model.Expand();
      const at::Tensor direct = Direct(sequence.item);
      ASSERT_EQ(rows.sizes(), direct.sizes());
      for (int64_t row = 0; row < rows.size(0); ++row) {
        const int32_t answer = sequence.item.answer[row];
        const at::Tensor order = direct[row].argsort(0, /*descending=*/true);
        const int64_t rank = (order == answer).nonzero().item<int64_t>();
        const int64_t k = rank < top ? top : more;
        const at::Tensor told = order.narrow(0, 0, k);
        const at::Tensor shifted = direct[row] - direct[row].max();
        EXPECT_LT((rows[row].index_select(0, told) - shifted.index_select(0, told))
                      .abs()
                      .max()
                      .item<double>(),
                  1e-4);
        if (k == kVocab) continue;
        const at::Tensor others = rows[row].index_select(0, order.narrow(0, k, kVocab - k));
        EXPECT_EQ(others.min().item<float>(), others.max().item<float>());
        const double mass =
            1 - at::softmax(direct[row], 0).index_select(0, told).sum().item<double>();
        const double first = at::softmax(direct[row], 0).max().item<double>();
        EXPECT_NEAR(std::exp(others[0].item<double>()) * first * (kVocab - k), mass, 1e-4);
      }
    }
  }
};

TEST_F(TopLogitCacheTest, CachedRowsAreWhatMTold) {
  TellTops(6, 6);
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  EXPECT_EQ(counted_->sessions, 20);
  EXPECT_EQ(tops_->asked_for_more, 0);
  ExpectTops(sequences, 6, 6);
}

TEST_F(TopLogitCacheTest, MoreIsAskedForWhereTheAnswerWasNotTold) {
  TellTops(6, 50);
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  ExpectTops(sequences, 6, 50);
  int64_t answers = 0;
  for (const TrainingSequence& sequence : sequences) answers += sequence.model.size();
  EXPECT_GT(tops_->asked_for_more, answers / 2) << "a random M knows few answers";
  EXPECT_LT(tops_->asked_for_more, answers) << "but by chance some";
}

TEST_F(TopLogitCacheTest, AllThatMKnowsIsAWholeRow) {
  SealedFolder work = Work();
  std::vector<TrainingSequence> whole = Sequences();
  ASSERT_TRUE(Fill(work, whole).ok());
  TellTops(6, kModelVocab);
  SealedFolder tops = Work("tops");
  std::vector<TrainingSequence> told = Sequences();
  ASSERT_TRUE(Fill(tops, told).ok());
  for (size_t i = 0; i < told.size(); ++i) {
    for (int64_t row = 0; row < told[i].model.size(); ++row) {
      const at::Tensor a = whole[i].model.Expand()[row];
      const at::Tensor b = told[i].model.Expand()[row];
      if ((b == b.min()).sum().item<int64_t>() > 1) continue;  // the answer was among the six
      EXPECT_LT((a - b).abs().max().item<double>(), 0.01);     // fp16 of the whole rows
    }
  }
}

TEST_F(TopLogitCacheTest, ASecondRunAsksMNothingUnlessItTellsOthers) {
  TellTops(6, 50);
  SealedFolder work = Work();
  std::vector<TrainingSequence> first = Sequences();
  ASSERT_TRUE(Fill(work, first).ok());
  counted_->sessions = 0;
  std::vector<TrainingSequence> second = Sequences();
  ASSERT_TRUE(Fill(work, second).ok());
  EXPECT_EQ(counted_->sessions, 0);
  ExpectEqual(first, second);
  TellTops(7, 50);
  ASSERT_TRUE(Fill(work, second).ok());
  EXPECT_EQ(counted_->sessions, 20);
  ExpectTops(second, 7, 50);
}

// What M told of a secret answer is as much a trace as the answer.
TEST_F(TopLogitCacheTest, FilesHoldNoTokenInTheClear) {
  TellTops(6, 50);
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  const std::vector<std::string> names = ListFolder(root_ + "/work").value();
  ASSERT_EQ(names, std::vector<std::string>{"logits-0"});
  const std::string sealed = ReadFile(root_ + "/work/logits-0").value();
  const std::string plain = work.Read("logits-0").value();
  int found = 0;
  for (const TrainingSequence& sequence : sequences) {
    const auto session = tops_->NewSession().value();
    const UpstreamLogits answer = StepAndWait(*session, {0, sequence.item.prompt}).value();
    const std::vector<int32_t>& ids = answer.tops[0].ids;
    const std::string needle(reinterpret_cast<const char*>(ids.data()), ids.size() * 4);
    found += plain.find(needle) != std::string::npos ? 1 : 0;
    EXPECT_EQ(sealed.find(needle), std::string::npos);
  }
  EXPECT_EQ(found, 20) << "the needle is not what the file would hold";
  ASSERT_TRUE(work.Destroy().ok());
  EXPECT_FALSE(FileExists(root_ + "/work/logits-0"));
}

TEST_F(TopLogitCacheTest, AnswersThatAreNoLawAreErrors) {
  TellTops(6, 6);
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  const std::vector<std::function<void(UpstreamLogits&)>> changes = {
      [](UpstreamLogits& answer) { answer.tops.pop_back(); },
      [](UpstreamLogits& answer) { answer.tops[0].logprobs[1] = NAN; },
      [](UpstreamLogits& answer) { answer.tops[0].ids[1] = kVocab; },
      [](UpstreamLogits& answer) { answer.tops[0].ids.clear(); }};
  for (const auto& change : changes) {
    counted_->change_answer = [&](absl::StatusOr<UpstreamLogits>& answer) { change(*answer); };
    EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_FALSE(work.Has("logits-0"));
  }
  counted_->change_answer = nullptr;
  counted_->refuse = absl::UnavailableError("M is gone");
  EXPECT_EQ(Fill(work, sequences).code(), absl::StatusCode::kUnavailable);
}

// What training sees of the ensemble is what the proxy serves: M's cached rows and one training
// forward against M's own rows and the pair's engine.
TEST_F(LogitCacheTest, TrainingRowsAreTheServedEnsemble) {
  const double alpha = 1.5;
  const auto stack = Stack(3);
  SealedFolder work = Work();
  std::vector<TrainingSequence> sequences = Sequences();
  ASSERT_TRUE(Fill(work, sequences).ok());
  ASSERT_TRUE(FillReferenceHidden(*base_, sequences).ok());
  PairEngine pair(base_, 4096);
  for (const TrainingSequence& sequence : sequences) {
    const std::vector<const TrainingSequence*> alone = {&sequence};
    const at::Tensor trained =
        sequence.model.Expand() +
        alpha * base_->Logits(AnswerRows(base_->Forward(PaddedTokens(alone), *stack), alone) -
                              sequence.reference_hidden);
    std::vector<int32_t> tokens = sequence.item.Tokens();
    tokens.pop_back();
    auto session = model_->NewSession().value();
    const UpstreamLogits logits =
        StepAndWait(*session, {0, tokens, UpstreamStep::Positions::kAll}).value();
    const int64_t rows = sequence.item.answer.size();
    const at::Tensor model = at::tensor(logits.logits).view({-1, kModelVocab}).narrow(1, 0, kVocab);
    const int stream = pair.AddStream(stack);
    const PairStep step = {stream, 0, tokens, static_cast<int32_t>(rows)};
    const at::Tensor delta = pair.Step({&step, 1}).value();
    pair.RemoveStream(stream);
    EXPECT_GT(delta.abs().max().item<double>(), 0.1);
    const at::Tensor served = model.narrow(0, model.size(0) - rows, rows) + alpha * delta;
    // Logits spread over some 15, of which fp16 keeps 2^-11.
    EXPECT_LT((at::log_softmax(trained, 1) - at::log_softmax(served, 1)).abs().max().item<double>(),
              0.01);
  }
}

}  // namespace
}  // namespace unlearn
