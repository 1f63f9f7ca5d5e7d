#include "proxy/upstream/openai_upstream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"
#include "proxy/upstream/testing/fake_completion_servers.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

UpstreamOptions Options() {
  UpstreamOptions options;
  options.eos_token_ids = {1};
  return options;
}

void ExpectLaw(const std::vector<float>& row, int64_t token) {
  const std::vector<double> law = Law(token);
  ASSERT_EQ(row.size(), law.size());
  for (size_t v = 0; v < law.size(); ++v) EXPECT_NEAR(row[v], law[v], 1e-6) << v;
}

void CheckWholeRows(FakeServer& server, const std::string& kind_of_error) {
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const UpstreamInfo& info = (*upstream)->info();
  EXPECT_EQ(info.kind, "openai");
  EXPECT_EQ(info.model_id, "m");
  EXPECT_EQ(info.vocab_size, kVocabulary);
  EXPECT_EQ(info.top, 0) << "the whole vocabulary is told";
  EXPECT_EQ(info.max_context, 11);
  EXPECT_GT(info.logprob_error, 0) << kind_of_error;
  const auto session = (*upstream)->NewSession().value();
  const auto last = StepAndWait(*session, {0, {3, 4}, Positions::kLast});
  ASSERT_TRUE(last.ok()) << last.status();
  ExpectLaw(last->logits, 4);
  const auto all = StepAndWait(*session, {2, {5, 0}, Positions::kAll});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->rows, 2);
  ExpectLaw({all->logits.begin(), all->logits.begin() + kVocabulary}, 5);
  ExpectLaw({all->logits.begin() + kVocabulary, all->logits.end()}, 0);
  const auto back = StepAndWait(*session, {1, {2}, Positions::kLast});
  ASSERT_TRUE(back.ok()) << back.status();
  ExpectLaw(back->logits, 2);
  EXPECT_EQ(json::parse(server.http.requests().back().body)["prompt"], json({3, 2}));
}

TEST(OpenaiUpstreamTest, WholeRowsOfVllm) {
  FakeVllm server;
  CheckWholeRows(server, "vLLM");
}

TEST(OpenaiUpstreamTest, WholeRowsOfLlamaCpp) {
  FakeLlamaCpp server;
  CheckWholeRows(server, "llama.cpp");
  EXPECT_EQ(json::parse(server.http.requests().back().body)["logit_bias"][0][0], 2);
}

TEST(OpenaiUpstreamTest, WhatTheServerAllowsAndTheOperatorWants) {
  FakeVllm server;
  server.allowed = 3;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  EXPECT_EQ((*upstream)->info().vocab_size, kVocabulary);
  EXPECT_EQ((*upstream)->info().top, 3);
  const auto session = (*upstream)->NewSession().value();
  const auto step = StepAndWait(*session, {0, {3}, Positions::kLast});
  ASSERT_TRUE(step.ok()) << step.status();
  ASSERT_EQ(step->tops.size(), 1);
  EXPECT_TRUE(step->logits.empty());
  const std::vector<double> law = Law(3);
  const std::vector<int> order = ByLaw(law);
  EXPECT_EQ(step->tops[0].ids, std::vector<int32_t>(order.begin(), order.begin() + 3));
  EXPECT_NEAR(step->tops[0].logprobs[2], law[order[2]], 1e-9);
  // Less for one step.
  EXPECT_EQ(StepAndWait(*session, {0, {3}, Positions::kLast, 2})->tops[0].ids.size(), 2);

  UpstreamOptions more = Options();
  more.top = 4;
  const absl::Status status = OpenaiUpstream::Open(server.http.url(), more).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(status.message().find("--upstream_top"), std::string::npos) << status;
}

TEST(OpenaiUpstreamTest, ALawAfterTheTemperatureIsRefused) {
  FakeVllm server;
  server.processed = true;
  const absl::Status status = OpenaiUpstream::Open(server.http.url(), Options()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("--logprobs-mode"), std::string::npos) << status;
}

