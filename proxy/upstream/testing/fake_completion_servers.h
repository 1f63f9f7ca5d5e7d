#ifndef PROXY_UPSTREAM_TESTING_FAKE_COMPLETION_SERVERS_H_
#define PROXY_UPSTREAM_TESTING_FAKE_COMPLETION_SERVERS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"

// vLLM and llama.cpp's server as far as our client uses them, with a model of a few tokens whose
// law depends on the last token alone.
namespace unlearn {

using nlohmann::json;

inline constexpr int kVocabulary = 6;

// log softmax of M's logits / temperature after token t.
inline std::vector<double> Law(int64_t t, double temperature = 1) {
  std::vector<double> law(kVocabulary);
  double sum = 0;
  for (int v = 0; v < kVocabulary; ++v) {
    law[v] = std::sin(1.7 * v + 2.3 * static_cast<double>(t)) / temperature;
    sum += std::exp(law[v]);
  }
  for (double& value : law) value -= std::log(sum);
  return law;
}

inline std::vector<int> ByLaw(const std::vector<double>& law) {
  std::vector<int> order(law.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return law[a] > law[b]; });
  return order;
}

// What the two servers have in common. Members are set before a request that sees them.
struct FakeServer {
  int allowed = kVocabulary;  // log-probs
  bool processed = false;     // the law is told after the temperature
  int extra_tokens = 0;       // a BOS in front
  int context = 12;           // tokens, prompt and completion together
  std::string model = "m";
  // Of its own draws: the temperature that is taken instead of the one asked for, and how many of
  // the most likely tokens are left. 0: as asked, all.
  double draws_at = 0;
  int draws_among = 0;
  // A token without an entry, as after half a character.
  int hidden = -1;
  // Instead of the usual answer to a completion.
  std::function<bool(const json& body, HttpTestServer::Reply&)> instead;

  std::vector<double> LawOf(const json& body) const {
    return Law(body["prompt"].back().get<int>(),
               processed && body["temperature"] != 0 ? body["temperature"].get<double>() : 1);
  }

  // A token of the server's own after token t.
  int DrawAfter(int t, const json& body) {
    const double temperature = draws_at > 0 ? draws_at : body["temperature"].get<double>();
    if (temperature == 0) return ByLaw(Law(t))[0];
    std::vector<double> weights = Law(t, temperature);
    const std::vector<int> order = ByLaw(weights);
    for (double& weight : weights) weight = std::exp(weight);
    for (int i = draws_among; draws_among > 0 && i < kVocabulary; ++i) weights[order[i]] = 0;
    absl::MutexLock lock(&mutex);
    return std::discrete_distribution<int>(weights.begin(), weights.end())(random);
  }
  absl::Mutex mutex;
  std::mt19937 random;
  HttpTestServer http;  // last: its destructor waits for handlers, which use the rest
};

struct FakeVllm : FakeServer {
  FakeVllm() {
    http.Handle("/version",
                [](const auto&, auto& reply) { reply.SendJson(200, R"({"version":"0.32.0"})"); });
    http.Handle("/v1/models", [this](const auto&, auto& reply) {
      reply.SendJson(
          200, json{{"data", json::array({{{"id", model}, {"max_model_len", context}}})}}.dump());
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
      if (body["stream"] == true) {
        Stream(body, reply);
        return;
      }
      const std::vector<double> law = LawOf(body);
      const json logprobs = LogprobsOf(law, ByLaw(law)[0], top < 0 ? kVocabulary : top);
      reply.SendJson(200, json{{"choices", json::array({{{"logprobs", logprobs}}})},
                               {"usage", {{"prompt_tokens", body["prompt"].size() + extra_tokens}}}}
                              .dump());
    });
  }

  static json LogprobsOf(const std::vector<double>& law, int sampled, int64_t top) {
    const std::vector<int> order = ByLaw(law);
    json tops = {{absl::StrCat("token_id:", sampled), law[sampled]}};
    for (int i = 0; i < top; ++i) tops[absl::StrCat("token_id:", order[i])] = law[order[i]];
    return {{"tokens", json::array({absl::StrCat("token_id:", sampled)})},
            {"token_logprobs", json::array({law[sampled]})},
            {"top_logprobs", json::array({tops})}};
  }

  void Stream(const json& body, HttpTestServer::Reply& reply) {
    int token = body["prompt"].back();
    const int count = body["max_tokens"];
    reply.StartStream();
    for (int i = 1; i <= count; ++i) {
      const std::vector<double> law = Law(token);
      token = DrawAfter(token, body);
      json choice = {{"logprobs", LogprobsOf(law, token, body["logprobs"])},
                     {"finish_reason", nullptr}};
      if (i == count) choice["finish_reason"] = "length";
      reply.WriteEvent(json{
          {"choices", json::array({choice})},
          {"usage",
           {{"prompt_tokens", body["prompt"].size() + extra_tokens}, {"completion_tokens", i}}}}
                           .dump());
    }
    reply.WriteEvent("[DONE]");
    reply.EndStream();
  }
};

struct FakeLlamaCpp : FakeServer {
  FakeLlamaCpp() {
    http.Handle("/props", [](const auto&, auto& reply) { reply.SendJson(200, "{}"); });
    http.Handle("/v1/models", [this](const auto&, auto& reply) {
      reply.SendJson(
          200,
          json{{"data", json::array({{{"id", model},
                                      {"meta", {{"n_vocab", kVocabulary}, {"n_ctx", context}}}}})}}
              .dump());
    });
    http.Handle("/tokenize", [](const auto& request, auto& reply) {
      const std::string text = json::parse(request.body)["content"];
      reply.SendJson(200, json{{"tokens", std::vector<int>(text.size(), 2)}}.dump());
    });
    http.Handle("/completion", [this](const auto& request, auto& reply) {
      const json body = json::parse(request.body);
      if (instead && instead(body, reply)) return;
      if (body.value("return_tokens", false)) {
        Draw(body, reply);
        return;
      }
      const std::vector<double> law = LawOf(body);
      // The whole character that the client forces.
      const json& bias = body["logit_bias"];
      const int sampled = bias.empty() ? ByLaw(law)[0] : bias[0][0].get<int>();
      reply.SendJson(200, json{{"tokens_evaluated", body["prompt"].size() + extra_tokens},
                               {"completion_probabilities",
                                json::array({EntryOf(law, sampled, body["n_probs"])})}}
                              .dump());
    });
  }

  static json EntryOf(const std::vector<double>& law, int sampled, int top) {
    const std::vector<int> order = ByLaw(law);
    json tops = json::array();
    for (int i = 0; i < std::min(top, kVocabulary); ++i) {
      tops.push_back({{"id", order[i]}, {"logprob", law[order[i]]}});
    }
    return {{"id", sampled}, {"logprob", law[sampled]}, {"top_logprobs", tops}};
  }

  void Draw(const json& body, HttpTestServer::Reply& reply) {
    int token = body["prompt"].back();
    json answer = {{"tokens", json::array()},
                   {"tokens_evaluated", body["prompt"].size() + extra_tokens},
                   {"tokens_predicted", body["n_predict"]},
                   {"stop_type", "limit"}};
    for (int i = 0; i < body["n_predict"]; ++i) {
      const std::vector<double> law = Law(token);
      token = DrawAfter(token, body);
      answer["tokens"].push_back(token);
      if (token == hidden) continue;
      answer["completion_probabilities"].push_back(EntryOf(law, token, body["n_probs"]));
    }
    reply.SendJson(200, answer.dump());
  }
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_TESTING_FAKE_COMPLETION_SERVERS_H_
