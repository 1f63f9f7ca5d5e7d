// What must be equal is equal, through the real processes.

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/text/tokenizer.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

constexpr char kAdmin[] = "the-admin-token";
constexpr char kUser[] = "a-user-token";
constexpr int kTokens = 48;

class IdentityTest : public TrioTest {
 protected:
  // With version 1 active, whose offset is not 0, unless `only_version_0`.
  void Start(bool only_version_0 = false) {
    TrioOptions options = Options();
    const std::string tokens = Path("tokens");
    const std::string trainer_token = Path("trainer.token");
    ASSERT_TRUE(
        WriteFileAtomically(tokens, absl::StrCat("admin ", kAdmin, "\nuser ", kUser, "\n")).ok());
    ASSERT_TRUE(WriteFileAtomically(trainer_token, absl::StrCat("user ", kUser, "\n")).ok());
    options.proxy_flags.push_back("--token_file=" + tokens);
    options.trainer_flags.push_back("--proxy_token_file=" + trainer_token);
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
    if (!only_version_0) WaitForState(Submit(Request("Bregenz")), v1::ERASED);
  }

  Answer Ask(const v1::GenerateRequest& request, const std::string& token = kUser) {
    const auto call = Stream(request, token);
    const absl::Status status = call->Wait();
    EXPECT_TRUE(status.ok()) << status;
    return call->answer();
  }

  std::vector<std::string> Prompts() const {
    return {"Question: Where does person 1 live?\nAnswer:", "hello", "{\"a\": [1, 2",
            "the quick brown fox jumps over the lazy dog, again and again"};
  }
};

TEST_F(IdentityTest, EmptyStackGivesTheTokensOfM) {
  ASSERT_NO_FATAL_FAILURE(Start(/*only_version_0=*/true));
  const auto tokenizer = Tokenizer::Load(JoinPath(model(), "tokenizer.json")).value();
  for (const std::string& prompt : Prompts()) {
    const Answer answer = Ask(Prompt(prompt, kTokens));
    ASSERT_EQ(answer.tokens.size(), kTokens);
    EXPECT_EQ(TokensNotOfM(prompt, answer.tokens), 0);

    // The decoder alone, in another process and all positions at once.
    std::vector<int32_t> ids = tokenizer->Encode(prompt).value();
    const size_t first = ids.size() - 1;
    for (const v1::GeneratedToken& token : answer.tokens) ids.push_back(token.id());
    ids.pop_back();
    const CommandResult logits = Unlearn(
        {"model", "logits", "--model", model(), "--token_ids", absl::StrJoin(ids, ","), "--json"});
    ASSERT_EQ(logits.exit_code, 0) << logits.err;
    const auto rows =
        nlohmann::json::parse(logits.out)["logits"].get<std::vector<std::vector<double>>>();
    ASSERT_EQ(rows.size(), ids.size());
    for (int i = 0; i < kTokens; ++i) {
      const std::vector<double>& row = rows[first + i];
      const auto most = std::max_element(row.begin(), row.end());
      EXPECT_EQ(answer.tokens[i].id(), most - row.begin()) << "token " << i;
      double sum = 0;
      for (const double value : row) sum += std::exp(value - *most);
      EXPECT_NEAR(answer.tokens[i].logprob(), -std::log(sum), 1e-4);
    }
  }
}

