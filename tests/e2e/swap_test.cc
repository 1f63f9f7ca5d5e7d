// A version is exchanged while streams run.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

constexpr int kStreams = 20;
constexpr int kOldTokens = 400;
constexpr int kLongestTokens = 700;
constexpr int kNewTokens = 40;

std::string PromptOf(int stream) { return absl::StrCat("stream ", stream, " says"); }

// All of them were drawn from this version.
void ExpectVersion(const std::vector<v1::GeneratedToken>& tokens, uint64_t version, int stream) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    ASSERT_EQ(tokens[i].offset_version(), version) << "stream " << stream << ", token " << i;
  }
}

class SwapTest : public TrioTest {};

TEST_F(SwapTest, RunningStreamsKeepTheirVersionAndEnforcementWaitsForThem) {
  TrioOptions options = Options();
  options.model_server_flags.push_back("--delay_ms=20");
  ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  const std::string id = Submit(Request("Bregenz"));
  WaitFor(id, [](const v1::DeletionRequest& now) { return now.state() >= v1::EVALUATING; });

  std::vector<std::unique_ptr<StreamingCall>> before;
  for (int i = 0; i < kStreams; ++i) {
    before.push_back(Stream(Prompt(PromptOf(i), i == 0 ? kLongestTokens : kOldTokens)));
  }
  for (const auto& call : before) ASSERT_TRUE(call->WaitForTokens(1, kPatience)) << call->Wait();
  ASSERT_EQ(OffsetStatus().active_version(), 0) << "the version was there before the streams";

  ASSERT_TRUE(Eventually([&] { return OffsetStatus().active_version() == 1; }));
  for (const auto& call : before) ASSERT_FALSE(call->ended()) << "too short to see the exchange";
  std::vector<std::unique_ptr<StreamingCall>> after;
  for (int i = 0; i < kStreams; ++i) after.push_back(Stream(Prompt(PromptOf(i), kNewTokens)));

  // What is enforced stays so: a state that is read first must fit streams that are counted later.
  bool waited_published = false;
  bool said_why = false;
  ASSERT_TRUE(Eventually([&] {
    const v1::DeletionRequest request = Get(id);
    const v1::OffsetStatus status = OffsetStatus();
    const int old_streams = StreamsOf(status, 0);
    if (request.state() == v1::PUBLISHED && old_streams > 0) {
      waited_published = true;
      said_why = said_why || absl::StrContains(request.message(), "still runs");
    } else if (request.state() == v1::ENFORCED || request.state() == v1::ERASED) {
      EXPECT_EQ(old_streams, 0) << request.ShortDebugString() << status.ShortDebugString();
    }
    return request.state() == v1::ERASED;
  }));
  EXPECT_TRUE(waited_published);
  EXPECT_TRUE(said_why);

  int changed_by_offset = 0;
  for (int i = 0; i < kStreams; ++i) {
    const absl::Status old_status = before[i]->Wait();
    const Answer old_answer = before[i]->answer();
    EXPECT_TRUE(old_status.ok()) << "stream " << i << ": " << old_status;
    EXPECT_EQ(old_answer.tokens.size(), i == 0 ? kLongestTokens : kOldTokens);
    ExpectVersion(old_answer.tokens, 0, i);
    // Version 0 is M: not one token of the new offset came in.
    EXPECT_EQ(TokensNotOfM(PromptOf(i), old_answer.tokens), 0) << "stream " << i;

    const absl::Status new_status = after[i]->Wait();
    const Answer new_answer = after[i]->answer();
    EXPECT_TRUE(new_status.ok()) << "stream " << i << ": " << new_status;
    EXPECT_EQ(new_answer.tokens.size(), kNewTokens);
    ExpectVersion(new_answer.tokens, 1, i);
    changed_by_offset += TokensNotOfM(PromptOf(i), new_answer.tokens);
  }
  EXPECT_GT(changed_by_offset, 0) << "version 1 answers like M: nothing was served by it";
}

// A second version on top of the first, with streams of two old versions running.
TEST_F(SwapTest, TwoExchangesInARow) {
  TrioOptions options = Options();
  options.model_server_flags.push_back("--delay_ms=10");
  ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  std::vector<std::unique_ptr<StreamingCall>> calls;
  const std::string first = Submit(Request("Bregenz"));
  WaitFor(first, [](const v1::DeletionRequest& now) { return now.state() >= v1::EVALUATING; });
  calls.push_back(Stream(Prompt(PromptOf(0), 1000)));
  ASSERT_TRUE(calls[0]->WaitForTokens(1, kPatience));
  ASSERT_TRUE(Eventually([&] { return OffsetStatus().active_version() == 1; }));
  calls.push_back(Stream(Prompt(PromptOf(1), 1000)));
  ASSERT_TRUE(calls[1]->WaitForTokens(1, kPatience));
  const std::string second = Submit(Request("Chur"));
  ASSERT_TRUE(Eventually([&] { return OffsetStatus().active_version() == 2; }));
  calls.push_back(Stream(Prompt(PromptOf(2), 30)));
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = calls[i]->Wait();
    EXPECT_TRUE(status.ok()) << status;
    ExpectVersion(calls[i]->answer().tokens, i, i);
  }
  WaitForState(first, v1::ERASED);
  WaitForState(second, v1::ERASED);
  EXPECT_EQ(OpenStore()->ListVersions().value(), (std::vector<uint64_t>{0, 1, 2}));
  const v1::Manifest manifest = OpenStore()->ReadManifest(2).value();
  EXPECT_EQ(std::vector<std::string>(manifest.request_ids().begin(), manifest.request_ids().end()),
            (std::vector<std::string>{first, second}));
}

}  // namespace
}  // namespace unlearn
