#include <sys/stat.h>

#include <cstdio>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "tools/cli/cli_test_util.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Streams "Hel", "lo" and remembers what it was asked.
class FakeGeneration : public v1::GenerationService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    asked = *request;
    const auto header = context->client_metadata().find("authorization");
    if (header != context->client_metadata().end()) {
      authorization = std::string(header->second.data(), header->second.size());
    }
    v1::GenerateResponse response;
    response.set_text(first_text);
    v1::GeneratedToken* token = response.add_tokens();
    token->set_id(5);
    token->set_logprob(-0.1f);
    token->set_offset_version(3);
    writer->Write(response);
    if (!failure.ok()) return failure;
    response.Clear();
    response.set_text("lo");
    token = response.add_tokens();
    token->set_id(6);
    token->set_logprob(-2.5f);
    token->set_offset_version(4);
    if (finish) {
      response.set_finish_reason(v1::FINISH_REASON_LENGTH);
      response.mutable_usage()->set_prompt_tokens(7);
      response.mutable_usage()->set_completion_tokens(2);
      response.mutable_timing()->set_ttft_ms(1.5);
      response.mutable_timing()->set_total_ms(2.5);
    }
    writer->Write(response);
    return grpc::Status::OK;
  }

  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override {
    scored = *request;
    response->add_token_ids(8);
    response->add_token_ids(9);
    response->add_logprobs(-0.25f);
    response->add_logprobs(-0.1f);
    response->set_sum_logprob(-0.35);
    response->set_offset_version(4);
    return failure;
  }

  v1::GenerateRequest asked;
  v1::ScoreRequest scored;
  std::string authorization;
  std::string first_text = "Hel";
  grpc::Status failure;
  bool finish = true;
};

class GenerateCommand : public ::testing::Test {
 protected:
  CliResult Run(std::vector<std::string> arguments, bool terminal = false) {
    arguments.push_back("--server");
    arguments.push_back(server_.address());
    return RunInProcess(arguments, {}, terminal);
  }
  FakeGeneration service_;
  FakeServer server_{&service_};
};

