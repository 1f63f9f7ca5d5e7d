#include "proxy/upstream/completion_sample.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/testing/sample_setting.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

// An event of vLLM: these tokens, each the most likely one.
std::string Event(const std::vector<int>& ids, json finish_reason = nullptr, json usage = nullptr) {
  json logprobs = {{"tokens", json::array()},
                   {"token_logprobs", json::array()},
                   {"top_logprobs", json::array()}};
  for (const int id : ids) {
    logprobs["tokens"].push_back(absl::StrCat("token_id:", id));
    logprobs["token_logprobs"].push_back(-0.5);
    logprobs["top_logprobs"].push_back({{absl::StrCat("token_id:", id), -0.5},
                                        {absl::StrCat("token_id:", (id + 1) % kVocabulary), -1.5}});
  }
  return json{
      {"choices", json::array({{{"logprobs", logprobs}, {"finish_reason", finish_reason}}})},
      {"usage", usage}}
      .dump();
}

Handler Events(std::vector<std::string> events) {
  return [events = std::move(events)](const json&, Reply& reply) {
    reply.StartStream();
    for (const std::string& event : events) reply.WriteEvent(event);
    reply.EndStream();
  };
}

TEST(CompletionSampleTest, AStream) {
  Setting setting(true,
                  Events({Event({3}, nullptr, {{"prompt_tokens", 2}, {"completion_tokens", 1}}),
                          Event({4, 5}), Event({6}, "length"),
                          R"({"choices":[],"usage":{"completion_tokens":4}})", "[DONE]"}));
  Told told;
  setting.Sample(told, 4);
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(told.text(), "3 4 5 6 .");
  const json body = Body(setting.http.requests()[0]);
  EXPECT_EQ(body["prompt"], json({1, 2}));
  EXPECT_EQ(body["max_tokens"], 4);
  EXPECT_EQ(body["logprobs"], 2);
}

TEST(CompletionSampleTest, AStreamThatEndsWithItsEndToken) {
  Setting setting(true, Events({Event({3}), Event({0}, "stop"), "[DONE]"}));
  Told told;
  setting.Sample(told, 50);
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(told.text(), "3 0 .");
}

TEST(CompletionSampleTest, TokensArriveAsTheyCome) {
  absl::Notification go_on;
  Setting setting(true, [&](const json&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent(Event({3}));
    go_on.WaitForNotification();
    reply.WriteEvent(Event({4}, "length"));
    reply.WriteEvent("[DONE]");
    reply.EndStream();
  });
  Told told;
  setting.Sample(told, 2);
  EXPECT_EQ(told.WaitForText("3 "), "3 ");
  go_on.Notify();
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(told.text(), "3 4 .");
}

// What came before an error is told.
struct WrongStream {
  std::vector<std::string> events;
  std::string text;
  absl::StatusCode code;
  std::string message;
};

TEST(CompletionSampleTest, StreamsThatAreWrong) {
  const WrongStream cases[] = {
      {{Event({3}), Event({4})}, "3 4 ", absl::StatusCode::kUnavailable, "without [DONE]"},
      {{Event({3}, "length")}, "3 ", absl::StatusCode::kUnavailable, "without [DONE]"},
      {{Event({3}), "[DONE]"}, "3 ", absl::StatusCode::kUnavailable, "without saying why"},
      {{Event({3}), R"({"error":{"type":"Internal","code":500}})", "[DONE]"},
       "3 ",
       absl::StatusCode::kUnavailable,
       "500"},
      // Our own request was understood before, so this is the server's fault.
      {{Event({3}), R"({"error":{"type":"BadRequestError","code":400}})"},
       "3 ",
       absl::StatusCode::kInternal,
       "400"},
      {{Event({3}), "garbage"}, "3 ", absl::StatusCode::kInternal, "vLLM"},
      {{Event({3}, "abort")}, "", absl::StatusCode::kUnavailable, "broke"},
      {{Event({kVocabulary})}, "", absl::StatusCode::kInternal, "vocabulary of 10"},
      {{Event({3}, nullptr, {{"prompt_tokens", 3}})},
       "",
       absl::StatusCode::kInternal,
       "3 tokens where 2 were sent"},
      {{Event({3}), Event({4}, nullptr, {{"completion_tokens", 3}})},
       "3 ",
       absl::StatusCode::kInternal,
       "3 tokens and told 2"},
      {{Event({3, 4, 5, 6, 7})}, "", absl::StatusCode::kInternal, "more tokens"},
      {{Event({3}, "length"), Event({4})}, "3 ", absl::StatusCode::kInternal, "more tokens"},
      // The log-prob of the token is not that of its row.
      {{R"({"choices":[{"logprobs":{"tokens":["token_id:3"],"token_logprobs":[-2.5],)"
        R"("top_logprobs":[{"token_id:3":-0.5}]}}]})"},
       "",
       absl::StatusCode::kInternal,
       "not the one"},
      {{R"({"choices":[{"logprobs":{"tokens":["token_id:3"],"token_logprobs":[-0.5],)"
        R"("top_logprobs":[{"token_id:3":-0.5,"token_id:4":0.5}]}}]})"},
       "",
       absl::StatusCode::kInternal,
       "above 0"},
  };
  for (const WrongStream& wrong : cases) {
    Setting setting(true, Events(wrong.events));
    Told told;
    setting.Sample(told, 4);
    const absl::Status status = told.WaitForEnd();
    EXPECT_EQ(status.code(), wrong.code) << status << ", case " << &wrong - cases;
    EXPECT_NE(status.message().find(wrong.message), std::string::npos) << status;
    EXPECT_NE(status.message().find("127.0.0.1"), std::string::npos) << status;
    EXPECT_EQ(told.text(), wrong.text) << &wrong - cases;
  }
}

