#include "proxy/upstream/exchange_session.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

constexpr int kVocabulary = 3;

// What the test's server saw, and what it is to answer.
struct Server {
  absl::Mutex mutex;
  std::vector<Exchange> exchanges;
  std::deque<absl::Status> errors;  // for the next exchanges, one each
  absl::Notification* hold = nullptr;
  bool cancelled = false;
};

// Answers on a thread of its own: each row is {token, 0, 0}.
class FakeClient : public ExchangeClient {
 public:
  explicit FakeClient(Server* server) : server_(server) {}
  ~FakeClient() override {
    absl::MutexLock lock(&mutex_);
    if (thread_.joinable()) {
      if (thread_.get_id() == std::this_thread::get_id()) {
        thread_.detach();
      } else {
        thread_.join();
      }
    }
  }

  void Start(Exchange exchange, Callback done) override {
    absl::Status error;
    absl::Notification* hold;
    {
      absl::MutexLock lock(&server_->mutex);
      server_->exchanges.push_back(exchange);
      hold = server_->hold;
      if (!server_->errors.empty()) {
        error = server_->errors.front();
        server_->errors.pop_front();
      }
    }
    // The thread that called Start before may still be in it.
    absl::MutexLock lock(&mutex_);
    std::thread last = std::move(thread_);
    thread_ = std::thread(
        [hold, error, exchange, done = std::move(done), last = std::move(last)]() mutable {
          if (last.joinable()) {
            // The exchange before has called back already; perhaps it is still returning.
            last.detach();
          }
          if (hold != nullptr) hold->WaitForNotification();
          if (!error.ok()) {
            done(error);
            return;
          }
          UpstreamLogits logits;
          logits.rows = exchange.rows;
          for (size_t i = exchange.token_ids.size() - exchange.rows; i < exchange.token_ids.size();
               ++i) {
            logits.logits.insert(logits.logits.end(), {1.0f * exchange.token_ids[i], 0, 0});
          }
          done(std::move(logits));
        });
  }

  void Cancel() override {
    absl::MutexLock lock(&server_->mutex);
    server_->cancelled = true;
  }

 private:
  Server* const server_;
  absl::Mutex mutex_;
  std::thread thread_;
};

std::unique_ptr<UpstreamSession> Session(Server* server, bool last_row_only = false) {
  ExchangeOptions options;
  options.vocab_size = kVocabulary;
  options.max_context = 6;
  options.last_row_only = last_row_only;
  return NewExchangeSession(options, std::make_unique<FakeClient>(server));
}

std::vector<float> Firsts(const UpstreamLogits& logits) {
  std::vector<float> firsts;
  for (size_t i = 0; i < logits.logits.size(); i += kVocabulary) firsts.push_back(logits.logits[i]);
  return firsts;
}

TEST(ExchangeSessionTest, EachExchangeHasTheWholePrefixAndSaysWhatIsKnown) {
  Server server;
  const auto session = Session(&server);
  EXPECT_EQ(Firsts(*StepAndWait(*session, {0, {0, 1}, Positions::kLast})), std::vector<float>({1}));
  EXPECT_EQ(Firsts(*StepAndWait(*session, {2, {2, 1}, Positions::kAll})),
            std::vector<float>({2, 1}));
  ASSERT_EQ(server.exchanges.size(), 2);
  EXPECT_EQ(server.exchanges[0].known, 0);
  EXPECT_EQ(server.exchanges[1].token_ids, std::vector<int32_t>({0, 1, 2, 1}));
  EXPECT_EQ(server.exchanges[1].known, 2);
  EXPECT_EQ(server.exchanges[1].rows, 2);
}

TEST(ExchangeSessionTest, TokensNobodyWantsLogitsOfWaitForTheNextExchange) {
  Server server;
  const auto session = Session(&server);
  EXPECT_EQ(StepAndWait(*session, {0, {0, 1}, Positions::kNone})->rows, 0);
  EXPECT_TRUE(server.exchanges.empty());
  EXPECT_EQ(Firsts(*StepAndWait(*session, {2, {2}, Positions::kLast})), std::vector<float>({2}));
  EXPECT_EQ(server.exchanges[0].token_ids, std::vector<int32_t>({0, 1, 2}));
  EXPECT_EQ(server.exchanges[0].known, 0);
}

