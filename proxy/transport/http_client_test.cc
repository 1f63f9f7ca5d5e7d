#include "proxy/transport/http_client.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proxy/transport/http_test_calls.h"
#include "proxy/transport/http_test_server.h"

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Reply = HttpTestServer::Reply;
using Request = HttpTestServer::Request;

constexpr absl::Duration kShort = absl::Milliseconds(200);

TEST(HttpClientTest, PostsJsonAndReturnsTheAnswer) {
  HttpTestServer server;
  server.Handle("/v1/completions", [](const Request& request, Reply& reply) {
    reply.SendJson(200, absl::StrCat("{\"got\":", request.body, "}"));
  });
  const auto client = Connect(server.url() + "/v1/");
  const auto response = client->Fetch(Post("/completions", "[1,2]"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->content_type, "application/json");
  EXPECT_EQ(response->body, "{\"got\":[1,2]}");
  EXPECT_FALSE(response->retry_after.has_value());
  const Request request = server.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/v1/completions");
  EXPECT_EQ(request.headers.at("content-type"), "application/json");
  EXPECT_EQ(request.headers.count("authorization"), 0);
  EXPECT_EQ(request.headers.count("expect"), 0);
}

TEST(HttpClientTest, GetsAnEmptyBody) {
  HttpTestServer server;
  server.Handle("/health", [](const Request&, Reply& reply) { reply.Send(200, "", ""); });
  const auto response = Connect(server.url())->Fetch(Get("/health?all=1"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(response->content_type, "");
  EXPECT_EQ(server.requests().at(0).method, "GET");
  EXPECT_EQ(server.requests().at(0).path, "/health?all=1");
}

TEST(HttpClientTest, LargeBodiesGoBothWays) {
  HttpTestServer server;
  server.Handle("/echo",
                [](const Request& request, Reply& reply) { reply.SendJson(200, request.body); });
  const auto client = Connect(server.url());
  HttpRequest request = Post("/echo");
  request.max_body_bytes = 10'000'000;
  for (int i = 0; i < request.max_body_bytes; ++i) request.body[i % 2] = 'x', request.body += "y";
  request.body.resize(request.max_body_bytes);
  const auto response = client->Fetch(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->body == request.body);
}

TEST(HttpClientTest, PiecesComeWhenTheServerSendsThem) {
  absl::Notification go;
  HttpTestServer server;
  server.Handle("/", [&](const Request&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent("first");
    go.WaitForNotification();
    reply.WriteEvent("second");
    reply.EndStream();
  });
  const auto client = Connect(server.url());
  const std::string first = "data: first\n\n";
  TestCall running(*client, Post("/"));
  running.WaitForData(first.size());
  EXPECT_EQ(running.data(), first);
  EXPECT_FALSE(running.done());
  go.Notify();
  const auto response = running.Wait();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->content_type, "text/event-stream");
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(running.data(), first + "data: second\n\n");
}

TEST(HttpClientTest, OtherStatusesAreCollectedEvenWhereAStreamWasWished) {
  HttpTestServer server;
  server.Handle("/429", [](const Request&, Reply& reply) {
    reply.SendJson(429, "{\"error\":1}", {{"Retry-After", "7"}});
  });
  server.Handle("/503", [](const Request&, Reply& reply) { reply.SendJson(503, "loading"); });
  server.Handle("/302", [](const Request&, Reply& reply) {
    reply.SendJson(302, "there", {{"Location", "/503"}, {"Set-Cookie", "a=b"}});
  });
  const auto client = Connect(server.url());
  const struct {
    const char* path;
    int status;
    const char* body;
  } cases[] = {{"/429", 429, "{\"error\":1}"},
               {"/503", 503, "loading"},
               {"/302", 302, "there"},
               {"/unknown", 404, "no handler"}};
  for (const auto& each : cases) {
    TestCall running(*client, Post(each.path));
    const auto response = running.Wait();
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->status, each.status);
    EXPECT_EQ(response->body, each.body);
    EXPECT_EQ(running.data(), "");
    EXPECT_EQ(response->retry_after.has_value(), each.status == 429);
    if (each.status == 429) {
      EXPECT_EQ(*response->retry_after, absl::Seconds(7));
    }
  }
  const auto requests = server.requests();
  EXPECT_EQ(requests.size(), 4) << "a redirect was followed";
  EXPECT_EQ(requests.back().headers.count("cookie"), 0);
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClientTest, BoundsACollectedBody) {
  HttpTestServer server;
  server.Handle("/200",
                [](const Request&, Reply& reply) { reply.SendJson(200, std::string(1001, 'x')); });
  server.Handle("/fits",
                [](const Request&, Reply& reply) { reply.SendJson(200, std::string(1000, 'x')); });
  server.Handle("/500", [](const Request&, Reply& reply) {  // never ends
    reply.StartStream(500, "text/html");
    while (reply.Write(std::string(300, 'x'))) {
    }
  });
  const auto client = Connect(server.url());
  HttpRequest request = Post("/fits");
  request.max_body_bytes = 1000;
  EXPECT_TRUE(client->Fetch(request).ok());
  request.path = "/200";
  const absl::Status status = client->Fetch(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr("1000 bytes"), HasSubstr(server.url() + "/200"),
                                       HasSubstr("--upstream")));
  request.path = "/500";
  const auto error = client->Fetch(request);
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_EQ(error->status, 500);
  EXPECT_EQ(error->body, std::string(1000, 'x'));
  // A stream may be longer.
  request.path = "/200";
  TestCall running(*client, request);
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_EQ(running.data().size(), 1001);
}