TEST_F(GenerateCommand, PrintsTheTextAsItComes) {
  const CliResult result = Run({"generate", "--prompt", "Hi"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "Hello\n");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(service_.asked.text(), "Hi");
}

TEST_F(GenerateCommand, JsonHasExactlyTheDocumentedKeys) {
  const CliResult result = Run({"generate", "--prompt", "Hi", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  const Json json = result.json();
  EXPECT_THAT(Keys(json), ElementsAre("text", "token_ids", "logprobs", "finish_reason", "offset",
                                      "usage", "timing"));
  EXPECT_EQ(json["text"], "Hello");
  EXPECT_EQ(json["token_ids"], Json({5, 6}));
  EXPECT_EQ(json["logprobs"].dump(), "[-0.1,-2.5]");
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["offset"], 4);
  EXPECT_EQ(json["usage"], Json({{"prompt_tokens", 7}, {"completion_tokens", 2}}));
  EXPECT_EQ(json["timing"]["ttft_ms"], 1.5);
  EXPECT_EQ(json["timing"]["total_ms"], 2.5);
}

TEST_F(GenerateCommand, SendsEveryParameter) {
  EXPECT_EQ(Run({"generate",
                 "--token_ids",
                 "5,6,7",
                 "--max_tokens",
                 "9",
                 "--temperature",
                 "0.5",
                 "--top_p",
                 "0.25",
                 "--top_k",
                 "3",
                 "--min_p",
                 "0.125",
                 "--seed",
                 "18446744073709551615",
                 "--stop",
                 "a,b",
                 "--stop",
                 "[x]",
                 "--stop_token_ids",
                 "1,2",
                 "--ignore_eos",
                 "--decoding",
                 "top-k",
                 "--exact",
                 "--alpha",
                 "0",
                 "--offset_version",
                 "0"})
                .exit_code,
            0);
  const v1::GenerateRequest& asked = service_.asked;
  EXPECT_THAT(asked.token_ids().ids(), ElementsAre(5, 6, 7));
  const v1::SamplingParameters& sampling = asked.sampling();
  EXPECT_EQ(sampling.max_tokens(), 9);
  EXPECT_EQ(sampling.temperature(), 0.5f);
  EXPECT_EQ(sampling.top_p(), 0.25f);
  EXPECT_EQ(sampling.top_k(), 3);
  EXPECT_EQ(sampling.min_p(), 0.125f);
  EXPECT_EQ(sampling.seed(), 18446744073709551615u);
  EXPECT_THAT(sampling.stop(), ElementsAre("a,b", "[x]"));
  EXPECT_THAT(sampling.stop_token_ids(), ElementsAre(1, 2));
  EXPECT_TRUE(sampling.ignore_eos());
  EXPECT_EQ(asked.decoding(), v1::DECODING_TOP_K);
  EXPECT_TRUE(asked.exact());
  EXPECT_TRUE(asked.has_alpha());
  EXPECT_TRUE(asked.has_offset_version());
}

TEST_F(GenerateCommand, OverridesStayUnsetUnlessGiven) {
  Run({"generate", "--prompt", "-starts with a dash"});
  EXPECT_EQ(service_.asked.text(), "-starts with a dash");
  EXPECT_FALSE(service_.asked.has_alpha());
  EXPECT_FALSE(service_.asked.has_offset_version());
}

TEST_F(GenerateCommand, BracketsInAPromptStayAsTheyAre) {
  Run({"generate", "--prompt", "[a,b]"});
  EXPECT_EQ(service_.asked.text(), "[a,b]");
}

TEST_F(GenerateCommand, FailureInTheMiddleKeepsTheTextButNotTheJson) {
  service_.failure = grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "not finite");
  const CliResult plain = Run({"generate", "--prompt", "Hi"});
  EXPECT_EQ(plain.exit_code, 1);
  EXPECT_EQ(plain.out, "Hel\n");
  EXPECT_EQ(plain.err,
            absl::StrCat("unlearn: FAILED_PRECONDITION: ", server_.address(), ": not finite\n"));
  const CliResult json = Run({"generate", "--prompt", "Hi", "--json"});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_EQ(json.out, "");
}

TEST_F(GenerateCommand, AStreamWithoutAFinishReasonIsAFailure) {
  service_.finish = false;
  const CliResult result = Run({"generate", "--prompt", "Hi", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("finish reason"));
}

TEST_F(GenerateCommand, ControlCharactersReachFilesButNotTerminals) {
  service_.first_text = "a\x1b[2Jb";
  EXPECT_EQ(Run({"generate", "--prompt", "Hi"}).out, "a\x1b[2Jblo\n");
  EXPECT_EQ(Run({"generate", "--prompt", "Hi"}, /*terminal=*/true).out, "a?[2Jblo\n");
}

TEST_F(GenerateCommand, SendsTheToken) {
  const std::string path = ::testing::TempDir() + "/client.token";
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("admin secret-of-the-client\n", file);
  std::fclose(file);
  chmod(path.c_str(), 0600);
  EXPECT_EQ(Run({"generate", "--prompt", "Hi", "--token_file", path}).exit_code, 0);
  EXPECT_EQ(service_.authorization, "Bearer secret-of-the-client");
}

TEST_F(GenerateCommand, ScoreHasExactlyTheDocumentedKeys) {
  const CliResult result =
      Run({"score", "--prompt", "Q", "--completion", " A", "--append_eos", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  const Json json = result.json();
  EXPECT_THAT(Keys(json),
              ElementsAre("token_ids", "logprobs", "sum_logprob", "logprob_error_bound"));
  EXPECT_EQ(json["token_ids"], Json({8, 9}));
  EXPECT_EQ(json["logprobs"].dump(), "[-0.25,-0.1]");
  EXPECT_EQ(json["sum_logprob"], -0.35);
  EXPECT_EQ(service_.scored.text(), "Q");
  EXPECT_EQ(service_.scored.completion_text(), " A");
  EXPECT_TRUE(service_.scored.append_eos());
}

TEST_F(GenerateCommand, ScoreTakesTokenIds) {
  const CliResult result = Run({"score", "--token_ids", "1,2", "--completion_token_ids", "3"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("sum of 2 tokens: -0.350000"));
  EXPECT_THAT(service_.scored.token_ids().ids(), ElementsAre(1, 2));
  EXPECT_THAT(service_.scored.completion_token_ids().ids(), ElementsAre(3));
}

TEST_F(GenerateCommand, AServerThatDoesNotAnswerInTimeIsNamedWithTheFlag) {
  class Slow : public v1::GenerationService::Service {
    grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest*,
                       v1::ScoreResponse*) override {
      while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(10));
      return grpc::Status::CANCELLED;
    }
  } slow;
  FakeServer server(&slow);
  const CliResult result = RunInProcess({"score", "--prompt", "a", "--completion", "b", "--server",
                                         server.address(), "--timeout", "0.3"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("DEADLINE_EXCEEDED"));
  EXPECT_THAT(result.err, HasSubstr("--timeout 0.3"));
}

}  // namespace
}  // namespace unlearn
