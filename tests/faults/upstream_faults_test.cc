// What M's servers do wrong, of every remote kind, in front of a real scheduler and pair: streams
// end in time with an error that says who and why, no token comes from anything but the ensemble,
// and the next stream is served when the server is well again.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "prometheus/registry.h"
#include "proxy/scheduler/scheduler_test_util.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"
#include "proxy/upstream/guarded_upstream.h"
#include "proxy/upstream/upstream.h"
#include "tests/faults/faulty_server.h"

namespace unlearn {
namespace {

constexpr int kTokens = 12;
constexpr absl::Duration kStepTimeout = absl::Seconds(2);
// Far more than any fault may hold a stream up; far less than for ever.
constexpr absl::Duration kInTime = absl::Seconds(20);

class UpstreamFaultsTest : public SchedulerTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    server_ = FaultyServer::Create(GetParam(), [this](const std::vector<int32_t>& tokens) {
      std::vector<float> row = upstream_.Row(tokens);
      row.resize(kVocab);  // without padding
      return row;
    });
    UpstreamOptions options;
    options.step_timeout_seconds = absl::ToDoubleSeconds(kStepTimeout);
    options.connect_timeout_seconds = 5;
    if (GetParam() != std::string("native")) options.eos_token_ids = {1};
    options.noise = 0;
    absl::StatusOr<std::unique_ptr<Upstream>> opened = OpenUpstream(server_->spec(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const auto fingerprint = TakeModelFingerprint(**opened);
    ASSERT_TRUE(fingerprint.ok()) << fingerprint.status();
    GuardOptions guard;
    guard.breaker.first_wait = absl::Milliseconds(100);
    guard.breaker.longest_wait = absl::Milliseconds(400);
    guard.watch.longest_wait = absl::Milliseconds(100);
    guard.watch.timeout = kStepTimeout;
    guarded_ = std::make_unique<GuardedUpstream>(*std::move(opened), guard,
                                                 std::make_shared<prometheus::Registry>());
    fingerprint_ = *fingerprint;
    ASSERT_EQ(guarded_->Confirm(fingerprint_), absl::OkStatus());
    auto made = Scheduler::Create(
        guarded_.get(), std::make_unique<PairEngine>(make_backend_(2 * 32 * 512)), {}, &metrics_);
    ASSERT_TRUE(made.ok()) << made.status();
    scheduler_ = *std::move(made);
  }
  void TearDown() override {
    scheduler_ = nullptr;
    guarded_ = nullptr;
  }

  // A stream ends in time; whatever it gave was the ensemble's.
  absl::Status Stream(size_t* given = nullptr) {
    const StreamTask task = Task(1, Prompt(++prompts_, 6), kTokens);
    const absl::Time begun = absl::Now();
    const auto stream = Submit(task);
    return Ends(task, *stream, begun, given);
  }
  absl::Status Ends(const StreamTask& task, Recorder& stream, absl::Time begun,
                    size_t* given = nullptr) {
    const absl::Status status = stream.Wait();
    EXPECT_LT(absl::Now() - begun, kInTime);
    std::vector<DrawnToken> expected = Expected(task);
    const std::vector<DrawnToken> tokens = stream.tokens();
    EXPECT_LE(tokens.size(), expected.size());
    if (status.ok()) {
      EXPECT_EQ(tokens.size(), expected.size());
    }
    expected.resize(tokens.size());
    ExpectSame(tokens, expected);
    if (given != nullptr) *given = tokens.size();
    return status;
  }
  bool ServesAgain() {
    const absl::Time patience = absl::Now() + absl::Seconds(30);
    while (absl::Now() < patience) {
      if (Stream().ok()) return true;
    }
    return false;
  }
  void ExpectNamed(const absl::Status& status) {
    EXPECT_TRUE(absl::StrContains(status.message(), server_->address())) << status;
  }

  std::unique_ptr<FaultyServer> server_;
  std::unique_ptr<GuardedUpstream> guarded_;
  v1::ModelFingerprint fingerprint_;
  int prompts_ = 0;
};

TEST_P(UpstreamFaultsTest, ServesWhileNothingIsWrong) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Stream(), absl::OkStatus());
}

TEST_P(UpstreamFaultsTest, SlowIsNotWrong) {
  server_->Set(Fault::kSlow);
  EXPECT_EQ(Stream(), absl::OkStatus());
}

