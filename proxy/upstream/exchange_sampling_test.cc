#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "proxy/upstream/exchange_session.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

constexpr int kVocabulary = 4;
constexpr int kContext = 8;

SampledRows Rows(const std::vector<int32_t>& ids, bool ended = false) {
  SampledRows rows;
  for (const int32_t id : ids) rows.rows.push_back({id, -1, {{id}, {-1}}});
  rows.ended = ended;
  return rows;
}

// What the client was asked for. The test gives the rows, on its own thread.
struct Server {
  // The next Sample that the client is asked for.
  std::pair<ExchangeSampling, ExchangeClient::SampleCallback> NextSample() {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](Server* server) { return server->samples.size() > server->taken; }, this));
    return std::move(samples[taken++]);
  }

  absl::Mutex mutex;
  std::vector<std::pair<ExchangeSampling, ExchangeClient::SampleCallback>> samples;
  size_t taken = 0;
  std::vector<Exchange> exchanges;
  int stops = 0;
  bool cancelled = false;
};

class FakeClient : public ExchangeClient {
 public:
  explicit FakeClient(Server* server) : server_(server) {}

  void Start(Exchange exchange, Callback done) override {
    {
      absl::MutexLock lock(&server_->mutex);
      server_->exchanges.push_back(exchange);
    }
    UpstreamLogits logits;
    logits.rows = 1;
    logits.logits.assign(kVocabulary, 0);
    done(std::move(logits));
  }

  void Sample(ExchangeSampling sampling, SampleCallback rows) override {
    absl::MutexLock lock(&server_->mutex);
    server_->samples.emplace_back(std::move(sampling), std::move(rows));
  }

  void StopSampling() override {
    absl::MutexLock lock(&server_->mutex);
    ++server_->stops;
  }

  void Cancel() override {
    absl::MutexLock lock(&server_->mutex);
    server_->cancelled = true;
  }

 private:
  Server* const server_;
};

// What the caller was told.
struct Told {
  UpstreamSession::SampleCallback Callback() {
    return [this](absl::StatusOr<SampledRows> rows) {
      absl::MutexLock lock(&mutex);
      if (!rows.ok()) {
        status = rows.status();
      } else {
        for (const SampledRow& row : rows->rows) ids.push_back(row.id);
        ended = rows->ended;
      }
      ++calls;
    };
  }
  absl::Status WaitForError() {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](Told* told) { return !told->status.ok(); }, this));
    return status;
  }

  absl::Mutex mutex;
  std::vector<int32_t> ids;
  bool ended = false;
  absl::Status status;
  int calls = 0;
};

std::unique_ptr<UpstreamSession> Session(Server* server, bool samples = true) {
  ExchangeOptions options;
  options.vocab_size = kVocabulary;
  options.max_context = kContext;
  options.last_row_only = true;
  options.samples = samples;
  options.least_temperature = 0.01;
  return NewExchangeSession(options, std::make_unique<FakeClient>(server));
}

UpstreamSampling Sampling(int32_t base_position, std::vector<int32_t> token_ids) {
  UpstreamSampling sampling;
  sampling.base_position = base_position;
  sampling.token_ids = std::move(token_ids);
  sampling.temperature = 0.5;
  sampling.max_tokens = 3;
  sampling.top = 2;
  return sampling;
}

std::vector<int32_t> PrefixAfter(UpstreamSession& session, Server& server, UpstreamStep step) {
  const auto logits = StepAndWait(session, std::move(step));
  EXPECT_TRUE(logits.ok()) << logits.status();
  absl::MutexLock lock(&server.mutex);
  return server.exchanges.back().token_ids;
}

