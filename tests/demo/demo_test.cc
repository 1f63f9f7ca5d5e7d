// The main job, whole: what `tools/demo --json` runs, with its figures held to the promise.

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tools/harness/child_process.h"

namespace unlearn {
namespace {

class DemoTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
    const auto output = RunAndRead(
        {"tools/demo_runner/demo_runner", "--json", "--unlearn=tools/cli/unlearn",
         "--model_server=proxy/model_server/unlearn_model_server",
         "--proxy=proxy/server/unlearn_proxy", "--trainer=trainer/server/unlearn_trainer",
         "--models=tools/demo_runner/models", "--work=" + testing::TempDir() + "/demo"});
    ASSERT_TRUE(output.ok()) << output.status();
    summary_ = nlohmann::json::parse(*output, nullptr, false);
    ASSERT_TRUE(summary_.is_object()) << *output;
    printf("%s\n", summary_.dump(1).c_str());
  }

  static double Get(const std::string& key) {
    if (!summary_.contains(key) || !summary_[key].is_number()) {
      ADD_FAILURE() << "the summary lacks " << key;
      return -1;
    }
    return summary_[key].get<double>();
  }

  static nlohmann::json summary_;
};

nlohmann::json DemoTest::summary_;

TEST_F(DemoTest, ModelKnowsThePeopleBefore) {
  EXPECT_GE(Get("forget_fact_rate_before"), 0.9);
  EXPECT_GE(Get("retain_fact_rate_before"), 0.9);
  EXPECT_GE(Get("kept_fact_rate_before"), 0.9);
}

TEST_F(DemoTest, ForgottenPeopleAreAsUnknownAsThoseNeverKnown) {
  EXPECT_LE(Get("forget_fact_rate_after"), Get("unknown_fact_rate_after") + 0.05);
}

TEST_F(DemoTest, KeptAndNamedPeopleStay) {
  EXPECT_GE(Get("retain_fact_rate_after"), Get("retain_fact_rate_before") - 0.05);
}

TEST_F(DemoTest, KeptPeopleWhomTheRequestDoesNotNameStay) {
  EXPECT_GE(Get("kept_fact_rate_after"), Get("kept_fact_rate_before") - 0.05);
}

TEST_F(DemoTest, AnswersStayFluent) {
  EXPECT_GE(Get("fluency_after"), 0.95 * Get("fluency_before"));
}

TEST_F(DemoTest, ANewVersionServes) { EXPECT_EQ(Get("offset"), 1); }

}  // namespace
}  // namespace unlearn