TEST(CompletionSampleTest, ABodyThatIsCutOff) {
  Setting setting(true, [](const json&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent(Event({3}));
    reply.Write(R"(data: {"choi)");
    reply.Close();
  });
  Told told;
  setting.Sample(told, 4);
  EXPECT_EQ(told.WaitForEnd().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(told.text(), "3 ");
}

TEST(CompletionSampleTest, ARefusalLeavesTheSessionAsItWas) {
  for (const bool vllm : {true, false}) {
    Setting setting(vllm, [](const json&, Reply& reply) {
      reply.SendJson(400, R"({"error":{"type":"BadRequestError"}})");
    });
    Told told, again;
    setting.Sample(told, 4);
    EXPECT_EQ(told.WaitForEnd().code(), absl::StatusCode::kInvalidArgument);
    setting.Sample(again, 4);
    EXPECT_EQ(again.WaitForEnd().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(setting.http.requests().size(), 2);
  }
}

TEST(CompletionSampleTest, ErrorsInsteadOfAnAnswer) {
  for (const bool vllm : {true, false}) {
    Setting busy(vllm, [](const json&, Reply& reply) { reply.SendJson(503, "loading"); });
    Told told;
    busy.Sample(told, 4);
    EXPECT_EQ(told.WaitForEnd().code(), absl::StatusCode::kUnavailable);
    Setting gone(vllm, [](const json&, Reply& reply) { reply.Close(); });
    Told nothing;
    gone.Sample(nothing, 4);
    EXPECT_EQ(nothing.WaitForEnd().code(), absl::StatusCode::kUnavailable);
  }
}

TEST(CompletionSampleTest, TooLateATokenNamesItsFlag) {
  for (const bool vllm : {true, false}) {
    Setting silent(
        vllm, [](const json&, Reply& reply) { reply.WaitUntilClientLeaves(); },
        absl::Milliseconds(100));
    Told told;
    silent.Sample(told, 8);
    const absl::Status status = told.WaitForEnd();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_NE(status.message().find("--upstream_first_token_timeout"), std::string::npos) << status;
  }
  const auto stalls = [](Told& told, bool vllm, Handler handler) {
    Setting setting(vllm, std::move(handler), absl::Seconds(30), absl::Milliseconds(100));
    setting.Sample(told, 8);
    const absl::Status status = told.WaitForEnd();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_NE(status.message().find("--upstream_idle_timeout"), std::string::npos) << status;
  };
  Told stream, window;
  stalls(stream, true, [](const json&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent(Event({3}));
    reply.WaitUntilClientLeaves();
  });
  EXPECT_EQ(stream.text(), "3 ");
  stalls(window, false, [](const json& body, Reply& reply) {
    if (body["prompt"].size() > 2) {
      reply.WaitUntilClientLeaves();
    } else {
      reply.SendJson(200, Window({3, 4, 5, 6}, 2));
    }
  });
  EXPECT_EQ(window.text(), "3 4 5 6 ");
}

TEST(CompletionSampleTest, AStepASampleOrTheEndClosesTheConnection) {
  enum class By { kStep, kSample, kEnd };
  for (const bool vllm : {true, false}) {
    for (const By by : {By::kStep, By::kSample, By::kEnd}) {
      absl::Notification left;
      int requests = 0;  // handlers of one connection after the other
      Setting setting(vllm, [&](const json& body, Reply& reply) {
        if (body["prompt"].size() == 4) {  // what comes instead, after one of the drawn tokens
          reply.SendJson(400, "{}");
        } else if (!vllm && body["prompt"].size() == 2) {
          reply.SendJson(200, Window({3, 4, 5, 6}, 2));
        } else {
          if (vllm) {
            reply.StartStream();
            reply.WriteEvent(Event({3, 4}));
          }
          ++requests;
          if (reply.WaitUntilClientLeaves()) left.Notify();
        }
      });
      Told told, next;
      setting.Sample(told, 50);
      const std::string first = vllm ? "3 4 " : "3 4 5 6 ";
      EXPECT_EQ(told.WaitForText(first), first);
      // Its second request is under way.
      ASSERT_TRUE(setting.http.WaitForRequests(vllm ? 1 : 2));
      if (by == By::kStep) {
        EXPECT_EQ(StepAndWait(*setting.session, {3, {7}, Positions::kLast}).status().code(),
                  absl::StatusCode::kInvalidArgument);
      } else if (by == By::kSample) {
        UpstreamSampling sampling;
        sampling.base_position = 3;
        sampling.token_ids = {7};
        setting.session->Sample(sampling, next.Callback());
        EXPECT_EQ(next.WaitForEnd().code(), absl::StatusCode::kInvalidArgument);
      } else {
        setting.session.reset();
      }
      left.WaitForNotification();
      if (by != By::kEnd) {
        EXPECT_EQ(Body(setting.http.requests().back())["prompt"], json({1, 2, 3, 7}));
      }
      EXPECT_EQ(told.text(), first);
    }
  }
}

}  // namespace
}  // namespace unlearn
