#ifndef TESTS_E2E_COMPLETIONS_SERVER_H_
#define TESTS_E2E_COMPLETIONS_SERVER_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"
#include "proxy/upstream/local_upstream.h"
#include "trainer/train/top_upstream.h"

namespace unlearn {

// An M of this process behind HTTP, asked and answering as vLLM does: one token's law for each
// request, `allowed` log-probs at most.
class CompletionsServer {
 public:
  CompletionsServer(const std::string& model, int32_t allowed)
      : model_(LocalUpstream::Open(model, UpstreamOptions()).value()), allowed_(allowed) {
    http_.Handle("/version",
                 [](const auto&, auto& reply) { reply.SendJson(200, R"({"version":"0.32.0"})"); });
    http_.Handle("/v1/models", [this](const auto&, auto& reply) {
      const nlohmann::json entry = {{"id", "m"}, {"max_model_len", model_->info().max_context}};
      reply.SendJson(200, nlohmann::json{{"data", nlohmann::json::array({entry})}}.dump());
    });
    http_.Handle("/v1/completions",
                 [this](const auto& request, auto& reply) { Complete(request.body, reply); });
  }

  std::string url() const { return http_.url(); }
  int32_t eos() const { return model_->info().eos_token_ids.front(); }
  int laws() const { return laws_; }  // told so far

 private:
  using Json = nlohmann::json;

  void Complete(const std::string& text, HttpTestServer::Reply& reply) {
    const Json body = Json::parse(text);
    const int32_t vocabulary = model_->info().vocab_size;
    const int64_t wanted = body["logprobs"];
    if (wanted > allowed_ || wanted < 0) {
      const Json error = {{"message", absl::StrCat("Requested sample logprobs of ",
                                                   wanted < 0 ? vocabulary : wanted,
                                                   ", which is greater than max allowed: ",
                                                   allowed_, " (parameter=logprobs)")},
                          {"type", "BadRequestError"}};
      reply.SendJson(400, Json{{"error", error}}.dump());
      return;
    }
    UpstreamStep step;
    step.token_ids = body["prompt"].get<std::vector<int32_t>>();
    const int64_t prompt_tokens = static_cast<int64_t>(step.token_ids.size());
    const auto session = model_->NewSession().value();
    const UpstreamLogits answer = StepAndWait(*session, std::move(step)).value();
    const TopRow top = TopUpstream::TopOf(answer.logits, static_cast<int32_t>(wanted));
    Json tops = Json::object();
    const auto name = [](int32_t id) { return absl::StrCat("token_id:", id); };
    for (size_t i = 0; i < top.ids.size(); ++i) tops[name(top.ids[i])] = top.logprobs[i];
    const Json logprobs = {{"tokens", {name(top.ids[0])}},
                           {"token_logprobs", {top.logprobs[0]}},
                           {"top_logprobs", Json::array({tops})}};
    ++laws_;
    reply.SendJson(200, Json{{"choices", Json::array({{{"logprobs", logprobs}}})},
                             {"usage", {{"prompt_tokens", prompt_tokens}}}}
                            .dump());
  }

  const std::unique_ptr<LocalUpstream> model_;
  const int32_t allowed_;
  std::atomic<int> laws_{0};
  HttpTestServer http_;  // last: its handlers use the others
};

}  // namespace unlearn

#endif  // TESTS_E2E_COMPLETIONS_SERVER_H_
