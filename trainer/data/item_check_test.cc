#include "trainer/data/item_check.h"

#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

v1::SubmitRequest Good() {
  v1::SubmitRequest request;
  request.add_forget()->set_question("Who?");
  request.mutable_forget(0)->set_answer("Jane Roe");
  request.add_forget()->set_text("plain");
  request.add_retain()->set_question("What?");
  return request;
}

std::string ErrorOf(const std::function<void(v1::SubmitRequest&)>& change,
                    const SubmitLimits& limits = {}) {
  v1::SubmitRequest request = Good();
  change(request);
  const absl::Status status = CheckSubmitRequest(request, limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(absl::StrContains(status.message(), "Roe"));
  return std::string(status.message());
}

TEST(ItemCheckTest, AcceptsGoodRequests) {
  EXPECT_TRUE(CheckSubmitRequest(Good()).ok()) << CheckSubmitRequest(Good());
  v1::SubmitRequest request = Good();
  request.clear_retain();
  request.mutable_settings()->set_objective("npo");
  request.mutable_settings()->set_steps(100);
  request.mutable_settings()->set_learning_rate(1e-3);
  request.set_name("Ticket Nr. 12 für März");
  EXPECT_TRUE(CheckSubmitRequest(request).ok());
}

TEST(ItemCheckTest, NamesTheIndexAndTheField) {
  EXPECT_TRUE(absl::StrContains(ErrorOf([](auto& r) { r.clear_forget(); }), "'forget' is empty"));
  EXPECT_TRUE(absl::StartsWith(ErrorOf([](auto& r) { r.mutable_forget(1)->clear_text(); }),
                               "forget[1]: has neither"));
  EXPECT_TRUE(absl::StartsWith(ErrorOf([](auto& r) { r.mutable_forget(1)->set_value("\xff"); }),
                               "forget[1]: field 'value' (1 bytes) is not UTF-8"));
  EXPECT_TRUE(
      absl::StartsWith(ErrorOf([](auto& r) { r.mutable_retain(0)->add_perturbed_answer("\xc3"); }),
                       "retain[0]: field 'perturbed_answer[0]'"));
  EXPECT_TRUE(absl::StartsWith(ErrorOf([](auto& r) { r.mutable_forget(0)->set_text("t"); }),
                               "forget[0]: field 'text'"));
  EXPECT_TRUE(absl::StartsWith(ErrorOf([](auto& r) { r.mutable_forget(1)->set_answer("a"); }),
                               "forget[1]: field 'answer' needs"));
  EXPECT_TRUE(
      absl::StartsWith(ErrorOf([](auto& r) { r.mutable_forget(1)->add_perturbed_answer("a"); }),
                       "forget[1]: field 'perturbed_answer' needs"));
}

TEST(ItemCheckTest, InvalidUtf8IsFoundWherever) {
  for (const std::string& bytes :
       {std::string("\xed\xa0\x80"), std::string("\xc0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("a\x80"), std::string("\xe2\x82")}) {
    ErrorOf([&](auto& r) { r.mutable_forget(0)->set_question("Q" + bytes); });
  }
  v1::SubmitRequest request = Good();
  request.mutable_forget(0)->set_question(std::string("nul \0 and 🏠", 14));
  EXPECT_TRUE(CheckSubmitRequest(request).ok());
}

TEST(ItemCheckTest, Limits) {
  SubmitLimits limits;
  limits.max_items = 2;
  EXPECT_TRUE(absl::StrContains(ErrorOf([](auto&) {}, limits), "3 items"));
  limits = SubmitLimits();
  limits.max_field_bytes = 7;
  EXPECT_TRUE(absl::StartsWith(ErrorOf([](auto&) {}, limits), "forget[0]: field 'answer' has 8"));
  limits = SubmitLimits();
  limits.max_total_bytes = 10;
  EXPECT_TRUE(absl::StrContains(ErrorOf([](auto&) {}, limits), "the request has"));
}

TEST(ItemCheckTest, LabelsAndSettings) {
  EXPECT_TRUE(
      absl::StrContains(ErrorOf([](auto& r) { r.set_name(std::string(201, 'n')); }), "'name'"));
  EXPECT_TRUE(absl::StrContains(ErrorOf([](auto& r) { r.set_name("a\nb"); }), "'name'"));
  EXPECT_TRUE(absl::StrContains(ErrorOf([](auto& r) { r.set_idempotency_key("\xff"); }),
                                "'idempotency_key'"));
  const auto settings = [](const std::function<void(v1::TrainingSettings&)>& change) {
    return ErrorOf([&](auto& r) { change(*r.mutable_settings()); });
  };
  EXPECT_TRUE(absl::StrContains(settings([](auto& s) { s.set_objective("magic"); }),
                                "'settings.objective'"));
  EXPECT_TRUE(absl::StrContains(settings([](auto& s) { s.set_steps(-1); }), "'settings.steps'"));
  for (const double rate : {-1.0, 2.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(absl::StrContains(settings([&](auto& s) { s.set_learning_rate(rate); }),
                                  "'settings.learning_rate'"));
  }
}

}  // namespace
}  // namespace unlearn
