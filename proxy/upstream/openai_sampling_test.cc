// Tokens that the server draws by itself, from the opening on: whether it may, and what comes.

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "absl/synchronization/notification.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/openai_upstream.h"
#include "proxy/upstream/testing/fake_completion_servers.h"

namespace unlearn {
namespace {

UpstreamOptions Options(int32_t top = 0) {
  UpstreamOptions options;
  options.eos_token_ids = {1};
  options.top = top;
  return options;
}

UpstreamInfo InfoOf(const FakeServer& server, int32_t top = 0) {
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options(top));
  EXPECT_TRUE(upstream.ok()) << upstream.status();
  return upstream.ok() ? (*upstream)->info() : UpstreamInfo();
}

void ExpectSamples(const FakeServer& server, int32_t top = 0) {
  const UpstreamInfo info = InfoOf(server, top);
  EXPECT_TRUE(info.samples) << info.samples_refused;
  EXPECT_EQ(info.samples_refused, "");
}

void ExpectRefused(const FakeServer& server, const std::string& reason, int32_t top = 0) {
  const UpstreamInfo info = InfoOf(server, top);
  EXPECT_FALSE(info.samples);
  EXPECT_NE(info.samples_refused.find(reason), std::string::npos) << info.samples_refused;
}

absl::StatusOr<std::vector<SampledRow>> SampleAndWait(UpstreamSession& session,
                                                      UpstreamSampling sampling) {
  absl::Notification over;
  absl::Status status;
  std::vector<SampledRow> all;
  session.Sample(std::move(sampling), [&](absl::StatusOr<SampledRows> rows) {
    status = rows.status();
    if (rows.ok()) all.insert(all.end(), rows->rows.begin(), rows->rows.end());
    if (!rows.ok() || rows->ended) over.Notify();
  });
  over.WaitForNotification();
  if (!status.ok()) return status;
  return all;
}

UpstreamSampling Sampling(double temperature, int32_t max_tokens) {
  UpstreamSampling sampling;
  sampling.token_ids = {3};
  sampling.temperature = temperature;
  sampling.max_tokens = max_tokens;
  return sampling;
}

TEST(OpenaiSamplingTest, ServersThatDrawFromTheirLawMay) {
  ExpectSamples(FakeVllm());
  ExpectSamples(FakeVllm(), /*top=*/4);
  ExpectSamples(FakeLlamaCpp());
  ExpectSamples(FakeLlamaCpp(), /*top=*/4);
}

TEST(OpenaiSamplingTest, TokensWithoutALawAreJudgedByTheLawThatIsAskedFor) {
  FakeLlamaCpp server;
  server.hidden = ByLaw(Law(2))[0];
  ExpectSamples(server);
  ExpectSamples(server, /*top=*/4);
}

TEST(OpenaiSamplingTest, OtherDrawsAreRefused) {
  {
    FakeVllm server;
    server.context = 64;  // room for all draws of the probe
    server.draws_among = 3;
    ExpectRefused(server, "temperature 1 is not from the law");
  }
  {
    FakeLlamaCpp server;
    server.context = 64;
    server.draws_among = 3;
    ExpectRefused(server, "temperature 1 is not from the law");
  }
  {
    FakeVllm server;
    server.context = 64;
    server.draws_at = 1;
    ExpectRefused(server, "temperature 1/4 is not from the law", /*top=*/5);
  }
  {
    FakeLlamaCpp server;
    server.context = 64;
    server.draws_at = 0.3;
    ExpectRefused(server, "temperature 1 is not from the law");
  }
}

TEST(OpenaiSamplingTest, WhatCannotBeTestedIsRefused) {
  {
    FakeLlamaCpp server;
    ExpectRefused(server, "too few to test", /*top=*/1);
  }
  {
    FakeVllm server;  // an older one: no streams
    server.instead = [](const json& body, HttpTestServer::Reply& reply) {
      if (!body.value("stream", false)) return false;
      reply.SendJson(500, "{}");
      return true;
    };
    ExpectRefused(server, "HTTP 500");
    // Where nothing is drawn all else is as it was.
    const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
    ASSERT_TRUE(upstream.ok()) << upstream.status();
    const auto session = (*upstream)->NewSession().value();
    EXPECT_EQ(SampleAndWait(*session, Sampling(1, 2)).status().code(),
              absl::StatusCode::kUnimplemented);
    EXPECT_TRUE(StepAndWait(*session, {0, {3}, UpstreamStep::Positions::kLast}).ok());
  }
}

// The tokens are those of the law's own chain, and so are the laws.
void CheckGreedy(FakeServer& server, size_t top) {
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options(static_cast<int>(top)));
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const auto session = (*upstream)->NewSession().value();
  // The context of 12 has room for 11 more.
  const auto rows = SampleAndWait(*session, Sampling(0, 50));
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 11);
  int last = 3;
  for (const SampledRow& row : *rows) {
    const std::vector<double> law = Law(last);
    last = ByLaw(law)[0];
    EXPECT_EQ(row.id, last);
    ASSERT_EQ(row.top.ids.size(), top);
    EXPECT_NEAR(row.logprob, law[last], 1e-9);
    EXPECT_NEAR(row.top.logprobs[top - 1], law[row.top.ids[top - 1]], 1e-9);
  }
  // A Step goes on where the caller wants.
  const auto step = StepAndWait(*session, {5, {0}, UpstreamStep::Positions::kLast});
  ASSERT_TRUE(step.ok()) << step.status();
  const json prompt = json::parse(server.http.requests().back().body)["prompt"];
  ASSERT_EQ(prompt.size(), 6);
  EXPECT_EQ(prompt[4], (*rows)[3].id);
}

TEST(OpenaiSamplingTest, StreamsOfVllm) {
  FakeVllm server;
  CheckGreedy(server, kVocabulary);
  CheckGreedy(server, 3);
}

TEST(OpenaiSamplingTest, WindowsOfLlamaCpp) {
  FakeLlamaCpp server;
  CheckGreedy(server, kVocabulary);
  CheckGreedy(server, 3);
}

TEST(OpenaiSamplingTest, EachSampleHasASeedOfItsOwn) {
  FakeVllm server;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const size_t before = server.http.requests().size();
  for (int i = 0; i < 10; ++i) {
    const auto session = (*upstream)->NewSession().value();
    ASSERT_TRUE(SampleAndWait(*session, Sampling(1, 1)).ok());
  }
  std::set<uint64_t> seeds;
  const auto requests = server.http.requests();
  for (size_t i = before; i < requests.size(); ++i) {
    seeds.insert(json::parse(requests[i].body)["seed"].get<uint64_t>());
  }
  EXPECT_GE(seeds.size(), 9);
}

TEST(OpenaiSamplingTest, VllmDrawsAtNoTemperatureNextToZero) {
  FakeVllm server;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const auto session = (*upstream)->NewSession().value();
  EXPECT_EQ(SampleAndWait(*session, Sampling(0.005, 1)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace unlearn
