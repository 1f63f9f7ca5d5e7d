#include "tools/bench_runner/upstream_bench.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "offset/base/file.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/bench_runner/wire_bench.h"

namespace unlearn {
namespace {

std::string Runfile(const std::string& path) {
  return JoinPath(JoinPath(getenv("TEST_SRCDIR"), getenv("TEST_WORKSPACE")), path);
}

double Ratio(const BenchResult& result) { return result.ratios.at(0).value.median; }

TEST(UpstreamBenchTest, StreamsRunWithAndWithoutTheProxy) {
  UpstreamBenchOptions options;
  options.compare.rounds = 1;
  options.compare.least = absl::ZeroDuration();
  options.unlearn = Runfile("tools/cli/unlearn");
  options.proxy = Runfile("proxy/server/unlearn_proxy");
  options.work = JoinPath(::testing::TempDir(), "upstream");
  options.base = DemoBase().config;
  options.model.call = absl::Milliseconds(2);
  options.model.position = absl::Microseconds(50);
  options.tokens = 10;
  options.lockstep_streams = {1, 3};
  options.draft_streams = {2};
  std::vector<BenchResult> results;
  const absl::Status status =
      RunUpstreamBench(options, [&](const BenchResult& result) { results.push_back(result); });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(results.size(), 3);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(results[i].sizes["streams"], options.lockstep_streams[i]);
    EXPECT_EQ(results[i].figures.at(0).name, "bare");
    EXPECT_EQ(results[i].figures.at(1).name, "lockstep");
    EXPECT_GT(Ratio(results[i]), 0);
    // A stream's steps follow each other: no way is faster than M.
    const double most = results[i].sizes["streams"].get<double>() / 0.002;
    EXPECT_LT(results[i].figures[0].value.median, most);
    EXPECT_LT(results[i].figures[1].value.median, most);
  }
  // Noise was chosen for 0.75, over more positions than these.
  const double agreement = results[2].sizes["draft_agreement"].get<double>();
  EXPECT_GT(agreement, 0.35);
  EXPECT_LT(agreement, 1);
}

TEST(UpstreamBenchTest, AStepOverTheWireIsTheSameStep) {
  WireBenchOptions options;
  options.rounds = 1;
  options.steps = 3;
  options.vocabulary = 5000;
  std::vector<BenchResult> results;
  const absl::Status status =
      RunWireBench(options, [&](const BenchResult& result) { results.push_back(result); });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(results.size(), 5);
  for (const BenchResult& result : results) {
    EXPECT_EQ(result.figures.size(), 4);
    EXPECT_GT(result.figures[0].value.median, 0);
  }
}

}  // namespace
}  // namespace unlearn