TEST(HttpClientTest, TimeoutsNameWhatWasWaitedForAndTheFlag) {
  HttpTestServer server;
  server.Handle("/silent", [](const Request&, Reply& reply) { reply.WaitUntilClientLeaves(); });
  server.Handle("/headers", [](const Request&, Reply& reply) {
    reply.StartStream();
    reply.WaitUntilClientLeaves();
  });
  server.Handle("/half", [](const Request&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent("one");
    reply.WaitUntilClientLeaves();
  });
  server.Handle("/dribble", [](const Request&, Reply& reply) {
    reply.StartStream();
    while (reply.WriteEvent("x") && !reply.WaitUntilClientLeaves(absl::Milliseconds(20))) {
    }
  });
  const auto client = Connect(server.url());
  const struct {
    const char* path;
    HttpTimeout HttpRequest::*timeout;
    const char* waited_for;
    absl::Duration limit = kShort;
  } cases[] = {
      {"/silent", &HttpRequest::first_byte, "the answer to"},
      {"/headers", &HttpRequest::first_byte, "the body of the answer to", absl::Seconds(1)},
      {"/half", &HttpRequest::idle, "the next piece of the answer to"},
      {"/silent", &HttpRequest::total, "the end of the answer to"},
      {"/dribble", &HttpRequest::total, "the end of the answer to"}};
  for (const auto& each : cases) {
    HttpRequest request = Post(each.path);
    request.*each.timeout = {each.limit, "upstream_test_timeout"};
    const absl::Time start = absl::Now();
    TestCall running(*client, request);
    const absl::Status status = running.Wait().status();
    EXPECT_GE(absl::Now() - start, each.limit);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_THAT(
        MessageOf(status),
        AllOf(HasSubstr(each.waited_for), HasSubstr(server.url() + each.path),
              HasSubstr(absl::FormatDuration(each.limit)), HasSubstr("--upstream_test_timeout")));
    // The connection was closed, so that the server need not go on.
    EXPECT_TRUE(server.WaitForOpenConnections(0)) << each.path;
  }
  // What dribbles is not idle.
  HttpRequest request = Post("/dribble");
  request.idle.limit = absl::Seconds(20);
  request.first_byte.limit = absl::Seconds(20);
  TestCall running(*client, request);
  running.WaitForData(100);
  EXPECT_FALSE(running.done());
}

TEST(HttpClientTest, ConnectErrorsNameTheAddressAndTheFlag) {
  int port;
  {
    HttpTestServer server;
    port = server.port();
  }
  const std::string url = absl::StrCat("http://127.0.0.1:", port);
  absl::Status status = Connect(url)->Fetch(Get("/")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr("cannot connect"), HasSubstr(url), HasSubstr("--upstream")));

  status = Connect("http://nobody.invalid:80")->Fetch(Get("/")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("http://nobody.invalid:80"));

  // The server waits for the end of a request's headers, the client for the end of the handshake.
  HttpTestServer plain;
  const std::string tls_url = absl::StrCat("https://127.0.0.1:", plain.port());
  status = Connect(tls_url, kShort)->Fetch(Get("/")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr(tls_url), HasSubstr("200ms"),
                                       HasSubstr("--upstream_connect_timeout")));
}

