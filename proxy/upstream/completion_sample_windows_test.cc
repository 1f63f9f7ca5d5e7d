// Of servers that answer with windows of tokens.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/completion_sample.h"
#include "proxy/upstream/testing/sample_setting.h"

namespace unlearn {
namespace {

TEST(CompletionSampleWindowsTest, WindowsGrowAndGoOnWhereTheLastEnded) {
  Setting setting(false, [](const json& body, Reply& reply) {
    std::vector<int> ids;
    for (int i = 0; i < body["n_predict"]; ++i) {
      ids.push_back((body["prompt"].back().get<int>() + i + 1) % kVocabulary);
    }
    reply.SendJson(200, Window(ids, static_cast<int>(body["prompt"].size())));
  });
  Told told;
  setting.Sample(told, 70);
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  std::string expected;
  for (int i = 0; i < 70; ++i) absl::StrAppend(&expected, (3 + i) % kVocabulary, " ");
  EXPECT_EQ(told.text(), expected + ".");
  std::vector<int> windows, prompts;
  for (const auto& request : setting.http.requests()) {
    windows.push_back(Body(request)["n_predict"]);
    prompts.push_back(static_cast<int>(Body(request)["prompt"].size()));
  }
  EXPECT_EQ(windows, std::vector<int>({4, 8, 16, 32, 10}));
  EXPECT_EQ(prompts, std::vector<int>({2, 6, 14, 30, 62}));
}

TEST(CompletionSampleWindowsTest, ALostRowIsEmptyAndTheEndTokenIsTold) {
  Setting setting(false, [](const json& body, Reply& reply) {
    reply.SendJson(
        200, body["prompt"].size() == 2 ? Window({3, -4, 5, -6}, 2) : Window({7, 0}, 6, "eos"));
  });
  Told told;
  setting.Sample(told, 50);
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(told.text(), "3 (4) 5 (6) 7 0 .");
}

TEST(CompletionSampleWindowsTest, AFullContextIsTheEnd) {
  Setting setting(false, [](const json&, Reply& reply) { reply.SendJson(200, Window({3, 4}, 2)); });
  Told told;
  setting.Sample(told, 50);
  EXPECT_EQ(told.WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(told.text(), "3 4 .");
}

TEST(CompletionSampleWindowsTest, WindowsThatAreWrong) {
  json miscounted = json::parse(Window({3, 4, 5, 6}, 2));
  miscounted["tokens_predicted"] = 5;
  const std::pair<std::string, std::string> cases[] = {
      {Window({3, 4, 5, 6}, 3), "3 tokens where 2 were sent"},
      {miscounted.dump(), "5 tokens and told 4"},
      {Window({3, 4, 5, 6, 7}, 2), "more tokens"},
      {Window({3, 4, 5, -kVocabulary}, 2), "vocabulary of 10"},
      {Window({3, 4, 5, kVocabulary}, 2), "vocabulary of 10"},
      {Window({3, 4, 5, 6}, 2, "word"), "llama.cpp"},
      {"half of", "llama.cpp"},
  };
  for (const auto& [answer, message] : cases) {
    Setting setting(false,
                    [&answer = answer](const json&, Reply& reply) { reply.SendJson(200, answer); });
    Told told;
    setting.Sample(told, 50);
    const absl::Status status = told.WaitForEnd();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_NE(status.message().find(message), std::string::npos) << status;
    EXPECT_EQ(told.text(), "");
  }
}

}  // namespace
}  // namespace unlearn
