// What is cancelled or drained lets go of what it held, and of nothing else.

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

constexpr int kMost = 4;

class CancelTest : public TrioTest {
 protected:
  void Start() {
    TrioOptions options = Options();
    options.model_server_flags.push_back("--delay_ms=10");
    // Two more than streams: M is asked for its fingerprint and for training as well.
    options.model_server_flags.push_back(absl::StrCat("--max_sessions=", kMost + 18));
    options.proxy_flags.push_back(absl::StrCat("--max_streams=", kMost));
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  }
};

TEST_F(CancelTest, CancelledClientsFreeTheirStreams) {
  ASSERT_NO_FATAL_FAILURE(Start());
  // More rounds than M has sessions: whatever leaks runs out.
  for (int round = 0; round < 8; ++round) {
    std::vector<std::unique_ptr<StreamingCall>> calls;
    for (int i = 0; i < kMost; ++i) {
      calls.push_back(Stream(Prompt(absl::StrCat("round ", round, " stream ", i), 1000)));
    }
    // Some are cancelled in the middle of their tokens, some before the first.
    for (int i = 0; i < kMost; ++i) {
      if ((i + round) % 2 == 0) {
        ASSERT_TRUE(calls[i]->WaitForTokens(3, kPatience)) << calls[i]->Wait();
      }
    }
    ASSERT_TRUE(Eventually([&] { return RunningStreams(OffsetStatus()) == kMost; }));
    const auto refused = Stream(Prompt("one too many", 4));
    EXPECT_EQ(refused->Wait().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(refused->answer().tokens.empty());
    for (const auto& call : calls) call->Cancel();
    for (const auto& call : calls) {
      EXPECT_EQ(call->Wait().code(), absl::StatusCode::kCancelled);
    }
    ASSERT_TRUE(Eventually([&] { return RunningStreams(OffsetStatus()) == 0; }));
  }
  const auto last = Stream(Prompt("the last one", 20));
  EXPECT_TRUE(last->Wait().ok()) << last->Wait();
  EXPECT_EQ(TokensNotOfM("the last one", last->answer().tokens), 0);
}

TEST_F(CancelTest, OneCancelledStreamLeavesTheOthersAlone) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto cancelled = Stream(Prompt("stream 0", 1000));
  const auto kept = Stream(Prompt("stream 1", 100));
  ASSERT_TRUE(cancelled->WaitForTokens(5, kPatience));
  ASSERT_TRUE(kept->WaitForTokens(5, kPatience));
  cancelled->Cancel();
  EXPECT_TRUE(kept->Wait().ok()) << kept->Wait();
  EXPECT_EQ(kept->answer().tokens.size(), 100);
  EXPECT_EQ(TokensNotOfM("stream 1", kept->answer().tokens), 0);
}

TEST_F(CancelTest, DeleteCancelStopsTrainingAndTheNextRequestGoesOn) {
  ASSERT_NO_FATAL_FAILURE(Start());
  v1::SubmitRequest endless = Request("Bregenz");
  endless.mutable_settings()->set_steps(100000);
  const std::string id = Submit(endless);
  WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 0; });
  const std::string next = Submit(Request("Chur"));
  EXPECT_EQ(Get(next).state(), v1::RECEIVED);
  const std::vector<std::string> command = {
      "delete", "cancel", id, "--trainer", trio().trainer_address(), "--json"};
  const CommandResult cancelled = Unlearn(command);
  ASSERT_EQ(cancelled.exit_code, 0) << cancelled.err;
  EXPECT_EQ(nlohmann::json::parse(cancelled.out)["state"], "CANCELLED");

  WaitForState(next, v1::ERASED);
  const v1::Manifest manifest = OpenStore()->ReadManifest(1).value();
  ASSERT_EQ(manifest.request_ids_size(), 1);
  EXPECT_EQ(manifest.request_ids(0), next);
  // Again is no harm; what is published cannot be withdrawn, and the CLI says why.
  EXPECT_EQ(Unlearn(command).exit_code, 0);
  const CommandResult too_late =
      Unlearn({"delete", "cancel", next, "--trainer", trio().trainer_address(), "--json"});
  EXPECT_EQ(too_late.exit_code, 1);
  EXPECT_EQ(too_late.out, "");
  EXPECT_NE(too_late.err.find(next), std::string::npos) << too_late.err;
  const CommandResult unknown =
      Unlearn({"delete", "cancel", "nobody", "--trainer", trio().trainer_address()});
  EXPECT_EQ(unknown.exit_code, 1);
}

TEST_F(CancelTest, ATerminatedProxyLetsItsStreamsEnd) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::vector<std::unique_ptr<StreamingCall>> calls;
  for (int i = 0; i < kMost; ++i) calls.push_back(Stream(Prompt(absl::StrCat("stream ", i), 150)));
  for (const auto& call : calls) ASSERT_TRUE(call->WaitForTokens(2, kPatience)) << call->Wait();
  trio().proxy().Kill(SIGTERM);
  for (int i = 0; i < kMost; ++i) {
    const absl::Status status = calls[i]->Wait();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(calls[i]->answer().tokens.size(), 150);
    EXPECT_EQ(TokensNotOfM(absl::StrCat("stream ", i), calls[i]->answer().tokens), 0);
  }
  EXPECT_EQ(trio().proxy().Wait(), 0);
  const auto refused = Stream(Prompt("too late", 4));
  EXPECT_EQ(refused->Wait().code(), absl::StatusCode::kUnavailable);
}

TEST_F(CancelTest, ADrainThatTakesTooLongIsCutOff) {
  TrioOptions options = Options();
  options.model_server_flags.push_back("--delay_ms=50");
  options.proxy_flags.push_back("--drain_timeout=300ms");
  ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  const auto call = Stream(Prompt("stream", 1000));
  ASSERT_TRUE(call->WaitForTokens(2, kPatience)) << call->Wait();
  trio().proxy().Kill(SIGTERM);
  EXPECT_FALSE(call->Wait().ok());
  EXPECT_LT(call->answer().tokens.size(), 1000);
  EXPECT_EQ(trio().proxy().Wait(), 0);
}

TEST_F(CancelTest, ATerminatedTrainerGoesOnWhereItStopped) {
  ASSERT_NO_FATAL_FAILURE(Start());
  v1::SubmitRequest request = Request("Bregenz");
  request.mutable_settings()->set_steps(200);
  const std::string id = Submit(request);
  const int step =
      WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 10; }).step();
  EXPECT_EQ(trio().trainer().Stop(), 0);
  const absl::Status restarted = trio().RestartTrainer();
  ASSERT_TRUE(restarted.ok()) << restarted;
  const v1::DeletionRequest resumed =
      WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 0; });
  EXPECT_GT(resumed.step(), step);
  WaitForState(id, v1::ERASED);
}

}  // namespace
}  // namespace unlearn
