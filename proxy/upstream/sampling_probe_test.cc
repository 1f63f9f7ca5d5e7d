#include "proxy/upstream/sampling_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace unlearn {
namespace {

// Of the law of three tokens, the same everywhere.
const std::vector<double> kLaw = {0.6, 0.3, 0.1};

struct Behaviour {
  bool heeds_temperature = true;
  bool ends_at_once = false;  // each text has one token
  bool silent = false;
  bool hides_first = false;  // token 0 comes without its law
  int told = 3;
  absl::Status error;
  int steps = 0;  // counted
};

class FakeSession : public UpstreamSession {
 public:
  explicit FakeSession(Behaviour* behaviour) : behaviour_(behaviour) {}

  void Step(UpstreamStep, Callback done) override {
    ++behaviour_->steps;
    UpstreamLogits logits;
    logits.rows = 1;
    for (const double p : kLaw) logits.logits.push_back(static_cast<float>(std::log(p) + 3));
    done(std::move(logits));
  }

  void Sample(UpstreamSampling sampling, SampleCallback rows) override {
    if (behaviour_->silent) return;
    if (!behaviour_->error.ok()) {
      rows(behaviour_->error);
      return;
    }
    std::vector<double> weights = kLaw;
    for (double& weight : weights) {
      if (behaviour_->heeds_temperature) weight = std::pow(weight, 1 / sampling.temperature);
    }
    static std::mt19937& random = *new std::mt19937(5);
    SampledRows drawn;
    for (int i = 0; i < (behaviour_->ends_at_once ? 1 : sampling.max_tokens); ++i) {
      SampledRow& row = drawn.rows.emplace_back();
      row.id = std::discrete_distribution<int>(weights.begin(), weights.end())(random);
      if (row.id == 0 && behaviour_->hides_first) continue;
      for (int v = 0; v < behaviour_->told; ++v) {
        row.top.ids.push_back(v);
        row.top.logprobs.push_back(std::log(kLaw[v]));
      }
    }
    drawn.ended = true;
    rows(std::move(drawn));
  }

 private:
  Behaviour* const behaviour_;
};

absl::Status Probe(Behaviour& behaviour, absl::Duration limit = absl::Seconds(60)) {
  return ProbeSampling([&] { return std::make_unique<FakeSession>(&behaviour); }, {0}, limit);
}

TEST(SamplingProbeTest, ANeutralServerIsTrusted) {
  Behaviour behaviour;
  EXPECT_EQ(Probe(behaviour), absl::OkStatus());
  EXPECT_EQ(behaviour.steps, 0);
  behaviour.told = 2;
  EXPECT_EQ(Probe(behaviour), absl::OkStatus());
}

TEST(SamplingProbeTest, WhatComesWithoutALawIsAskedFor) {
  Behaviour behaviour;
  behaviour.hides_first = true;
  EXPECT_EQ(Probe(behaviour), absl::OkStatus());
  EXPECT_GT(behaviour.steps, 100);
}

TEST(SamplingProbeTest, AServerThatHeedsNoTemperatureIsNot) {
  Behaviour behaviour;
  behaviour.heeds_temperature = false;
  const absl::Status status = Probe(behaviour);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("temperature 1/4"), std::string::npos) << status;
}

TEST(SamplingProbeTest, TooLittleToJudgeByIsNoTrust) {
  Behaviour ends;
  ends.ends_at_once = true;
  EXPECT_NE(Probe(ends).message().find("too few"), std::string::npos);
  Behaviour silent;
  silent.silent = true;
  EXPECT_NE(Probe(silent, absl::Milliseconds(50)).message().find("too few"), std::string::npos);
  Behaviour broken;
  broken.error = absl::UnavailableError("gone");
  EXPECT_EQ(Probe(broken), broken.error);
}

}  // namespace
}  // namespace unlearn