TEST_P(UpstreamFaultsTest, FrozenIsLeftAtTheTimeout) {
  server_->Set(Fault::kFrozen);
  const absl::Status status = Stream();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  ExpectNamed(status);
  server_->Set(Fault::kNone);
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, NotANumberGivesNoToken) {
  server_->Set(Fault::kNan);
  size_t given;
  const absl::Status status = Stream(&given);
  // Of openai, the answer is no law; of the others, nothing can be drawn from the row.
  EXPECT_EQ(status.code(), GetParam() == std::string("openai")
                               ? absl::StatusCode::kInternal
                               : absl::StatusCode::kFailedPrecondition)
      << status;
  EXPECT_EQ(given, 0);
  server_->Set(Fault::kNone);
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, WrongSizesGiveNoToken) {
  server_->Set(Fault::kWrongSize);
  size_t given;
  const absl::Status status = Stream(&given);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  ExpectNamed(status);
  EXPECT_EQ(given, 0);
  server_->Set(Fault::kNone);
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, HalfAnAnswerGivesNoToken) {
  server_->Set(Fault::kHalf);
  size_t given;
  const absl::Status status = Stream(&given);
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsInternal(status)) << status;
  ExpectNamed(status);
  EXPECT_EQ(given, 0);
  server_->Set(Fault::kNone);
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, AServerThatIsBusyOrLoadingIsWaitedFor) {
  for (const Fault fault : {Fault::kBusy, Fault::kLoading}) {
    // In the middle of a stream: it has its whole length, and the tokens it would have had.
    const StreamTask task = Task(1, Prompt(++prompts_, 6), kTokens);
    server_->Set(Fault::kSlow);
    const absl::Time begun = absl::Now();
    const auto stream = Submit(task);
    stream->WaitForTokens(3);
    server_->Set(fault, 1);
    EXPECT_EQ(Ends(task, *stream, begun), absl::OkStatus());
    EXPECT_GE(absl::Now() - begun, absl::Seconds(1)) << "as long as it asked for";
  }
  // For ever: the stream ends with what the server said.
  server_->Set(Fault::kBusy);
  const absl::Status status = Stream();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  ExpectNamed(status);
  server_->Set(Fault::kNone);
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, KilledAndStartedAgain) {
  server_->Set(Fault::kSlow);
  const StreamTask task = Task(1, Prompt(++prompts_, 6), 400);
  const absl::Time begun = absl::Now();
  const auto stream = Submit(task);
  stream->WaitForTokens(3);
  server_->Stop();
  const absl::Status status = stream->Wait();
  EXPECT_LT(absl::Now() - begun, kInTime);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  ExpectNamed(status);
  EXPECT_LT(stream->tokens().size(), 400);
  // However many come: each is told at once, and no one waits.
  for (int i = 0; i < 10; ++i) {
    size_t given;
    const absl::Status refused = Stream(&given);
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
    EXPECT_EQ(given, 0);
    ExpectNamed(refused);
  }
  server_->Set(Fault::kNone);
  server_->Start();
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, RestartedUnderAStreamThatNeverNotices) {
  // Nothing of the stream is under way while M is away: it goes on as if nothing had been.
  const StreamTask task = Task(1, Prompt(++prompts_, 6), kTokens);
  server_->Stop();
  server_->Start();
  const absl::Time begun = absl::Now();
  const auto stream = Submit(task);
  const absl::Status status = Ends(task, *stream, begun);
  EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(ServesAgain());
}

TEST_P(UpstreamFaultsTest, AnotherModelAfterARestartGivesNoToken) {
  EXPECT_EQ(Stream(), absl::OkStatus());
  server_->Stop();
  server_->SetAnother(true);
  server_->Start();
  // Not one token of the other M, whichever stream meets it first.
  absl::Status status;
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  while (!absl::IsFailedPrecondition(status) && absl::Now() < patience) {
    size_t given;
    status = Stream(&given);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(given, 0);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "M is not the model")) << status;
  EXPECT_EQ(guarded_->Confirm(fingerprint_).code(), absl::StatusCode::kFailedPrecondition)
      << "health is asked of this";

  server_->Stop();
  server_->SetAnother(false);
  server_->Start();
  EXPECT_TRUE(ServesAgain());
  EXPECT_EQ(guarded_->Confirm(fingerprint_), absl::OkStatus());
}

TEST_P(UpstreamFaultsTest, ExchangedInTheMiddleOfAStream) {
  server_->Set(Fault::kSlow);
  const StreamTask task = Task(1, Prompt(++prompts_, 6), 400);
  const absl::Time begun = absl::Now();
  const auto stream = Submit(task);
  stream->WaitForTokens(3);
  // The step that fails is asked once more, of the other M: it is found out before its answer
  // becomes a token.
  server_->Stop();
  server_->SetAnother(true);
  server_->Start();
  const absl::Status status = stream->Wait();
  EXPECT_LT(absl::Now() - begun, kInTime);
  EXPECT_TRUE(absl::IsFailedPrecondition(status) || absl::IsUnavailable(status)) << status;
  StreamTask shorter = task;
  shorter.max_tokens = static_cast<int32_t>(stream->tokens().size());
  ASSERT_LT(shorter.max_tokens, 400);
  ExpectSame(stream->tokens(), Expected(shorter));
}

TEST_P(UpstreamFaultsTest, AFailingPairEndsItsStreamsOnly) {
  // Adapters that are no numbers, as a damaged file would give them.
  auto broken = std::make_shared<ServedVersion>(*versions_[1]);
  std::vector<LoraAdapter> adapters;
  adapters.push_back(TestAdapter(base_->config(), {3, 6}, 1, NAN));
  broken->stack = FuseTestAdapters(base_->config(), adapters);
  StreamTask task = Task(1, Prompt(++prompts_, 6), kTokens);
  task.version = broken;
  const auto failed = Submit(task);
  EXPECT_FALSE(failed->Wait().ok());
  EXPECT_TRUE(failed->tokens().empty());
  EXPECT_EQ(Stream(), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(Kinds, UpstreamFaultsTest, testing::Values("native", "kserve", "openai"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace unlearn