TEST(HttpClientTest, BrokenAnswersAreErrors) {
  const struct {
    const char* name;
    absl::StatusCode code;
    const char* says;
    HttpTestServer::Handler handler;
  } cases[] = {
      {"nothing", absl::StatusCode::kUnavailable, "without an answer",
       [](const Request&, Reply&) {}},
      {"reset", absl::StatusCode::kUnavailable, "without an answer",
       [](const Request&, Reply& reply) { reply.Close(true); }},
      {"half a stream", absl::StatusCode::kUnavailable, "in the middle",
       [](const Request&, Reply& reply) {
         reply.StartStream();
         reply.WriteEvent("one");
       }},
      {"half the headers", absl::StatusCode::kUnavailable, "in the middle",
       [](const Request&, Reply& reply) {
         reply.WriteRaw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Le");
       }},
      {"Content-Length too large", absl::StatusCode::kUnavailable, "in the middle",
       [](const Request&, Reply& reply) {
         reply.SendJson(200, "{}", {{"Content-Length", "3"}});
         reply.Close();
       }},
      {"bad chunk", absl::StatusCode::kUnavailable, "in the middle",
       [](const Request&, Reply& reply) {
         reply.StartStream();
         reply.WriteRaw("xyz\r\n");
         reply.WaitUntilClientLeaves();
       }},
      {"no HTTP", absl::StatusCode::kUnavailable, "HTTP/1.1",
       [](const Request&, Reply& reply) { reply.WriteRaw("220 mail.example ESMTP\r\n"); }},
      {"headers without end", absl::StatusCode::kResourceExhausted, "headers",
       [](const Request&, Reply& reply) {
         reply.WriteRaw("HTTP/1.1 200 OK\r\n");
         while (reply.WriteRaw("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")) {
         }
       }},
      {"too many headers", absl::StatusCode::kResourceExhausted, "65536 bytes",
       [](const Request&, Reply& reply) {
         HttpTestServer::Headers headers;
         for (int i = 0; i < 1000; ++i) headers.push_back({"X", std::string(100, 'y')});
         reply.SendJson(200, "{}", headers);
       }},
      {"a header without end", absl::StatusCode::kResourceExhausted, "headers",
       [](const Request&, Reply& reply) {
         reply.WriteRaw("HTTP/1.1 200 OK\r\nX: ");
         while (reply.WriteRaw("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")) {
         }
       }},
      {"interim answers without end", absl::StatusCode::kResourceExhausted, "headers",
       [](const Request&, Reply& reply) {
         while (reply.WriteRaw("HTTP/1.1 102 Processing\r\n\r\n")) {
         }
       }},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.name);
    HttpTestServer server;
    server.Handle("/", each.handler);
    const auto client = Connect(server.url());
    const absl::Status status = client->Fetch(Post("/")).status();
    EXPECT_EQ(status.code(), each.code) << status;
    EXPECT_THAT(MessageOf(status),
                AllOf(HasSubstr(each.says), HasSubstr(server.url()), HasSubstr("--upstream")));
    EXPECT_EQ(server.requests().size(), 1) << "sent again";
  }
}

TEST(HttpClientTest, BytesBehindTheContentLengthAreNoAnswerToTheNextRequest) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) {
    reply.SendJson(200, "{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
                   {{"Content-Length", "2"}});
  });
  const auto client = Connect(server.url());
  for (int i = 0; i < 3; ++i) {
    const auto response = client->Fetch(Post("/"));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "{}");
  }
}

TEST(HttpClientTest, BadRequestsEndWithAnError) {
  HttpTestServer server;
  const auto client = Connect(server.url());
  const struct {
    const char* method;
    const char* path;
    const char* body;
  } cases[] = {{"PUT", "/", ""},   {"GET", "/", "x"},    {"POST", "", "{}"},
               {"POST", "v1", ""}, {"POST", "/a b", ""}, {"POST", "/\r\nX: y", ""}};
  for (const auto& each : cases) {
    HttpRequest request;
    request.method = each.method;
    request.path = each.path;
    request.body = each.body;
    EXPECT_EQ(client->Fetch(request).status().code(), absl::StatusCode::kInvalidArgument)
        << each.method << " " << each.path;
  }
  EXPECT_EQ(server.connections(), 0);
}

}  // namespace
}  // namespace unlearn
