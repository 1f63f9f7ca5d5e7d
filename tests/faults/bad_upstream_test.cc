// M dies, comes back, or is another one: streams end with an error that names it, and not one token
// comes from anything but the ensemble.

#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

constexpr int kStreams = 8;

class BadUpstreamTest : public TrioTest {
 protected:
  void Start() {
    TrioOptions options = Options();
    options.model_server_flags.push_back("--delay_ms=10");
    options.proxy_flags.push_back("--fingerprint_every=200ms");
    options.proxy_flags.push_back("--upstream_connect_timeout=3s");
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  }

  // Another server of M in the place of the one that was killed.
  TestServer ServeAtTheSamePlace(const std::string& folder) {
    return StartServer("other_m", {programs().model_server, "--model=" + folder, "--threads=1",
                                   "--listen=" + trio().model_address()});
  }
};

TEST_F(BadUpstreamTest, KilledInTheMiddleOfStreams) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::vector<std::unique_ptr<StreamingCall>> calls;
  for (int i = 0; i < kStreams; ++i) {
    calls.push_back(Stream(Prompt(absl::StrCat("stream ", i), 1000)));
  }
  for (const auto& call : calls) ASSERT_TRUE(call->WaitForTokens(5, kPatience)) << call->Wait();
  trio().model_server().Kill(SIGKILL);
  trio().model_server().Wait();
  std::vector<std::vector<v1::GeneratedToken>> received;
  for (const auto& call : calls) {
    const absl::Status status = call->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), trio().model_address())) << status;
    received.push_back(call->answer().tokens);
    EXPECT_LT(received.back().size(), 1000);
    EXPECT_EQ(call->answer().finish_reason, v1::FINISH_REASON_UNSPECIFIED);
  }
  // The proxy lives, and says of each new stream what is missing.
  EXPECT_TRUE(trio().proxy().Running());
  EXPECT_EQ(RunningStreams(OffsetStatus()), 0);
  const auto refused = Stream(Prompt("hello", 4));
  const absl::Status refusal = refused->Wait();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kUnavailable) << refusal;
  EXPECT_TRUE(absl::StrContains(refusal.message(), trio().model_address())) << refusal;
  EXPECT_TRUE(refused->answer().tokens.empty());

  // The same M again: served without anybody's help, and what came before the kill was right.
  TestServer again = ServeAtTheSamePlace(model());
  ASSERT_FALSE(again.address.empty());
  ASSERT_TRUE(Eventually([&] { return Stream(Prompt("hello", 4))->Wait().ok(); }));
  for (int i = 0; i < kStreams; ++i) {
    EXPECT_EQ(TokensNotOfM(absl::StrCat("stream ", i), received[i]), 0) << "stream " << i;
  }
}

TEST_F(BadUpstreamTest, Frozen) {
  TrioOptions options = Options();
  options.model_server_flags.push_back("--delay_ms=10");
  options.proxy_flags.push_back("--upstream_step_timeout=2s");
  ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  const auto running = Stream(Prompt("stream 0", 1000));
  ASSERT_TRUE(running->WaitForTokens(5, kPatience)) << running->Wait();
  trio().model_server().Kill(SIGSTOP);
  const absl::Status status = running->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), trio().model_address())) << status;
  EXPECT_LT(running->answer().tokens.size(), 1000);
  // Those that come meanwhile wait no longer than that; after some, nobody waits any more.
  absl::Status refused;
  for (int i = 0; i < 20 && !absl::StrContains(refused.message(), "times in a row"); ++i) {
    const auto call = Stream(Prompt("hello", 4));
    refused = call->Wait();
    EXPECT_FALSE(refused.ok());
    EXPECT_TRUE(call->answer().tokens.empty());
  }
  EXPECT_TRUE(absl::StrContains(refused.message(), "times in a row")) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), trio().model_address())) << refused;
  trio().model_server().Kill(SIGCONT);
  EXPECT_TRUE(Eventually([&] { return Stream(Prompt("hello", 4))->Wait().ok(); }));
  EXPECT_EQ(TokensNotOfM("stream 0", running->answer().tokens), 0);
}