TEST(ExchangeSamplingTest, WhatWasDrawnIsPartOfTheSession) {
  Server server;
  Told told;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1}, Positions::kLast}).ok());
  session->Sample(Sampling(2, {2}), told.Callback());
  auto [sampling, rows] = server.NextSample();
  EXPECT_EQ(sampling.token_ids, std::vector<int32_t>({0, 1, 2}));
  EXPECT_EQ(sampling.temperature, 0.5);
  EXPECT_EQ(sampling.max_tokens, 3);
  EXPECT_EQ(sampling.top, 2);
  rows(Rows({3, 1}));
  rows(Rows({0}, /*ended=*/true));
  EXPECT_EQ(told.ids, std::vector<int32_t>({3, 1, 0}));
  EXPECT_TRUE(told.ended);
  // The last draw was rejected.
  EXPECT_EQ(PrefixAfter(*session, server, {5, {2}, Positions::kLast}),
            std::vector<int32_t>({0, 1, 2, 3, 1, 2}));
  EXPECT_EQ(server.exchanges.back().known, 0) << "the server was told another way";
  EXPECT_EQ(server.stops, 0) << "it had ended";
}

TEST(ExchangeSamplingTest, TheNextStepEndsIt) {
  Server server;
  Told told;
  const auto session = Session(&server);
  session->Sample(Sampling(0, {0}), told.Callback());
  auto [sampling, rows] = server.NextSample();
  rows(Rows({3, 1}));
  EXPECT_EQ(PrefixAfter(*session, server, {2, {2}, Positions::kLast}),
            std::vector<int32_t>({0, 3, 2}));
  EXPECT_EQ(server.stops, 1);
  rows(Rows({1}, true));
  rows(absl::UnavailableError("too late to matter"));
  EXPECT_EQ(told.calls, 1);
  EXPECT_EQ(PrefixAfter(*session, server, {3, {1}, Positions::kLast}),
            std::vector<int32_t>({0, 3, 2, 1}));
}

TEST(ExchangeSamplingTest, AStepFromInsideItsCallbackEndsItAsWell) {
  Server server;
  const auto session = Session(&server);
  absl::Notification stepped;
  int calls = 0;
  session->Sample(Sampling(0, {0}), [&](absl::StatusOr<SampledRows> given) {
    ++calls;
    ASSERT_TRUE(given.ok());
    session->Step({1, {2}, Positions::kLast}, [&](auto logits) {
      EXPECT_TRUE(logits.ok());
      stepped.Notify();
    });
  });
  auto [sampling, rows] = server.NextSample();
  rows(Rows({3}));
  rows(Rows({1}));
  stepped.WaitForNotification();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(server.exchanges.back().token_ids, std::vector<int32_t>({0, 2}));
}

TEST(ExchangeSamplingTest, TheNextSampleEndsIt) {
  Server server;
  Told first, second;
  const auto session = Session(&server);
  session->Sample(Sampling(0, {0}), first.Callback());
  auto [sampling, rows] = server.NextSample();
  rows(Rows({3, 3}));
  session->Sample(Sampling(2, {2}), second.Callback());
  auto [next_sampling, next_rows] = server.NextSample();
  EXPECT_EQ(next_sampling.token_ids, std::vector<int32_t>({0, 3, 2}));
  rows(Rows({1}));
  next_rows(Rows({0}, true));
  EXPECT_EQ(first.ids, std::vector<int32_t>({3, 3}));
  EXPECT_FALSE(first.ended);
  EXPECT_EQ(second.ids, std::vector<int32_t>({0}));
}

TEST(ExchangeSamplingTest, EndedBeforeItBeganItOnlyAddsItsTokens) {
  Server server;
  Told told;
  const auto session = Session(&server);
  absl::Notification hold, arrived, stepped;
  session->Step({0, {0}, Positions::kLast}, [&](auto) {
    arrived.Notify();
    hold.WaitForNotification();  // no real caller does
  });
  arrived.WaitForNotification();
  session->Sample(Sampling(1, {2, 3}), told.Callback());
  session->Step({2, {1}, Positions::kLast}, [&](auto logits) {
    EXPECT_TRUE(logits.ok());
    stepped.Notify();
  });
  hold.Notify();
  stepped.WaitForNotification();
  EXPECT_EQ(server.exchanges.back().token_ids, std::vector<int32_t>({0, 2, 1}));
  EXPECT_EQ(told.calls, 0);
  EXPECT_TRUE(server.samples.empty());
}

