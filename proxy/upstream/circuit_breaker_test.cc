#include "proxy/upstream/circuit_breaker.h"

#include <gtest/gtest.h>

#include <string>

namespace unlearn {
namespace {

const absl::Status kGone = absl::UnavailableError("gone");

class CircuitBreakerTest : public ::testing::Test {
 protected:
  static CircuitBreaker::Options Options() {
    CircuitBreaker::Options options;
    options.failures = 3;
    options.first_wait = absl::Seconds(2);
    options.longest_wait = absl::Seconds(10);
    options.longest_retry_after = absl::Seconds(30);
    options.random = [] { return 1.0; };  // whole waits
    return options;
  }
  void Fail(int times) {
    for (int i = 0; i < times; ++i) breaker_.Failure(now_, now_, kGone);
  }
  absl::Status Admit() { return breaker_.Admit(now_, &trial_); }

  CircuitBreaker breaker_{Options()};
  absl::Time now_ = absl::FromUnixSeconds(1000);
  bool trial_ = false;
};

TEST_F(CircuitBreakerTest, OpensAfterSoManyFailuresInARowAndSaysWhyAndUntilWhen) {
  Fail(2);
  EXPECT_TRUE(Admit().ok());
  EXPECT_FALSE(trial_);
  breaker_.Success(now_);
  Fail(2);
  EXPECT_TRUE(Admit().ok()) << "a success between them: not in a row";
  Fail(1);
  EXPECT_EQ(breaker_.state(), CircuitBreaker::State::kOpen);
  now_ += absl::Milliseconds(500);
  const absl::Status refused = Admit();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refused.message(), "M has failed 3 times in a row, last: gone; tried again in 1.5s");
}

TEST_F(CircuitBreakerTest, OneIsLetThroughAndItsSuccessCloses) {
  Fail(3);
  now_ += absl::Seconds(2);
  EXPECT_TRUE(Admit().ok());
  EXPECT_TRUE(trial_);
  EXPECT_EQ(breaker_.state(), CircuitBreaker::State::kHalfOpen);
  EXPECT_EQ(Admit().code(), absl::StatusCode::kUnavailable) << "one at a time";
  EXPECT_FALSE(trial_);
  breaker_.Success(now_);
  EXPECT_EQ(breaker_.state(), CircuitBreaker::State::kClosed);
  EXPECT_TRUE(Admit().ok());
  EXPECT_FALSE(trial_);
}

TEST_F(CircuitBreakerTest, WaitsDoubleUpToTheLongestAndBeginAnewOnceClosed) {
  Fail(3);
  for (const int seconds : {2, 4, 8, 10, 10}) {
    now_ += absl::Seconds(seconds) - absl::Milliseconds(1);
    EXPECT_FALSE(Admit().ok()) << seconds;
    now_ += absl::Milliseconds(1);
    EXPECT_TRUE(Admit().ok()) << seconds;
    Fail(1);
  }
  now_ += absl::Seconds(10);
  EXPECT_TRUE(Admit().ok());
  breaker_.Success(now_);
  Fail(3);
  now_ += absl::Seconds(2);
  EXPECT_TRUE(Admit().ok());
}

TEST_F(CircuitBreakerTest, WaitsAreJitteredDownToHalf) {
  CircuitBreaker::Options options = Options();
  options.random = [] { return 0.0; };
  breaker_ = CircuitBreaker(options);
  Fail(3);
  now_ += absl::Milliseconds(999);
  EXPECT_FALSE(Admit().ok());
  now_ += absl::Milliseconds(1);
  EXPECT_TRUE(Admit().ok());
}

TEST_F(CircuitBreakerTest, WhatWasSentBeforeItOpenedChangesNothing) {
  const absl::Time before = now_;
  now_ += absl::Seconds(1);
  Fail(3);
  breaker_.Success(before);
  EXPECT_EQ(breaker_.state(), CircuitBreaker::State::kOpen);
  now_ += absl::Seconds(2);
  EXPECT_TRUE(Admit().ok());
  breaker_.Failure(now_, before, kGone);
  EXPECT_EQ(breaker_.state(), CircuitBreaker::State::kHalfOpen) << "the trial is still under way";
}

TEST_F(CircuitBreakerTest, ATrialThatToldNothingMakesRoomForAnother) {
  Fail(3);
  now_ += absl::Seconds(2);
  EXPECT_TRUE(Admit().ok());
  EXPECT_FALSE(Admit().ok());
  breaker_.GiveTrialBack();
  EXPECT_TRUE(Admit().ok());
  EXPECT_TRUE(trial_);
}

TEST_F(CircuitBreakerTest, AServerThatAsksForItIsLeftAloneForSoLongAndNoLonger) {
  breaker_.Wait(now_, absl::Seconds(7), absl::ResourceExhaustedError("HTTP 429"));
  now_ += absl::Seconds(6);
  const absl::Status refused = Admit();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("HTTP 429; asked again in 1s"), std::string::npos) << refused;
  now_ += absl::Seconds(1);
  EXPECT_TRUE(Admit().ok());
  breaker_.Wait(now_, absl::Hours(5), absl::ResourceExhaustedError("HTTP 429"));
  now_ += absl::Seconds(30);
  EXPECT_TRUE(Admit().ok()) << "not longer than is allowed";
}

TEST_F(CircuitBreakerTest, NeverOpensWithZeroFailures) {
  CircuitBreaker::Options options = Options();
  options.failures = 0;
  breaker_ = CircuitBreaker(options);
  Fail(1000);
  EXPECT_TRUE(Admit().ok());
}

}  // namespace
}  // namespace unlearn