TEST(ExchangeSessionTest, RollingBackBeginsAnew) {
  Server server;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1, 2}, Positions::kLast}).ok());
  EXPECT_EQ(Firsts(*StepAndWait(*session, {1, {2}, Positions::kLast})), std::vector<float>({2}));
  EXPECT_EQ(server.exchanges[1].token_ids, std::vector<int32_t>({0, 2}));
  EXPECT_EQ(server.exchanges[1].known, 0);
}

TEST(ExchangeSessionTest, AServerOfLastRowsIsAskedTokenByToken) {
  Server server;
  const auto session = Session(&server, /*last_row_only=*/true);
  ASSERT_TRUE(StepAndWait(*session, {0, {1}, Positions::kNone}).ok());
  const auto logits = StepAndWait(*session, {1, {2, 0, 1}, Positions::kAll});
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_EQ(logits->rows, 3);
  EXPECT_EQ(Firsts(*logits), std::vector<float>({2, 0, 1}));
  ASSERT_EQ(server.exchanges.size(), 3);
  EXPECT_EQ(server.exchanges[0].token_ids, std::vector<int32_t>({1, 2}));
  EXPECT_EQ(server.exchanges[2].known, 3);
}

TEST(ExchangeSessionTest, WhatDoesNotFitIsRefusedAndChangesNothing) {
  Server server;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1}, Positions::kLast}).ok());
  const UpstreamStep wrong[] = {{3, {1}, Positions::kLast}, {-1, {1}, Positions::kLast},
                                {2, {3}, Positions::kLast}, {2, {-1}, Positions::kLast},
                                {2, {}, Positions::kLast},  {2, {1, 1, 1, 1, 1}, Positions::kLast}};
  for (const UpstreamStep& step : wrong) {
    EXPECT_EQ(StepAndWait(*session, step).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(StepAndWait(*session, {2, {1}, Positions::kLast}).ok());
  EXPECT_EQ(server.exchanges.size(), 2);
}

TEST(ExchangeSessionTest, ARefusalOfTheServerLeavesTheSessionAsItWas) {
  Server server;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1}, Positions::kLast}).ok());
  server.errors = {absl::InvalidArgumentError("too long")};
  EXPECT_EQ(StepAndWait(*session, {1, {2, 2}, Positions::kLast}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Firsts(*StepAndWait(*session, {2, {2}, Positions::kLast})), std::vector<float>({2}));
  EXPECT_EQ(server.exchanges.back().token_ids, std::vector<int32_t>({0, 1, 2}));
  EXPECT_EQ(server.exchanges.back().known, 0);
}

TEST(ExchangeSessionTest, AnyOtherErrorEndsTheSession) {
  Server server;
  const auto session = Session(&server);
  server.errors = {absl::UnavailableError("gone")};
  EXPECT_EQ(StepAndWait(*session, {0, {0}, Positions::kLast}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(StepAndWait(*session, {0, {0}, Positions::kLast}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.exchanges.size(), 1);
}

TEST(ExchangeSessionTest, StepsAreAnsweredInOrder) {
  Server server;
  const auto session = Session(&server);
  absl::Mutex mutex;
  std::vector<int> order;
  absl::Notification last;
  for (int i = 0; i < 4; ++i) {
    // The third is refused, in its turn.
    session->Step({i == 2 ? 9 : i, {1}, Positions::kLast}, [&, i](auto) {
      absl::MutexLock lock(&mutex);
      order.push_back(i);
      if (i == 3) last.Notify();
    });
  }
  last.WaitForNotification();
  absl::MutexLock lock(&mutex);
  EXPECT_EQ(order, std::vector<int>({0, 1, 2, 3}));
}

TEST(ExchangeSessionTest, ClosingAnswersWhatIsUnderWayAndNothingRunsAfterwards) {
  Server server;
  // Never destroyed: the late answer's thread may still be waking up when the test ends.
  static absl::Notification& hold = *new absl::Notification;
  server.hold = &hold;
  auto session = Session(&server);
  std::promise<absl::Status> first, second;
  session->Step({0, {1}, Positions::kLast}, [&](auto logits) { first.set_value(logits.status()); });
  session->Step({1, {1}, Positions::kLast},
                [&](auto logits) { second.set_value(logits.status()); });
  session.reset();
  EXPECT_EQ(first.get_future().get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(second.get_future().get().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(server.cancelled);
  hold.Notify();  // the late answer meets nobody; a second call of a promise would throw
}

}  // namespace
}  // namespace unlearn
