// Calls that are destroyed, paused, many at once, or end with their client.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proxy/transport/http_client.h"
#include "proxy/transport/http_test_calls.h"
#include "proxy/transport/http_test_server.h"

namespace unlearn {
namespace {

using Reply = HttpTestServer::Reply;
using Request = HttpTestServer::Request;

constexpr absl::Duration kShort = absl::Milliseconds(200);

TEST(HttpClientCallsTest, DestroyingACallTellsTheServer) {
  for (const bool streamed : {true, false}) {
    absl::Notification left;
    HttpTestServer server;
    server.Handle("/", [&](const Request&, Reply& reply) {
      if (streamed) {
        reply.StartStream();
        reply.WriteEvent("one");
      }
      if (reply.WaitUntilClientLeaves()) left.Notify();
    });
    const auto client = Connect(server.url());
    TestCall running(*client, Post("/"), streamed);
    if (streamed) running.WaitForData(5);
    ASSERT_TRUE(server.WaitForRequests(1));
    running.Destroy();
    EXPECT_TRUE(left.WaitForNotificationWithTimeout(absl::Seconds(30)));
    EXPECT_FALSE(running.done());
  }
}

TEST(HttpClientCallsTest, DestroyingACallFreesWhatItsCallbacksHold) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) { reply.WaitUntilClientLeaves(); });
  const auto client = Connect(server.url());
  const auto held = std::make_shared<int>(1);
  auto call = client->Start(
      Post("/"), [held](absl::string_view) {}, [held](absl::StatusOr<HttpResponse>) {});
  ASSERT_TRUE(server.WaitForRequests(1));
  EXPECT_EQ(held.use_count(), 3);
  call.reset();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(HttpClientCallsTest, DestroyingACallWaitsForItsCallback) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) {
    reply.StartStream();
    while (reply.WriteEvent("x")) {
    }
  });
  const auto client = Connect(server.url());
  absl::Notification inside, destroyed;
  int pieces = 0;  // without a lock: the destructor orders what comes before and after it
  auto call = client->Start(
      Post("/"),
      [&](absl::string_view) {
        if (++pieces > 1) return;
        inside.Notify();
        EXPECT_FALSE(destroyed.WaitForNotificationWithTimeout(kShort));
        pieces = 100;
      },
      [](absl::StatusOr<HttpResponse>) { ADD_FAILURE() << "called back"; });
  inside.WaitForNotification();
  call.reset();
  destroyed.Notify();
  const int then = pieces;
  EXPECT_GE(then, 100);
  EXPECT_TRUE(server.WaitForOpenConnections(0));
  EXPECT_EQ(pieces, then);
}

TEST(HttpClientCallsTest, CallbacksMayStartAndDestroyCalls) {
  HttpTestServer server;
  server.Handle("/stream", [](const Request&, Reply& reply) {
    reply.StartStream();
    while (reply.WriteEvent("x")) {
    }
  });
  server.Handle("/json", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  const auto client = Connect(server.url());

  // on_data ends its own call and another one, then starts a third.
  absl::Mutex mutex;
  int pieces = 0, ends = 0;
  std::unique_ptr<HttpClient::Call> own, other, third;
  absl::Notification third_done;
  {
    absl::MutexLock lock(&mutex);  // until all three are set
    other = client->Start(
        Post("/stream"), [](absl::string_view) {}, [&](absl::StatusOr<HttpResponse>) { ++ends; });
    own = client->Start(
        Post("/stream"),
        [&](absl::string_view) {
          absl::MutexLock inner(&mutex);
          ++pieces;
          own.reset();
          other.reset();
          third = client->Start(Post("/json"), nullptr, [&](absl::StatusOr<HttpResponse> response) {
            EXPECT_TRUE(response.ok()) << response.status();
            third.reset();  // its own, in on_done
            third_done.Notify();
          });
        },
        [&](absl::StatusOr<HttpResponse>) { ++ends; });
  }
  third_done.WaitForNotification();
  EXPECT_TRUE(server.WaitForOpenConnections(1));  // the third's
  EXPECT_EQ(pieces, 1);
  EXPECT_EQ(ends, 0);

  // Fetch would wait for itself.
  absl::Status inside;
  absl::Notification asked;
  const auto call = client->Start(Post("/json"), nullptr, [&](absl::StatusOr<HttpResponse>) {
    inside = client->Fetch(Post("/json")).status();
    asked.Notify();
  });
  asked.WaitForNotification();
  EXPECT_EQ(inside.code(), absl::StatusCode::kFailedPrecondition);
}

TEST(HttpClientCallsTest, APausedCallSlowsTheServerDown) {
  constexpr size_t kBytes = 64 << 20;  // more than what sockets hold
  std::atomic<size_t> sent = 0;
  absl::Notification all_sent;
  HttpTestServer server;
  server.Handle("/", [&](const Request&, Reply& reply) {
    reply.StartStream();
    const std::string piece(1 << 16, 'x');
    while (sent < kBytes && reply.Write(piece)) sent += piece.size();
    reply.EndStream();
    all_sent.Notify();
  });
  const auto client = Connect(server.url());
  std::atomic<size_t> got = 0;
  std::atomic<bool> finished = false;
  absl::Notification begun, done;
  HttpRequest request = Post("/");
  request.idle = {absl::Seconds(1), ""};
  request.first_byte = {absl::Seconds(30), ""};
  absl::Mutex mutex;  // until `call` is set
  std::unique_ptr<HttpClient::Call> call;
  {
    absl::MutexLock lock(&mutex);
    call = client->Start(
        request,
        [&](absl::string_view piece) {
          got += piece.size();
          if (begun.HasBeenNotified()) return;
          absl::MutexLock inner(&mutex);
          call->Pause();
          begun.Notify();
        },
        [&](absl::StatusOr<HttpResponse> response) {
          EXPECT_TRUE(response.ok()) << response.status();
          finished = true;
          done.Notify();
        });
  }
  begun.WaitForNotification();
  const size_t before = got;
  // Longer than the idle timeout, which does not count here; the server is stuck.
  EXPECT_FALSE(all_sent.WaitForNotificationWithTimeout(1.5 * request.idle.limit));
  EXPECT_EQ(got, before);
  EXPECT_LT(sent, kBytes);
  EXPECT_FALSE(finished);
  call->Resume();
  done.WaitForNotification();
  EXPECT_EQ(got, kBytes);
}

TEST(HttpClientCallsTest, ManyStreamsAtOnce) {
  constexpr int kStreams = 32;
  absl::Mutex mutex;
  int arrived = 0;
  HttpTestServer server;
  server.Handle("/", [&](const Request& request, Reply& reply) {
    reply.StartStream();
    {
      absl::MutexLock lock(&mutex);
      ++arrived;
      const auto all = [&] { return arrived == kStreams; };
      mutex.Await(absl::Condition(&all));  // so they do run at once
    }
    for (int i = 0; i < 50; ++i) reply.WriteEvent(absl::StrCat(request.body, " ", i));
    reply.EndStream();
  });
  const auto client = Connect(server.url());
  std::vector<std::unique_ptr<TestCall>> streams;
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<TestCall>(*client, Post("/", absl::StrCat("stream", i))));
  }
  for (int i = 0; i < kStreams; ++i) {
    const auto response = streams[i]->Wait();
    ASSERT_TRUE(response.ok()) << response.status();
    std::string expected;
    for (int j = 0; j < 50; ++j) absl::StrAppend(&expected, "data: stream", i, " ", j, "\n\n");
    EXPECT_EQ(streams[i]->data(), expected);
  }
  EXPECT_EQ(server.connections(), kStreams);
}

