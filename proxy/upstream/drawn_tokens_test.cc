// What the dialects ask and read where a server draws tokens by itself.

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/llama_cpp_dialect.h"
#include "proxy/upstream/vllm_dialect.h"

namespace unlearn {
namespace {

using nlohmann::json;

CompletionDialect::Draw Draw(int32_t max_tokens, int32_t top) {
  static const std::vector<int32_t>& prompt = *new std::vector<int32_t>{84, 441};
  CompletionDialect::Draw draw;
  draw.prompt = prompt;
  draw.max_tokens = max_tokens;
  draw.top = top;
  draw.temperature = 0.7;
  draw.seed = 4294967295;
  draw.model = "m";
  return draw;
}

// An event as vLLM 0.32.0 sends it, shortened.
std::string Event(const std::string& logprobs, const std::string& finish_reason = "null",
                  int completion_tokens = 1) {
  return absl::StrCat(R"({"id":"cmpl-1","choices":[{"index":0,"text":"x","logprobs":)", logprobs,
                      R"(,"finish_reason":)", finish_reason,
                      R"(,"stop_reason":null}],"usage":{"prompt_tokens":9,"total_tokens":12,)",
                      R"("completion_tokens":)", completion_tokens, "}}");
}

TEST(DrawnTokensTest, VllmIsAskedForAStreamWithoutItsSamplers) {
  const auto dialect = NewVllmDialect();
  EXPECT_TRUE(dialect->streams_draws());
  const json body = json::parse(dialect->DrawBody(Draw(50, 20)));
  EXPECT_EQ(body["prompt"], json({84, 441}));
  EXPECT_EQ(body["max_tokens"], 50);
  EXPECT_EQ(body["logprobs"], 20);
  EXPECT_EQ(body["temperature"], 0.7);
  EXPECT_EQ(body["seed"], 4294967295);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["stream_options"]["continuous_usage_stats"], true);
  EXPECT_EQ(body["return_tokens_as_token_ids"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["top_p"], 1);
  EXPECT_EQ(body["top_k"], 0);
  EXPECT_EQ(body["min_p"], 0);
  EXPECT_EQ(body["presence_penalty"], 0);
  EXPECT_EQ(body["frequency_penalty"], 0);
  EXPECT_EQ(body["repetition_penalty"], 1);
  EXPECT_EQ(body["min_tokens"], 0);
  EXPECT_EQ(body["stop"], json::array());
}

TEST(DrawnTokensTest, AnEventOfVllmMayHoldSeveralTokensAndAnEntryMore) {
  const auto drawn = NewVllmDialect()->ReadDrawn(
      Event(R"({"token_logprobs":[-2.0,-9.5],"tokens":["token_id:667","token_id:5"],)"
            R"("top_logprobs":[{"token_id:667":-2.0,"token_id:699":-2.75},)"
            R"({"token_id:5":-9.5,"token_id:7":-1.5,"token_id:8":-1.0}]})",
            "null", 2),
      Draw(3, 2));
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  ASSERT_EQ(drawn->rows.size(), 2);
  EXPECT_EQ(drawn->rows[0].id, 667);
  EXPECT_EQ(drawn->rows[0].top.ids, std::vector<int32_t>({667, 699}));
  EXPECT_EQ(drawn->rows[1].id, 5);
  EXPECT_EQ(drawn->rows[1].logprob, -9.5);
  EXPECT_EQ(drawn->rows[1].top.ids, std::vector<int32_t>({8, 7}));
  EXPECT_EQ(drawn->prompt_tokens, 9);
  EXPECT_EQ(drawn->drawn_tokens, 2);
  EXPECT_FALSE(drawn->ended);
}

TEST(DrawnTokensTest, EndsOfVllm) {
  const auto dialect = NewVllmDialect();
  const std::string one =
      R"({"token_logprobs":[-7.5],"tokens":["token_id:256"],"top_logprobs":[{"token_id:256":-7.5}]})";
  for (const std::string reason : {R"("stop")", R"("length")"}) {
    const auto drawn = dialect->ReadDrawn(Event(one, reason), Draw(9, 1));
    ASSERT_TRUE(drawn.ok()) << drawn.status();
    EXPECT_EQ(drawn->rows.size(), 1) << "the end token is a token";
    EXPECT_TRUE(drawn->ended);
  }
  const auto empty = dialect->ReadDrawn(Event("null", R"("stop")"), Draw(9, 1));
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_TRUE(empty->rows.empty());
  EXPECT_EQ(dialect->ReadDrawn(Event(one, R"("abort")"), Draw(9, 1)).status().code(),
            absl::StatusCode::kUnavailable);
  const auto count = dialect->ReadDrawn(
      R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}})", Draw(9, 1));
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count->drawn_tokens, 3);
  EXPECT_FALSE(count->ended);
}

TEST(DrawnTokensTest, ErrorsInAStreamOfVllm) {
  const auto dialect = NewVllmDialect();
  const absl::Status status =
      dialect
          ->ReadDrawn(R"({"error":{"message":"secret prompt","type":"InternalServerError",)"
                      R"("code":500}})",
                      Draw(9, 1))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status;
  for (const std::string& event : {
           std::string("{"),
           std::string("{}"),
           std::string(R"({"choices":null})"),
           std::string(R"({"choices":[{},{}]})"),
           Event("null"),
           Event(R"({"token_logprobs":[-2],"tokens":[],"top_logprobs":[]})"),
           Event(R"({"token_logprobs":[-2],"tokens":["x"],"top_logprobs":[{"token_id:1":-2}]})"),
           Event(R"({"token_logprobs":[-9999.0],"tokens":["token_id:1"],)"
                 R"("top_logprobs":[{"token_id:2":-2}]})"),
       }) {
    EXPECT_EQ(dialect->ReadDrawn(event, Draw(9, 1)).status().code(), absl::StatusCode::kInternal)
        << event;
  }
}

