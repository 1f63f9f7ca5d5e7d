// Connections of an HttpClient: used again or not, what is sent twice, TLS, tokens, addresses.
#include <stdlib.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proxy/transport/http_client.h"
#include "proxy/transport/http_test_calls.h"
#include "proxy/transport/http_test_server.h"
#include "proxy/transport/test_certificates.h"

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Reply = HttpTestServer::Reply;
using Request = HttpTestServer::Request;

TEST(HttpClientConnectionTest, UsesAConnectionAgain) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  const auto client = Connect(server.url());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(client->Fetch(Post("/")).ok());
  EXPECT_EQ(server.connections(), 1);
}

// Opens `count` connections at once, which are then kept. The server's handler of /warm-up.
class WarmUp {
 public:
  explicit WarmUp(int count) : count_(count) {}

  void Handle(Reply& reply) {
    {
      absl::MutexLock lock(&mutex_);
      ++arrived_;
      const auto all = [this] { return arrived_ == count_; };
      mutex_.Await(absl::Condition(&all));
    }
    reply.SendJson(200, "{}");
  }

  void Run(HttpClient& client) {
    std::vector<std::unique_ptr<TestCall>> calls;
    for (int i = 0; i < count_; ++i) {
      calls.push_back(std::make_unique<TestCall>(client, Post("/warm-up")));
    }
    for (const auto& call : calls) EXPECT_TRUE(call->Wait().ok());
  }

 private:
  const int count_;
  absl::Mutex mutex_;
  int arrived_ = 0;
};

// Whether another server may have come in the place of the one that was asked before.
TEST(HttpClientConnectionTest, TellsWhenTheServerMayHaveBeenRestarted) {
  auto server = std::make_unique<HttpTestServer>();
  WarmUp warm_up(4);
  const auto handle = [&] {
    server->Handle("/warm-up", [&](const Request&, Reply& reply) { warm_up.Handle(reply); });
    server->Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
    server->Handle("/close", [](const Request&, Reply& reply) {
      reply.SendJson(200, "{}");
      reply.Close();
    });
  };
  handle();
  const auto client = Connect(server->url());
  EXPECT_EQ(client->connections(), 0);
  EXPECT_TRUE(client->Fetch(Post("/")).ok());
  EXPECT_EQ(client->connections(), 1);
  // More connections beside the first one, and one of them closed: somebody is still there.
  warm_up.Run(*client);
  EXPECT_TRUE(client->Fetch(Post("/close")).ok());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client->Fetch(Post("/")).ok());
  EXPECT_EQ(client->connections(), 1);
  // Restarted while nothing is asked: known by the time of the first answer.
  HttpTestServer::Options place;
  place.port = server->port();
  server = nullptr;
  server = std::make_unique<HttpTestServer>(place);
  handle();
  EXPECT_TRUE(client->Fetch(Post("/")).ok());
  const int64_t restarted = client->connections();
  EXPECT_GT(restarted, 1);
  // Gone.
  server = nullptr;
  EXPECT_FALSE(client->Fetch(Post("/")).ok());
  EXPECT_GT(client->connections(), restarted);
}

TEST(HttpClientConnectionTest, AKeptConnectionThatClosesWithoutAnAnswerIsTriedOnceMore) {
  for (const bool reset : {false, true}) {
    HttpTestServer server;
    server.Handle("/", [reset](const Request& request, Reply& reply) {
      if (request.number > 0) return reply.Close(reset);
      reply.SendJson(200, request.body);
    });
    const auto client = Connect(server.url());
    for (const char* body : {"1", "2"}) {
      const auto response = client->Fetch(Post("/", body));
      ASSERT_TRUE(response.ok()) << response.status();
      EXPECT_EQ(response->body, body);
    }
    EXPECT_EQ(server.requests().size(), 3);
    EXPECT_EQ(server.connections(), 2);
  }
}

TEST(HttpClientConnectionTest, TheSecondTryIsOnAFreshConnectionAndTheLast) {
  WarmUp warm_up(4);
  HttpTestServer server;
  server.Handle("/warm-up", [&](const Request&, Reply& reply) { warm_up.Handle(reply); });
  server.Handle("/", [](const Request&, Reply&) {});  // closes
  const auto client = Connect(server.url());
  warm_up.Run(*client);
  ASSERT_EQ(server.connections(), 4);
  const absl::Status status = client->Fetch(Post("/")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("without an answer"));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 4 + 2);
  EXPECT_EQ(requests[4].number, 1);
  EXPECT_EQ(requests[5].number, 0);
  EXPECT_EQ(server.connections(), 5);
}