TEST(ExchangeSamplingTest, TheSessionsEndIsItsEnd) {
  Server server;
  Told told;
  auto session = Session(&server);
  session->Sample(Sampling(0, {0}), told.Callback());
  auto [sampling, rows] = server.NextSample();
  rows(Rows({3}));
  session.reset();
  EXPECT_TRUE(server.cancelled);
  rows(Rows({1}));
  EXPECT_EQ(told.calls, 1);
}

TEST(ExchangeSamplingTest, WhatDoesNotFitIsRefusedAndChangesNothing) {
  Server server;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1}, Positions::kLast}).ok());
  std::vector<UpstreamSampling> wrong(8, Sampling(2, {2}));
  wrong[0].token_ids.clear();
  wrong[1].base_position = 3;
  wrong[2].token_ids = {kVocabulary};
  wrong[3].temperature = -1;
  wrong[4].temperature = NAN;
  wrong[5].temperature = 0.001;
  wrong[6].max_tokens = 0;
  wrong[7].token_ids.assign(kContext - 1, 1);
  for (const UpstreamSampling& sampling : wrong) {
    Told told;
    session->Sample(sampling, told.Callback());
    EXPECT_EQ(told.WaitForError().code(), absl::StatusCode::kInvalidArgument)
        << &sampling - &wrong[0];
  }
  EXPECT_EQ(PrefixAfter(*session, server, {2, {3}, Positions::kLast}),
            std::vector<int32_t>({0, 1, 3}));
  EXPECT_TRUE(server.samples.empty());
}

TEST(ExchangeSamplingTest, AsManyTokensAsTheContextHasRoomForAndOneMore) {
  Server server;
  Told told;
  const auto session = Session(&server);
  UpstreamSampling sampling = Sampling(0, std::vector<int32_t>(kContext - 1, 1));
  sampling.max_tokens = 1000;
  session->Sample(sampling, told.Callback());
  EXPECT_EQ(server.NextSample().first.max_tokens, 2);
}

TEST(ExchangeSamplingTest, ARefusalOfTheServerLeavesTheSessionAsItWas) {
  Server server;
  Told told;
  const auto session = Session(&server);
  ASSERT_TRUE(StepAndWait(*session, {0, {0, 1}, Positions::kLast}).ok());
  session->Sample(Sampling(1, {2, 2}), told.Callback());
  server.NextSample().second(absl::InvalidArgumentError("too long"));
  EXPECT_EQ(told.WaitForError().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PrefixAfter(*session, server, {2, {3}, Positions::kLast}),
            std::vector<int32_t>({0, 1, 3}));
}

TEST(ExchangeSamplingTest, ARefusalAfterTheFirstTokenIsNoneOfTheCallers) {
  Server server;
  Told told;
  const auto session = Session(&server);
  session->Sample(Sampling(0, {0}), told.Callback());
  auto [sampling, rows] = server.NextSample();
  rows(Rows({1}));
  rows(absl::InvalidArgumentError("too long"));
  EXPECT_EQ(told.WaitForError().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(StepAndWait(*session, {2, {3}, Positions::kLast}).status().code(),
            absl::StatusCode::kInternal);
}

TEST(ExchangeSamplingTest, AnyOtherErrorEndsTheSession) {
  Server server;
  Told told, next;
  const auto session = Session(&server);
  session->Sample(Sampling(0, {0}), told.Callback());
  server.NextSample().second(absl::UnavailableError("gone"));
  EXPECT_EQ(told.WaitForError().code(), absl::StatusCode::kUnavailable);
  session->Sample(Sampling(0, {0}), next.Callback());
  EXPECT_EQ(next.WaitForError().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.samples.size(), 1);
}

TEST(ExchangeSamplingTest, NotEveryServerDrawsTokens) {
  Server server;
  Told told;
  const auto session = Session(&server, /*samples=*/false);
  session->Sample(Sampling(0, {0}), told.Callback());
  EXPECT_EQ(told.WaitForError().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
}

}  // namespace
}  // namespace unlearn
