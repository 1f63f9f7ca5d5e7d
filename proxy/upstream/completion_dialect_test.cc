#include "proxy/upstream/completion_dialect.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/llama_cpp_dialect.h"
#include "proxy/upstream/vllm_dialect.h"

namespace unlearn {
namespace {

using nlohmann::json;

// As vLLM 0.32.0 answers, shortened.
std::string VllmAnswer(const std::string& tokens, const std::string& logprobs,
                       const std::string& tops) {
  return absl::StrCat(
      R"({"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"index":0,"text":"fp",)",
      R"("logprobs":{"text_offset":[0],"token_logprobs":)", logprobs, R"(,"tokens":)", tokens,
      R"(,"top_logprobs":)", tops, R"(},"finish_reason":"length","stop_reason":null}],)",
      R"("usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1}})");
}

TEST(CompletionDialectTest, VllmIsAskedForTheLawAndNothingElse) {
  CompletionDialect::Query query;
  const std::vector<int32_t> prompt = {84, 441};
  query.prompt = prompt;
  query.top = 20;
  query.model = "m";
  query.cache_group = "salt";
  const json body = json::parse(NewVllmDialect()->Body(query));
  EXPECT_EQ(body["prompt"], json({84, 441}));
  EXPECT_EQ(body["logprobs"], 20);
  EXPECT_EQ(body["max_tokens"], 1);
  EXPECT_EQ(body["return_tokens_as_token_ids"], true);
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["cache_salt"], "salt");
  EXPECT_EQ(body["repetition_penalty"], 1);
  query.cache_group.clear();
  EXPECT_FALSE(json::parse(NewVllmDialect()->Body(query)).contains("cache_salt"));
}

TEST(CompletionDialectTest, VllmTellsTheTop) {
  const auto row = NewVllmDialect()->ReadRow(
      VllmAnswer(R"(["token_id:667"])", "[-2.086]",
                 R"([{"token_id:667":-2.086,"token_id:150":-3.27,"token_id:699":-2.75}])"),
      3);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->prompt_tokens, 9);
  EXPECT_EQ(row->sampled, 667);
  EXPECT_EQ(row->sampled_logprob, -2.086);
  EXPECT_EQ(row->top.ids, std::vector<int32_t>({667, 699, 150}));
  EXPECT_EQ(row->top.logprobs, std::vector<double>({-2.086, -2.75, -3.27}));
}

TEST(CompletionDialectTest, VllmsEntryMoreIsTheSampledTokenAndNoCap) {
  const auto row = NewVllmDialect()->ReadRow(
      VllmAnswer(R"(["token_id:5"])", "[-9.5]",
                 R"([{"token_id:5":-9.5,"token_id:667":-2.086,"token_id:699":-2.75}])"),
      2);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->sampled, 5);
  EXPECT_EQ(row->top.ids, std::vector<int32_t>({667, 699}));
}

TEST(CompletionDialectTest, VllmsMinusInfinityIsNoToken) {
  const auto row = NewVllmDialect()->ReadRow(
      VllmAnswer(R"(["token_id:5"])", "[-0.5]", R"([{"token_id:5":-0.5,"token_id:6":-9999.0}])"),
      2);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->top.ids, std::vector<int32_t>({5}));
}

TEST(CompletionDialectTest, LlamaCppIsAskedWithoutItsSamplers) {
  CompletionDialect::Query query;
  const std::vector<int32_t> prompt = {1};
  query.prompt = prompt;
  query.top = 7;
  query.whole_character = 97;
  const json body = json::parse(NewLlamaCppDialect()->Body(query));
  EXPECT_EQ(body["n_probs"], 7);
  EXPECT_EQ(body["n_predict"], 1);
  EXPECT_EQ(body["samplers"], json::array({"temperature"}));
  EXPECT_EQ(body["logit_bias"], json::array({json::array({97, 1000})}));
  EXPECT_EQ(body["response_fields"], json::array({"tokens_evaluated", "completion_probabilities"}));
  EXPECT_EQ(body["post_sampling_probs"], false);
}

TEST(CompletionDialectTest, LlamaCppTellsTheTopAndTheSampledBesideIt) {
  const auto row = NewLlamaCppDialect()->ReadRow(
      R"({"tokens_evaluated":9,"completion_probabilities":[{"id":97,"token":"a","bytes":[97],
          "logprob":-7.5,"top_logprobs":[
            {"id":667,"token":"fp","bytes":[102,112],"logprob":-2.08},
            {"id":699,"token":"x","bytes":[120],"logprob":-2.75}]}]})",
      2);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->prompt_tokens, 9);
  EXPECT_EQ(row->sampled, 97);
  EXPECT_EQ(row->sampled_logprob, -7.5);
  EXPECT_EQ(row->top.ids, std::vector<int32_t>({667, 699}));
}