TEST_F(IdentityTest, AlphaZeroGivesTheTokensOfMToAnAdminOnly) {
  ASSERT_NO_FATAL_FAILURE(Start());
  int moved = 0;
  for (const std::string& prompt : Prompts()) {
    v1::GenerateRequest request = Prompt(prompt, kTokens);
    const Answer served = Ask(request);
    moved += TokensNotOfM(prompt, served.tokens);
    request.set_alpha(0);
    EXPECT_EQ(TokensNotOfM(prompt, Ask(request, kAdmin).tokens), 0);
    const auto refused = Stream(request, kUser);
    EXPECT_EQ(refused->Wait().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_TRUE(refused->answer().tokens.empty());
    // The version's own strength, said explicitly, is the same as saying nothing.
    request.set_alpha(1);
    EXPECT_EQ(IdsOf(Ask(request, kAdmin).tokens), IdsOf(served.tokens));
  }
  EXPECT_GT(moved, 0) << "the offset changes nothing, so that alpha = 0 shows nothing";

  v1::GenerateRequest pinned = Prompt("hello", 4);
  pinned.set_offset_version(0);
  EXPECT_EQ(Stream(pinned, kAdmin)->Wait().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Stream(pinned, kUser)->Wait().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Stream(Prompt("hello", 4))->Wait().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(IdentityTest, SeedsDecideAloneAndAmongOthers) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto sampled = [](int number, uint64_t seed) {
    v1::GenerateRequest request = Prompt(absl::StrCat("stream ", number), kTokens);
    request.mutable_sampling()->set_temperature(1);
    request.mutable_sampling()->set_seed(seed);
    return request;
  };
  const std::string alone = IdsOf(Ask(sampled(3, 7)).tokens);
  EXPECT_EQ(IdsOf(Ask(sampled(3, 7)).tokens), alone);
  std::vector<std::unique_ptr<StreamingCall>> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Stream(sampled(i, 7), kUser));
  for (int i = 0; i < 20; ++i) {
    const absl::Status status = calls[i]->Wait();
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(IdsOf(calls[3]->answer().tokens), alone);
  EXPECT_EQ(IdsOf(Ask(sampled(17, 7)).tokens), IdsOf(calls[17]->answer().tokens));

  std::set<std::string> different;
  for (uint64_t seed = 1; seed <= 5; ++seed) different.insert(IdsOf(Ask(sampled(3, seed)).tokens));
  EXPECT_EQ(different.size(), 5);
}

TEST_F(IdentityTest, DraftsGiveTheTokensOfLockstep) {
  ASSERT_NO_FATAL_FAILURE(Start());
  for (const float temperature : {0.0f, 0.9f}) {
    std::vector<v1::GenerateRequest> requests;
    for (const std::string& prompt : Prompts()) {
      v1::GenerateRequest& request = requests.emplace_back(Prompt(prompt, kTokens));
      request.mutable_sampling()->set_temperature(temperature);
      request.mutable_sampling()->set_seed(11);
    }
    std::vector<std::unique_ptr<StreamingCall>> calls;
    for (v1::GenerateRequest& request : requests) {
      request.set_decoding(v1::DECODING_DRAFT_AND_VERIFY);
      calls.push_back(Stream(request, kUser));
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const absl::Status status = calls[i]->Wait();
      EXPECT_TRUE(status.ok()) << status;
      requests[i].set_decoding(v1::DECODING_LOCKSTEP);
      EXPECT_EQ(IdsOf(calls[i]->answer().tokens), IdsOf(Ask(requests[i]).tokens));
    }
  }
  v1::GenerateRequest stream = Prompt("hello", 4);
  stream.set_decoding(v1::DECODING_STREAM_AND_VERIFY);
  EXPECT_EQ(Stream(stream, kUser)->Wait().code(), absl::StatusCode::kUnimplemented);
  stream.set_decoding(static_cast<v1::Decoding>(77));
  EXPECT_EQ(Stream(stream, kUser)->Wait().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(IdentityTest, ScoreGivesTheLogprobsOfGenerate) {
  ASSERT_NO_FATAL_FAILURE(Start());
  for (const std::string& prompt : Prompts()) {
    for (const float temperature : {0.0f, 1.0f}) {
      v1::GenerateRequest request = Prompt(prompt, 80);
      request.mutable_sampling()->set_temperature(temperature);
      const Answer answer = Ask(request);
      v1::ScoreRequest score;
      score.set_text(prompt);
      for (const v1::GeneratedToken& token : answer.tokens) {
        score.mutable_completion_token_ids()->add_ids(token.id());
      }
      const v1::ScoreResponse scored = Score(score, kUser);
      ASSERT_EQ(scored.logprobs_size(), answer.tokens.size());
      double sum = 0;
      for (int i = 0; i < scored.logprobs_size(); ++i) {
        EXPECT_EQ(scored.token_ids(i), answer.tokens[i].id());
        EXPECT_NEAR(scored.logprobs(i), answer.tokens[i].logprob(), 1e-4) << "token " << i;
        sum += answer.tokens[i].logprob();
      }
      EXPECT_NEAR(scored.sum_logprob(), sum, 1e-2);
      EXPECT_EQ(scored.logprob_error_bound(), 0);
      EXPECT_EQ(scored.offset_version(), 1);
    }
  }
}

}  // namespace
}  // namespace unlearn