TEST(HttpClientCallsTest, ManyThreadsStartAndDestroyCalls) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) {
    reply.StartStream();
    for (int i = 0; i < 20 && reply.WriteEvent("x"); ++i) {
    }
    reply.EndStream();
  });
  const auto client = Connect(server.url());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30; ++i) {
        TestCall running(*client, Post("/"));
        if ((i + t) % 3 == 0) running.WaitForData(1);
        if ((i + t) % 3 == 1) {
          EXPECT_TRUE(running.Wait().ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(client->Fetch(Post("/")).ok());
}

TEST(HttpClientCallsTest, DestroyingTheClientEndsItsCalls) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) {
    reply.StartStream();
    reply.WriteEvent("one");
    reply.WaitUntilClientLeaves();
  });
  auto client = Connect(server.url());
  TestCall first(*client, Post("/")), second(*client, Post("/"));
  first.WaitForData(5);
  second.WaitForData(5);
  // A call that is started by the last callback ends without a word.
  HttpClient* const same = client.get();
  std::unique_ptr<HttpClient::Call> late;
  absl::Notification ended;
  const auto third = client->Start(Post("/"), nullptr, [&](absl::StatusOr<HttpResponse> response) {
    EXPECT_EQ(response.status().code(), absl::StatusCode::kCancelled);
    late = same->Start(Post("/"), nullptr,
                       [](absl::StatusOr<HttpResponse>) { ADD_FAILURE() << "called back"; });
    ended.Notify();
  });
  client.reset();
  EXPECT_TRUE(ended.HasBeenNotified());
  ASSERT_TRUE(first.done() && second.done());
  EXPECT_EQ(first.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(second.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(server.WaitForOpenConnections(0));
}

TEST(HttpClientCallsTest, WhatACallbackCapturedIsGoneWithTheCallThatItAnswered) {
  HttpTestServer server;
  server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
  const auto client = Connect(server.url());
  for (int i = 0; i < 300; ++i) {
    auto captured = std::make_shared<int>(i);
    const std::weak_ptr<int> seen = captured;
    absl::Notification answered;
    auto call = client->Start(Post("/"), nullptr,
                              [captured = std::move(captured),
                               &answered](absl::StatusOr<HttpResponse>) { answered.Notify(); });
    answered.WaitForNotification();
    call.reset();
    ASSERT_TRUE(seen.expired()) << i;
  }
}

TEST(HttpClientCallsDeathTest, ACallbackMustNotDestroyTheClient) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        HttpTestServer server;
        server.Handle("/", [](const Request&, Reply& reply) { reply.SendJson(200, "{}"); });
        auto client = Connect(server.url());
        const auto call = client->Start(Post("/"), nullptr,
                                        [&](absl::StatusOr<HttpResponse>) { client.reset(); });
        absl::Notification().WaitForNotification();
      },
      "destroyed by one of its own callbacks");
}

}  // namespace
}  // namespace unlearn