TEST(HttpClientConnectionTest, AnAnswerThatHadBegunIsNeverAskedForAgain) {
  for (const char* begun : {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 102 Processing\r\n\r\n",
                            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                            "HTTP/1.1 500 Bad\r\nContent-Length: 5\r\n\r\n12"}) {
    HttpTestServer server;
    server.Handle("/", [begun](const Request& request, Reply& reply) {
      if (request.number == 0) {
        reply.SendJson(200, "{}");
      } else {
        reply.WriteRaw(begun);
      }
    });
    const auto client = Connect(server.url());
    EXPECT_TRUE(client->Fetch(Post("/")).ok());
    const absl::Status status = client->Fetch(Post("/")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << begun << status;
    EXPECT_THAT(MessageOf(status), HasSubstr("in the middle"));
    EXPECT_EQ(server.requests().size(), 2) << begun;
    EXPECT_EQ(server.connections(), 1) << begun;
  }
}

// The other end is gone while a large body is still being sent.
TEST(HttpClientConnectionTest, AKeptConnectionThatBreaksWhileSendingIsTriedOnceMore) {
  HttpTestServer server;
  server.Handle("/", [](const Request& request, Reply& reply) {
    reply.SendJson(200, absl::StrCat(request.body.size()));
    if (request.connection == 0) reply.ResetNextRequest();
  });
  const auto client = Connect(server.url());
  EXPECT_TRUE(client->Fetch(Post("/")).ok());
  const auto response = client->Fetch(Post("/", std::string(20'000'000, 'x')));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "20000000");
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClientConnectionTest, AServerThatClosesAfterSomeAnswersIsNoTrouble) {
  for (const int answers : {1, 3}) {
    HttpTestServer::Options options;
    options.answers_per_connection = answers;
    HttpTestServer server(options);
    server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
    const auto client = Connect(server.url());
    for (int i = 0; i < 90; ++i) {
      const auto response = client->Fetch(Post("/", std::string(100'000, 'x')));
      ASSERT_TRUE(response.ok()) << response.status();
    }
    EXPECT_EQ(server.requests().size(), 90);
    EXPECT_EQ(server.connections(), 90 / answers);
  }
}

TEST(HttpClientConnectionTest, EnvironmentProxiesAreNotUsed) {
  ASSERT_EQ(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
  ASSERT_EQ(setenv("all_proxy", "http://127.0.0.1:1", 1), 0);
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  const auto response = Connect(server.url())->Fetch(Post("/"));
  EXPECT_TRUE(response.ok()) << response.status();
  unsetenv("http_proxy");
  unsetenv("all_proxy");
}

TEST(HttpClientConnectionTest, SendsTheTokenOfTheFile) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  HttpClientOptions options;
  options.url = server.url();
  options.token_file = JoinPath(testing::TempDir(), "token");
  ASSERT_TRUE(WriteFileAtomically(options.token_file, "secret-7\n").ok());
  ASSERT_EQ(chmod(options.token_file.c_str(), 0600), 0);
  const auto client = HttpClient::Create(options);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE((*client)->Fetch(Get("/")).ok());
  EXPECT_EQ(server.requests().at(0).headers.at("authorization"), "Bearer secret-7");
  ASSERT_EQ(chmod(options.token_file.c_str(), 0644), 0);
  EXPECT_EQ(HttpClient::Create(options).status().code(), absl::StatusCode::kPermissionDenied);
}

class HttpClientTlsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TestCertificates(MakeTestCertificates(testing::TempDir()));
  }

  static HttpTestServer::Options ServerOptions(const std::string& ca) {
    HttpTestServer::Options options;
    options.tls_cert = files_->server_cert;
    options.tls_key = files_->server_key;
    options.tls_ca = ca;
    return options;
  }

  // Asks the server twice; OK only when it answered both times.
  static absl::Status Ask(HttpTestServer& server, TlsFiles tls, std::string url = "") {
    server.Handle("/", [](const Request& request, Reply& reply) {
      reply.StartStream();
      reply.Write(request.body);
      reply.EndStream();
    });
    HttpClientOptions options;
    options.url = url.empty() ? server.url() : url;
    tls.flag_prefix = "upstream_";
    options.tls = tls;
    const auto client = HttpClient::Create(options);
    if (!client.ok()) return client.status();
    for (int i = 0; i < 2; ++i) {
      const auto response = (*client)->Fetch(Post("/", std::string(100'000, 'x')));
      if (!response.ok()) return response.status();
      EXPECT_EQ(response->body, std::string(100'000, 'x'));
    }
    EXPECT_EQ(server.requests().size(), 2);
    EXPECT_EQ(server.connections(), 1);
    return absl::OkStatus();
  }

  static void ExpectRefused(const absl::Status& status, const std::string& says) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(MessageOf(status), AllOf(HasSubstr(says), HasSubstr("--upstream")));
  }

  static TestCertificates* files_;
};

TestCertificates* HttpClientTlsTest::files_ = nullptr;

TEST_F(HttpClientTlsTest, VerifiesTheServer) {
  HttpTestServer server(ServerOptions(""));
  EXPECT_EQ(Ask(server, {files_->ca, "", "", ""}), absl::OkStatus());
  ExpectRefused(Ask(server, {files_->other_ca, "", "", ""}), "--upstream_tls_ca");
  ExpectRefused(Ask(server, {}), "--upstream_tls_ca");  // the system's authorities
  // The certificate is for 127.0.0.1 and localhost, not for this name of the same machine.
  ExpectRefused(
      Ask(server, {files_->ca, "", "", ""}, absl::StrCat("https://127.0.0.2:", server.port())),
      "127.0.0.2");
  EXPECT_EQ(server.requests().size(), 2) << "asked without trust";
}

TEST_F(HttpClientTlsTest, ShowsItsCertificate) {
  HttpTestServer server(ServerOptions(files_->ca));
  EXPECT_EQ(Ask(server, {files_->ca, files_->client_cert, files_->client_key, ""}),
            absl::OkStatus());
  ExpectRefused(Ask(server, {files_->ca, "", "", ""}), server.url());
  HttpTestServer strict(ServerOptions(files_->other_ca));
  ExpectRefused(Ask(strict, {files_->ca, files_->client_cert, files_->client_key, ""}),
                strict.url());
}

TEST_F(HttpClientTlsTest, TextAndTlsDoNotMix) {
  HttpTestServer plain;
  plain.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  EXPECT_EQ(Ask(plain, {files_->ca, "", "", ""}).code(), absl::StatusCode::kInvalidArgument);
  HttpTestServer server(ServerOptions(""));
  ExpectRefused(Ask(server, {}, absl::StrCat("http://127.0.0.1:", server.port())), "");
}

TEST_F(HttpClientTlsTest, CancellingTellsTheServer) {
  HttpTestServer server(ServerOptions(""));
  server.Handle("/", [](const Request&, Reply& reply) {
    reply.StartStream();
    while (reply.WriteEvent("x")) {
    }
  });
  HttpClientOptions options;
  options.url = server.url();
  options.tls.ca = files_->ca;
  const auto client = HttpClient::Create(options);
  ASSERT_TRUE(client.ok()) << client.status();
  TestCall call(**client, Post("/"));
  call.WaitForData(1000);
  call.Destroy();
  EXPECT_TRUE(server.WaitForOpenConnections(0));
}

TEST(HttpClientConnectionTest, RefusesWhatIsNoAddress) {
  for (const char* url : {"", "host", "host:80", "ftp://host", "http://", "http://host:port",
                          "http://host:99999", "http://a b", "http://user:pass@host:80",
                          "http://host/?a=b", "http://host/#a", "HTTP:80", "unix:/tmp/socket"}) {
    HttpClientOptions options;
    options.url = url;
    options.url_flag = "other";
    const auto client = HttpClient::Create(options);
    EXPECT_EQ(client.status().code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(MessageOf(client.status()), HasSubstr("--other")) << url;
    EXPECT_EQ(MessageOf(client.status()).find("pass@"), std::string::npos);
  }
  for (const char* url : {"http://host", "https://host", "http://[::1]:80", "http://host:80/v1/"}) {
    HttpClientOptions options;
    options.url = url;
    EXPECT_TRUE(HttpClient::Create(options).ok()) << url;
  }
  HttpClientOptions options;
  options.url = "http://host";
  options.connect_timeout = absl::ZeroDuration();
  EXPECT_THAT(MessageOf(HttpClient::Create(options).status()),
              HasSubstr("--upstream_connect_timeout"));
}

}  // namespace
}  // namespace unlearn