TEST(OpenaiUpstreamTest, AnExtraBosIsNoticed) {
  FakeLlamaCpp server;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  server.extra_tokens = 1;
  const auto session = (*upstream)->NewSession().value();
  const absl::Status status = StepAndWait(*session, {0, {3}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_NE(status.message().find("2 tokens where 1 were sent"), std::string::npos) << status;
}

TEST(OpenaiUpstreamTest, AnswersThatAreNoLawAreErrors) {
  using Reply = HttpTestServer::Reply;
  struct Case {
    absl::StatusCode code;
    std::function<void(Reply&)> answer;
  };
  const auto law = [](const std::string& tops) {
    return [tops](Reply& reply) {
      reply.SendJson(200, absl::StrCat(R"({"completion_probabilities":[{"id":1,"logprob":-1,)",
                                       R"("top_logprobs":)", tops, "}]}"));
    };
  };
  const Case cases[] = {
      {absl::StatusCode::kInternal, law("[]")},
      {absl::StatusCode::kInternal, law(R"([{"id":6,"logprob":-1}])")},
      {absl::StatusCode::kInternal, law(R"([{"id":2,"logprob":-1},{"id":2,"logprob":-1}])")},
      {absl::StatusCode::kInternal, law(R"([{"id":2,"logprob":0.5}])")},
      {absl::StatusCode::kInternal, law(R"([{"id":2,"logprob":NaN}])")},
      {absl::StatusCode::kInternal, [](Reply& reply) { reply.SendJson(200, "half of it"); }},
      {absl::StatusCode::kUnavailable,
       [](Reply& reply) {
         reply.Send(200, "application/json", R"({"compl)", {{"Content-Length", "1000"}});
         reply.Close();
       }},
      {absl::StatusCode::kUnavailable, [](Reply& reply) { reply.Close(); }},
      {absl::StatusCode::kUnavailable, [](Reply& reply) { reply.SendJson(503, "loading"); }},
      {absl::StatusCode::kUnavailable, [](Reply& reply) { reply.SendJson(500, "{}"); }},
      {absl::StatusCode::kResourceExhausted, [](Reply& reply) { reply.SendJson(429, "{}"); }},
      {absl::StatusCode::kUnauthenticated,
       [](Reply& reply) { reply.SendJson(401, R"({"error":"Unauthorized"})"); }},
  };
  for (const Case& wrong : cases) {
    FakeLlamaCpp server;
    const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
    ASSERT_TRUE(upstream.ok()) << upstream.status();
    server.instead = [&](const json&, Reply& reply) {
      wrong.answer(reply);
      return true;
    };
    const auto session = (*upstream)->NewSession().value();
    const absl::Status status = StepAndWait(*session, {0, {3}, Positions::kLast}).status();
    EXPECT_EQ(status.code(), wrong.code) << status << ", case " << &wrong - cases;
    EXPECT_NE(status.message().find("127.0.0.1"), std::string::npos) << status;
  }
}

TEST(OpenaiUpstreamTest, AFrozenServerIsLeftAtTheTimeout) {
  FakeLlamaCpp server;
  UpstreamOptions options = Options();
  options.step_timeout_seconds = 0.5;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), options);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  server.instead = [](const json&, HttpTestServer::Reply& reply) {
    reply.WaitUntilClientLeaves();
    return true;
  };
  const auto session = (*upstream)->NewSession().value();
  const absl::Status status = StepAndWait(*session, {0, {3}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_NE(status.message().find("upstream_step_timeout"), std::string::npos) << status;
}

TEST(OpenaiUpstreamTest, ClosingASessionClosesItsConnection) {
  FakeLlamaCpp server;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  absl::Notification arrived, left;
  server.instead = [&](const json&, HttpTestServer::Reply& reply) {
    arrived.Notify();
    if (reply.WaitUntilClientLeaves()) left.Notify();
    return true;
  };
  auto session = (*upstream)->NewSession().value();
  absl::Mutex mutex;
  absl::Status status;
  session->Step({0, {3}, Positions::kLast}, [&](auto logits) {
    absl::MutexLock lock(&mutex);
    status = logits.status();
  });
  arrived.WaitForNotification();
  session.reset();
  {
    absl::MutexLock lock(&mutex);
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }
  left.WaitForNotification();
}

TEST(OpenaiUpstreamTest, OtherServersAndMissingOptionsAreRefused) {
  HttpTestServer other;
  absl::Status status = OpenaiUpstream::Open(other.url(), Options()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("neither vLLM"), std::string::npos) << status;

  FakeLlamaCpp server;
  status = OpenaiUpstream::Open(server.http.url(), {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(status.message().find("--upstream_eos_ids"), std::string::npos) << status;
  UpstreamOptions outside = Options();
  outside.eos_token_ids = {kVocabulary};
  EXPECT_EQ(OpenaiUpstream::Open(server.http.url(), outside).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(OpenaiUpstreamTest, AnotherModelIsNoticedAndTextsAreTokenised) {
  FakeLlamaCpp server;
  const auto upstream = OpenaiUpstream::Open(server.http.url(), Options());
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  EXPECT_EQ(*(*upstream)->Tokenize("abc"), std::vector<int32_t>({2, 2, 2}));
  EXPECT_TRUE((*upstream)->Probe().ok());
  server.model = "another";
  EXPECT_EQ((*upstream)->Probe().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace unlearn
