#include "tools/demo_runner/tofu_report.h"

#include <gtest/gtest.h>

namespace unlearn {
namespace {

TofuSetScores Set(std::vector<double> values, std::vector<double> ratios) {
  return {values, values, std::move(ratios)};
}

TofuModelScores Model(std::vector<double> forget_ratios) {
  TofuModelScores model;
  model.forget = Set(std::vector<double>(forget_ratios.size(), 0.5), forget_ratios);
  model.named = Set({1, 1, 1}, {0, 0, 0});
  model.unnamed = Set({0}, {1});
  model.real_authors = Set({0.5}, {0.5});
  model.world_facts = Set({0.25}, {0.75});
  return model;
}

TEST(TofuReportTest, MeansUtilityAndForgetQuality) {
  const auto figures = TofuFigures({{"m", Model({0.1, 0.2, 0.25, 0.5})},
                                    {"ensemble", Model({1, 2, 3, 4})},
                                    {"retain_model", Model({1, 2, 3, 4})}});
  ASSERT_TRUE(figures.ok()) << figures.status();
  const auto& m = (*figures)["models"]["m"];
  EXPECT_EQ(m["forget"]["n"], 4);
  EXPECT_NEAR(m["forget"]["truth_ratio"].get<double>(), 1.05 / 4, 1e-12);
  EXPECT_NEAR((*figures)["models"]["ensemble"]["forget"]["truth_ratio"].get<double>(),
              (1 + 0.5 + 1.0 / 3 + 0.25) / 4, 1e-12);
  // Retain pools the items of both groups, not the groups' means: 3 of 4 here.
  EXPECT_NEAR(m["model_utility"].get<double>(), 9 / (3 / 0.75 + 3 / 0.5 + 3 / 0.25), 1e-12);
  EXPECT_EQ((*figures)["ks"]["m"]["statistic"], 1.0);
  EXPECT_NEAR((*figures)["ks"]["m"]["p"].get<double>(), 2.0 / 70, 1e-12);  // 2 / C(8, 4)
  EXPECT_EQ((*figures)["ks"]["ensemble"]["statistic"], 0.0);
  EXPECT_EQ((*figures)["ks"]["ensemble"]["p"], 1.0);
}

TEST(TofuReportTest, TableShowsModelsSideBySideAndADashForNone) {
  auto figures = TofuFigures({{"m", Model({0.1})}, {"retain_model", Model({2})}});
  ASSERT_TRUE(figures.ok()) << figures.status();
  const std::string table = TofuTable(*figures);
  EXPECT_NE(table.find("kept and not named"), std::string::npos);
  EXPECT_NE(table.find("     0.100          -      0.500\n"), std::string::npos) << table;
}

TEST(TofuReportTest, WithoutTheRetainModelNothingCanBeSaid) {
  EXPECT_FALSE(TofuFigures({{"m", Model({1})}}).ok());
}

}  // namespace
}  // namespace unlearn