TEST(CompletionDialectTest, WhatIsNoAnswerIsAnError) {
  const auto vllm = NewVllmDialect();
  for (const std::string& body : {
           std::string(""),
           std::string("[]"),
           std::string("{}"),
           std::string(R"({"choices":[]})"),
           std::string(R"({"choices":[{"logprobs":null}]})"),
           VllmAnswer("[]", "[]", "[]"),
           VllmAnswer(R"(["fp"])", "[-2]", R"([{"token_id:1":-2}])"),
           VllmAnswer(R"(["token_id:1"])", "[null]", R"([{"token_id:1":-2}])"),
           VllmAnswer(R"(["token_id:1"])", "[-2]", R"([{"fp":-2}])"),
           VllmAnswer(R"(["token_id:1"])", "[-2]", R"([{"token_id:-1":-2}])"),
           VllmAnswer(R"(["token_id:1"])", "[-2]", "[null]"),
           VllmAnswer(R"(["token_id:1"])", "[-2]",
                      R"([{"token_id:2":-2,"token_id:3":-2,"token_id:4":-2}])"),
       }) {
    EXPECT_EQ(vllm->ReadRow(body, 2).status().code(), absl::StatusCode::kInternal) << body;
  }
  const auto llama = NewLlamaCppDialect();
  for (const std::string body : {
           R"({"tokens":[208]})",
           R"({"completion_probabilities":[]})",
           R"({"completion_probabilities":[{"id":1,"logprob":-1}]})",
           R"({"completion_probabilities":[{"id":1,"logprob":-1,"top_logprobs":[{"id":2}]}]})",
           R"({"completion_probabilities":[{"id":-1,"logprob":-1,"top_logprobs":[]}]})",
           R"({"completion_probabilities":[{"id":4294967296,"logprob":-1,"top_logprobs":[]}]})",
           R"({"completion_probabilities":[{"id":1,"logprob":"x","top_logprobs":[]}]})",
       }) {
    EXPECT_EQ(llama->ReadRow(body, 2).status().code(), absl::StatusCode::kInternal) << body;
  }
}

TEST(CompletionDialectTest, Models) {
  const auto vllm = NewVllmDialect()->ReadModels(
      R"({"object":"list","data":[{"id":"tiny","root":"/x","max_model_len":512}]})");
  ASSERT_TRUE(vllm.ok()) << vllm.status();
  EXPECT_EQ(vllm->id, "tiny");
  EXPECT_EQ(vllm->max_context, 512);
  EXPECT_EQ(vllm->vocab_size, 0);
  const auto llama = NewLlamaCppDialect()->ReadModels(
      R"({"data":[{"id":"g.gguf","meta":{"n_vocab":1000,"n_ctx":256,"n_ctx_train":512}}]})");
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_EQ(llama->vocab_size, 1000);
  EXPECT_EQ(llama->max_context, 256);
  EXPECT_FALSE(NewVllmDialect()->ReadModels(R"({"data":[]})").ok());
}

TEST(CompletionDialectTest, Tokens) {
  EXPECT_EQ(*NewVllmDialect()->ReadTokens(R"({"count":2,"tokens":[84,441]})"),
            std::vector<int32_t>({84, 441}));
  EXPECT_FALSE(NewVllmDialect()->ReadTokens(R"({"tokens":["a"]})").ok());
  EXPECT_EQ(json::parse(NewVllmDialect()->TokenizeBody("x", "m"))["prompt"], "x");
  EXPECT_EQ(json::parse(NewLlamaCppDialect()->TokenizeBody("x", "m"))["content"], "x");
}

TEST(CompletionDialectTest, ErrorsKeepTheKindAndNotTheText) {
  const auto dialect = NewVllmDialect();
  const absl::Status status = dialect->ReadError(
      400, R"({"error":{"message":"secret prompt","type":"BadRequestError","code":400}})");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("BadRequestError"), std::string::npos) << status;
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status;
  // vLLM's own form of a missing key, and no JSON at all.
  EXPECT_EQ(dialect->ReadError(401, R"({"error":"Unauthorized"})").code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(dialect->ReadError(503, "<html>").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(dialect->ReadError(429, "").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(dialect->ReadError(404, "").code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CompletionDialectTest, TooManyLogprobsNameTheirLimits) {
  const auto refusal = ReadTopRefusal(
      R"j({"error":{"message":"Requested sample logprobs of 1000, which is greater than )j"
      R"j(max allowed: 20 (parameter=logprobs, value=1000)","type":"BadRequestError"}})j");
  ASSERT_TRUE(refusal.ok()) << refusal.status();
  EXPECT_EQ(refusal->requested, 1000);
  EXPECT_EQ(refusal->allowed, 20);
  EXPECT_FALSE(ReadTopRefusal(R"({"error":{"message":"something else"}})").ok());
  EXPECT_FALSE(ReadTopRefusal("").ok());
}

}  // namespace
}  // namespace unlearn