TEST(DrawnTokensTest, LlamaCppIsAskedForAllTokensAtOnceWithoutItsSamplers) {
  const auto dialect = NewLlamaCppDialect();
  EXPECT_FALSE(dialect->streams_draws());
  const json body = json::parse(dialect->DrawBody(Draw(8, 20)));
  EXPECT_EQ(body["n_predict"], 8);
  EXPECT_EQ(body["n_probs"], 20);
  EXPECT_EQ(body["temperature"], 0.7);
  EXPECT_EQ(body["dynatemp_range"], 0);
  EXPECT_EQ(body["mirostat"], 0);
  EXPECT_EQ(body["samplers"], json::array({"temperature"}));
  EXPECT_EQ(body["seed"], 4294967295);
  EXPECT_EQ(body["return_tokens"], true);
  EXPECT_EQ(body["stream"], false);
  EXPECT_EQ(body["logit_bias"], json::array());
  EXPECT_EQ(body["ignore_eos"], false) << "it would take the end out of the law";
}

// An answer of llama.cpp with entries for these ids; the log-prob says which entry it is.
std::string Answer(const std::vector<int>& tokens, const std::vector<int>& entries,
                   const std::string& stop_type = "limit") {
  json answer = {{"tokens", tokens},
                 {"tokens_evaluated", 2},
                 {"tokens_predicted", tokens.size()},
                 {"stop_type", stop_type}};
  for (const int id : entries) {
    const double logprob = -1.0 - static_cast<double>(answer["completion_probabilities"].size());
    answer["completion_probabilities"].push_back(
        {{"id", id},
         {"logprob", logprob},
         {"top_logprobs", json::array({{{"id", 3}, {"logprob", -0.5}}})}});
  }
  return answer.dump();
}

// The log-probs of the rows; 0 for a token without one.
std::vector<double> Told(const absl::StatusOr<DrawnTokens>& drawn) {
  EXPECT_TRUE(drawn.ok()) << drawn.status();
  std::vector<double> told;
  for (const SampledRow& row : drawn->rows) {
    EXPECT_EQ(row.top.ids.empty(), row.logprob == 0);
    told.push_back(row.logprob);
  }
  return told;
}

TEST(DrawnTokensTest, RowsOfLlamaCppGoToTheirTokens) {
  const auto dialect = NewLlamaCppDialect();
  const auto all = dialect->ReadDrawn(Answer({5, 6, 5}, {5, 6, 5}), Draw(3, 1));
  EXPECT_EQ(Told(all), std::vector<double>({-1, -2, -3}));
  EXPECT_EQ(all->prompt_tokens, 2);
  EXPECT_EQ(all->drawn_tokens, 3);
  EXPECT_FALSE(all->ended);
  EXPECT_EQ(all->rows[1].top.ids, std::vector<int32_t>({3}));
  // As seen: tokens after which the text ends within a character have no entry.
  EXPECT_EQ(Told(dialect->ReadDrawn(Answer({550, 208, 56, 208, 486}, {550, 56, 486}), Draw(5, 1))),
            std::vector<double>({-1, 0, -2, 0, -3}));
  EXPECT_EQ(Told(dialect->ReadDrawn(Answer({208, 208}, {}), Draw(2, 1))),
            std::vector<double>({0, 0}));
}

TEST(DrawnTokensTest, ARowThatMayBeOfOneOrAnotherTokenIsOfNone) {
  const auto dialect = NewLlamaCppDialect();
  // Which of the two 115 is without a character of its own?
  EXPECT_EQ(Told(dialect->ReadDrawn(Answer({7, 245, 115, 115, 8}, {7, 115, 8}), Draw(5, 1))),
            std::vector<double>({-1, 0, 0, 0, -3}));
}

TEST(DrawnTokensTest, EndsOfLlamaCpp) {
  const auto dialect = NewLlamaCppDialect();
  EXPECT_TRUE(dialect->ReadDrawn(Answer({5, 256}, {5, 256}, "eos"), Draw(4, 1))->ended);
  EXPECT_TRUE(dialect->ReadDrawn(Answer({5}, {5}), Draw(4, 1))->ended) << "the context is full";
  EXPECT_FALSE(dialect->ReadDrawn(Answer({5}, {5}), Draw(1, 1))->ended);
}

TEST(DrawnTokensTest, WhatIsNoAnswerOfLlamaCppIsAnError) {
  const auto dialect = NewLlamaCppDialect();
  for (const std::string& answer : {
           std::string("half of"),
           std::string("{}"),
           Answer({}, {}),
           Answer({5}, {6}),
           Answer({5, 6}, {6, 5}),
           Answer({5}, {5, 5}),
           Answer({5}, {5}, "none"),
           Answer({5}, {5}, "word"),
           Answer({-1}, {}),
           std::string(R"({"tokens":[5],"stop_type":"limit","completion_probabilities":{}})"),
           std::string(R"({"tokens":["x"],"stop_type":"limit"})"),
           std::string(R"({"tokens":[5]})"),
       }) {
    EXPECT_EQ(dialect->ReadDrawn(answer, Draw(4, 1)).status().code(), absl::StatusCode::kInternal)
        << answer;
  }
}

}  // namespace
}  // namespace unlearn
