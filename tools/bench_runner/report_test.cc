#include "tools/bench_runner/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

using testing::HasSubstr;

BenchResult Example() {
  BenchResult result;
  result.bench = "pair";
  result.sizes = {{"model", "tiny"}, {"parameters", 1234}, {"streams", 4}};
  result.unit = "ms";
  result.figures = {{"single", {2, 1.5, 2.5}}, {"pair", {3, 2.5, 3.5}}};
  result.ratios = {{"pair / single", {1.5, 1.25, 1.75}}};
  return result;
}

TEST(ReportTest, JsonHoldsSizesFiguresAndRatios) {
  const nlohmann::ordered_json json = ToJson(Example());
  EXPECT_EQ(json["bench"], "pair");
  EXPECT_EQ(json["unit"], "ms");
  EXPECT_EQ(json["sizes"]["parameters"], 1234);
  EXPECT_EQ(json["figures"]["pair"]["median"], 3.0);
  EXPECT_EQ(json["figures"]["single"]["quartiles"][1], 2.5);
  EXPECT_EQ(json["ratios"]["pair / single"]["median"], 1.5);
  EXPECT_EQ(json["ratios"]["pair / single"]["quartiles"][0], 1.25);
  EXPECT_EQ(json["figures"].size(), 2);
  EXPECT_EQ(json["ratios"].size(), 1);
}

TEST(ReportTest, TextNamesSizesAndEveryFigure) {
  const std::string text = ToText(Example());
  EXPECT_THAT(text, HasSubstr("pair: model tiny, parameters 1234, streams 4\n"));
  EXPECT_THAT(text, HasSubstr("3 ms"));
  EXPECT_THAT(text, HasSubstr("(2.5 to 3.5)"));
  EXPECT_THAT(text, HasSubstr("pair / single"));
  EXPECT_THAT(text, HasSubstr("(1.25 to 1.75)"));
}

TEST(ReportTest, MachineIsDescribed) {
  const nlohmann::ordered_json machine = DescribeMachine();
  EXPECT_GE(machine["cores"].get<int>(), 1);
  EXPECT_GE(machine["load_1_minute"].get<double>(), 0);
  EXPECT_NE(machine["processor"].get<std::string>(), "");
}

}  // namespace
}  // namespace unlearn
