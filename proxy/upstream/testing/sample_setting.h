#ifndef PROXY_UPSTREAM_TESTING_SAMPLE_SETTING_H_
#define PROXY_UPSTREAM_TESTING_SAMPLE_SETTING_H_

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"
#include "proxy/upstream/llama_cpp_dialect.h"
#include "proxy/upstream/openai_client.h"
#include "proxy/upstream/vllm_dialect.h"

// For tests of what a server draws by itself: a session, a server that answers as the test says,
// and what the caller of Sample was told.
namespace unlearn {

using nlohmann::json;
using Reply = HttpTestServer::Reply;
using Handler = std::function<void(const json& body, Reply& reply)>;

inline constexpr int kVocabulary = 10;

// What the caller was told, as text: "3 1 . " are two tokens and the end; a token in brackets has
// no row.
class Told {
 public:
  UpstreamSession::SampleCallback Callback() {
    return [this](absl::StatusOr<SampledRows> rows) {
      absl::MutexLock lock(&mutex_);
      over_ |= !rows.ok() || rows->ended;
      if (!rows.ok()) {
        status_ = rows.status();
        return;
      }
      for (const SampledRow& row : rows->rows) {
        text_ += row.top.ids.empty() ? absl::StrCat("(", row.id, ") ") : absl::StrCat(row.id, " ");
      }
      if (rows->ended) text_ += ".";
    };
  }
  std::string WaitForText(const std::string& text) {
    absl::MutexLock lock(&mutex_);
    std::pair<Told*, const std::string*> wanted(this, &text);
    mutex_.Await(absl::Condition(
        +[](std::pair<Told*, const std::string*>* wanted) {
          return wanted->first->over_ || wanted->first->text_ == *wanted->second;
        },
        &wanted));
    return text_;
  }
  absl::Status WaitForEnd() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&over_));
    return status_;
  }
  std::string text() {
    absl::MutexLock lock(&mutex_);
    return text_;
  }

 private:
  absl::Mutex mutex_;
  std::string text_;
  absl::Status status_;
  bool over_ = false;
};

// A session with a server that answers every request as `handler` says.
struct Setting {
  Setting(bool vllm, Handler handler, absl::Duration first_token = absl::Seconds(30),
          absl::Duration idle = absl::Seconds(30)) {
    http.Handle(vllm ? "/v1/completions" : "/completion",
                [handler = std::move(handler)](const auto& request, auto& reply) {
                  handler(json::parse(request.body), reply);
                });
    HttpClientOptions client;
    client.url = http.url();
    auto connection = std::make_shared<OpenaiConnection>();
    connection->http = HttpClient::Create(client).value();
    connection->dialect = vllm ? NewVllmDialect() : NewLlamaCppDialect();
    connection->url = client.url;
    connection->model = "m";
    connection->timeout = absl::Seconds(30);
    connection->first_token_timeout = first_token;
    connection->idle_timeout = idle;
    connection->vocab_size = kVocabulary;
    connection->top = 2;
    ExchangeOptions options;
    options.vocab_size = kVocabulary;
    options.max_context = 100;
    options.last_row_only = true;
    options.tells_tops = true;
    options.samples = true;
    session = NewExchangeSession(options, NewOpenaiClient(std::move(connection)));
  }

  void Sample(Told& told, int32_t max_tokens) {
    UpstreamSampling sampling;
    sampling.token_ids = {1, 2};
    sampling.temperature = 1;
    sampling.max_tokens = max_tokens;
    session->Sample(std::move(sampling), told.Callback());
  }

  HttpTestServer http;
  std::unique_ptr<UpstreamSession> session;
};

inline json Body(const HttpTestServer::Request& request) { return json::parse(request.body); }

// A window of llama.cpp: these tokens, those below 0 without a row (-3 is token 3).
inline std::string Window(const std::vector<int>& ids, int prompt_tokens,
                          const std::string& stop_type = "limit") {
  json answer = {{"tokens", json::array()},
                 {"completion_probabilities", json::array()},
                 {"tokens_evaluated", prompt_tokens},
                 {"tokens_predicted", ids.size()},
                 {"stop_type", stop_type}};
  for (const int id : ids) {
    answer["tokens"].push_back(std::abs(id));
    if (id < 0) continue;
    answer["completion_probabilities"].push_back(
        {{"id", id},
         {"logprob", -0.5},
         {"top_logprobs", json::array({{{"id", id}, {"logprob", -0.5}}})}});
  }
  return answer.dump();
}

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_TESTING_SAMPLE_SETTING_H_
