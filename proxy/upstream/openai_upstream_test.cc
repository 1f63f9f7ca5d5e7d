#include "proxy/upstream/openai_upstream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"

namespace unlearn {
namespace {

using nlohmann::json;
using Positions = UpstreamStep::Positions;

constexpr int kVocabulary = 6;

// log softmax of M's logits / temperature after token t.
std::vector<double> Law(int64_t t, double temperature = 1) {
  std::vector<double> law(kVocabulary);
  double sum = 0;
  for (int v = 0; v < kVocabulary; ++v) {
    law[v] = std::sin(1.7 * v + 2.3 * static_cast<double>(t)) / temperature;
    sum += std::exp(law[v]);
  }
  for (double& value : law) value -= std::log(sum);
  return law;
}

std::vector<int> ByLaw(const std::vector<double>& law) {
  std::vector<int> order(law.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return law[a] > law[b]; });
  return order;
}

// What the two servers have in common. Members are set before a request that sees them.
struct FakeServer {
  HttpTestServer http;
  int allowed = kVocabulary;  // log-probs
  bool processed = false;     // the law is told after the temperature
  int extra_tokens = 0;       // a BOS in front
  std::string model = "m";
  // Instead of the usual answer to a completion.
  std::function<bool(const json& body, HttpTestServer::Reply&)> instead;

  std::vector<double> LawOf(const json& body) const {
    return Law(body["prompt"].back().get<int>(),
               processed && body["temperature"] != 0 ? body["temperature"].get<double>() : 1);
  }
};

struct FakeVllm : FakeServer {
  FakeVllm() {
    http.Handle("/version",
                [](const auto&, auto& reply) { reply.SendJson(200, R"({"version":"0.32.0"})"); });
    http.Handle("/v1/models", [this](const auto&, auto& reply) {
      reply.SendJson(200,
                     json{{"data", json::array({{{"id", model}, {"max_model_len", 12}}})}}.dump());
    });
    http.Handle("/tokenize", [](const auto& request, auto& reply) {
      const std::string text = json::parse(request.body)["prompt"];
      reply.SendJson(200, json{{"tokens", std::vector<int>(text.size(), 2)}}.dump());
    });
    http.Handle("/v1/completions", [this](const auto& request, auto& reply) {
      const json body = json::parse(request.body);
      if (instead && instead(body, reply)) return;
      const int64_t top = body["logprobs"];
      if (top > allowed || (top < 0 && allowed < kVocabulary)) {
        reply.SendJson(400, json{{"error",
                                  {{"message", absl::StrCat("Requested sample logprobs of ",
                                                            top < 0 ? kVocabulary : top,
                                                            ", which is greater than max allowed: ",
                                                            allowed, " (parameter=logprobs)")},
                                   {"type", "BadRequestError"}}}}
                                .dump());
        return;
      }
      const std::vector<double> law = LawOf(body);
      const std::vector<int> order = ByLaw(law);
      json tops = json::object();
      for (int i = 0; i < (top < 0 ? kVocabulary : top); ++i) {
        tops[absl::StrCat("token_id:", order[i])] = law[order[i]];
      }
      const json logprobs = {
          {"tokens", json::array({absl::StrCat("token_id:", order[0])})},
          {"token_logprobs", json::array({law[order[0]]})},
          {"top_logprobs", json::array({tops})},
      };
      reply.SendJson(200, json{{"choices", json::array({{{"logprobs", logprobs}}})},
                               {"usage", {{"prompt_tokens", body["prompt"].size() + extra_tokens}}}}
                              .dump());
    });
  }
};

struct FakeLlamaCpp : FakeServer {
  FakeLlamaCpp() {
    http.Handle("/props", [](const auto&, auto& reply) { reply.SendJson(200, "{}"); });
    http.Handle("/v1/models", [this](const auto&, auto& reply) {
      reply.SendJson(
          200, json{{"data", json::array({{{"id", model},
                                           {"meta", {{"n_vocab", kVocabulary}, {"n_ctx", 12}}}}})}}
                   .dump());
    });
    http.Handle("/tokenize", [](const auto& request, auto& reply) {
      const std::string text = json::parse(request.body)["content"];
      reply.SendJson(200, json{{"tokens", std::vector<int>(text.size(), 2)}}.dump());
    });
    http.Handle("/completion", [this](const auto& request, auto& reply) {
      const json body = json::parse(request.body);
      if (instead && instead(body, reply)) return;
      const std::vector<double> law = LawOf(body);
      const std::vector<int> order = ByLaw(law);
      json tops = json::array();
      for (int i = 0; i < std::min(body["n_probs"].get<int>(), kVocabulary); ++i) {
        tops.push_back({{"id", order[i]}, {"logprob", law[order[i]]}});
      }
      // The whole character that the client forces.
      const int sampled =
          body.contains("logit_bias") ? body["logit_bias"][0][0].get<int>() : order[0];
      reply.SendJson(
          200,
          json{
              {"tokens_evaluated", body["prompt"].size() + extra_tokens},
              {"completion_probabilities",
               json::array({{{"id", sampled}, {"logprob", law[sampled]}, {"top_logprobs", tops}}})}}
              .dump());
    });
  }
};

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