TEST_F(BadUpstreamTest, ExchangedForAnotherModel) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_TRUE(Stream(Prompt("hello", 4))->Wait().ok());
  const auto running = Stream(Prompt("hello", 1000));
  ASSERT_TRUE(running->WaitForTokens(5, kPatience)) << running->Wait();
  TinyModelOptions options = ModelOptions();
  options.seed += 100;
  ASSERT_TRUE(WriteTinyModel(Path("other"), options).ok());
  const auto store = Snapshot(trio().store());
  trio().model_server().Kill(SIGKILL);
  trio().model_server().Wait();
  TestServer other = ServeAtTheSamePlace(Path("other"));
  ASSERT_FALSE(other.address.empty());
  EXPECT_FALSE(running->Wait().ok());

  ASSERT_TRUE(Eventually([&] { return !OffsetStatus().serving(); }));
  // However often it is asked: no token of the other M, alone or combined. Once it is known for
  // another one, that is what callers are told (before, that M cannot be reached).
  const auto names_it = [](absl::string_view text) {
    return absl::StrContains(text, "M is not the model") ||
           absl::StrContains(text, "another model");
  };
  absl::Status refusal;
  ASSERT_TRUE(Eventually([&] {
    const auto call = Stream(Prompt("hello", 4));
    refusal = call->Wait();
    EXPECT_FALSE(refusal.ok());
    EXPECT_TRUE(call->answer().tokens.empty());
    EXPECT_EQ(call->answer().text, "");
    return names_it(OffsetStatus().problem()) && names_it(refusal.message());
  })) << OffsetStatus().ShortDebugString()
      << refusal;

  // A fresh proxy and a fresh trainer meet it from the start, and refuse it.
  TestServer fresh =
      StartServer("fresh", {programs().proxy, "--upstream=native:" + trio().model_address(),
                            "--pair=" + pair(), "--store=" + trio().store(),
                            "--store_key_file=" + trio().store_key_file(), "--threads=1"});
  ASSERT_FALSE(fresh.address.empty());
  EXPECT_FALSE(OffsetStatusOf(fresh.address).serving());
  const auto refused = StreamTo(fresh.address, Prompt("hello", 4));
  EXPECT_FALSE(refused->Wait().ok());
  EXPECT_TRUE(absl::StrContains(refused->Wait().message(), "M is not the model"))
      << refused->Wait();
  EXPECT_TRUE(refused->answer().tokens.empty());
  const CommandResult trainer =
      Run({programs().trainer, "--upstream=native:" + trio().model_address(), "--pair=" + pair(),
           "--store=" + trio().store(), "--store_key_file=" + trio().store_key_file(),
           "--state=" + Path("other_state"), "--validate_only"});
  EXPECT_EQ(trainer.exit_code, 1) << trainer.err;
  EXPECT_TRUE(absl::StrContains(trainer.err, "M is not the model")) << trainer.err;

  // A request that is handed in now is kept, not trained against the wrong M.
  const std::string id = Submit(Request("Bregenz"));
  const v1::DeletionRequest kept = WaitFor(id, [](const v1::DeletionRequest& now) {
    return !now.message().empty() || now.state() == v1::FAILED;
  });
  EXPECT_NE(kept.state(), v1::PUBLISHED);
  EXPECT_EQ(Snapshot(trio().store()), store);

  // The right M comes back: everything goes on.
  other.process->Kill(SIGKILL);
  other.process->Wait();
  TestServer again = ServeAtTheSamePlace(model());
  ASSERT_FALSE(again.address.empty());
  EXPECT_TRUE(Eventually([&] { return Stream(Prompt("hello", 4))->Wait().ok(); }));
}

TEST_F(BadUpstreamTest, AbsentAtTheStart) {
  const CommandResult proxy =
      Run({programs().proxy, "--upstream=native:127.0.0.1:1", "--upstream_connect_timeout=500ms",
           "--pair=" + pair(), "--store=" + Path("store"), "--store_key_file=" + Path("key")});
  EXPECT_EQ(proxy.exit_code, 1);
  const CommandResult init =
      Unlearn({"offset", "init", "--store", Path("store"), "--store_key_file", Path("key"),
               "--upstream", "native:127.0.0.1:1", "--pair", pair()});
  EXPECT_EQ(init.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(init.err, "127.0.0.1:1")) << init.err;
  EXPECT_FALSE(FileExists(Path("store")));
  EXPECT_FALSE(FileExists(Path("key")));
}

// M goes away while a request is trained: it waits, and goes on when M is back.
TEST_F(BadUpstreamTest, TrainingWaitsForM) {
  ASSERT_NO_FATAL_FAILURE(Start());
  trio().model_server().Kill(SIGKILL);
  trio().model_server().Wait();
  const std::string id = Submit(Request("Bregenz"));
  const v1::DeletionRequest waiting =
      WaitFor(id, [](const v1::DeletionRequest& now) { return !now.message().empty(); });
  EXPECT_TRUE(absl::StrContains(waiting.message(), trio().model_address()))
      << waiting.ShortDebugString();
  TestServer again = ServeAtTheSamePlace(model());
  ASSERT_FALSE(again.address.empty());
  WaitForState(id, v1::ERASED);
  EXPECT_TRUE(Eventually([&] { return OffsetStatus().serving(); }));
  EXPECT_EQ(OffsetStatus().active_version(), 1);
}

}  // namespace
}  // namespace unlearn
