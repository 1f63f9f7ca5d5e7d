#include "offset/store/version_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

v1::Manifest Listing(const std::vector<std::string>& requests, double alpha = 1) {
  v1::Manifest manifest;
  manifest.set_version(3);
  manifest.set_alpha(alpha);
  manifest.set_combiner("delta");
  for (const std::string& request_id : requests) manifest.add_request_ids(request_id);
  return manifest;
}

TEST(RequestsLostTest, IsTheDifferenceInOrder) {
  EXPECT_THAT(RequestsLost(Listing({}), Listing({})), IsEmpty());
  EXPECT_THAT(RequestsLost(Listing({}), Listing({"a"})), IsEmpty());
  EXPECT_THAT(RequestsLost(Listing({"a", "b"}), Listing({"b", "a", "c"})), IsEmpty());
  EXPECT_THAT(RequestsLost(Listing({"c", "a", "b"}), Listing({"a"})), ElementsAre("c", "b"));
  EXPECT_THAT(RequestsLost(Listing({"a"}), Listing({})), ElementsAre("a"));
  EXPECT_THAT(RequestsLost(std::vector<std::string>{"b", "b"}, Listing({})), ElementsAre("b"));
  EXPECT_THAT(RequestsLost(Listing({"a"}), Listing({"A", "aa"})), ElementsAre("a"));
}

TEST(RequestsLostTest, NothingIsEnforcedAtAlphaZero) {
  EXPECT_THAT(RequestsLost(Listing({"a"}), Listing({"a"}, 0)), ElementsAre("a"));
  EXPECT_THAT(RequestsLost(Listing({"a"}, 0), Listing({}, 1)), IsEmpty());
  EXPECT_THAT(RequestsLost(Listing({"a"}), Listing({"a"}, std::nan(""))), ElementsAre("a"));
  EXPECT_THAT(RequestsLost(Listing({"a"}), Listing({"a"}, 1e-6)), IsEmpty());
}

TEST(CheckNothingUnforgottenTest, NamesTheRequestsAndTheFlag) {
  EXPECT_TRUE(CheckNothingUnforgotten("x", {}, {}).ok());
  EXPECT_TRUE(CheckNothingUnforgotten("x", {"a", "b"}, {"b", "c", "a"}).ok());
  const absl::Status status = CheckNothingUnforgotten("pinning version 3", {"a", "b"}, {"b"});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pinning version 3"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--reintroduce a "));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("--reintroduce b")));
}

TEST(RequestIdTest, CannotLeaveTheFolder) {
  for (const char* good : {"a", "0191f3c4-7b2e-7000", "A_b.c-1"})
    EXPECT_TRUE(IsValidRequestId(good));
  for (const char* bad : {"", ".", "..", ".a", "a/b", "../a", "a b", "a\n", "\xc3\xa9", "a:b"}) {
    EXPECT_FALSE(IsValidRequestId(bad)) << bad;
  }
  EXPECT_TRUE(IsValidRequestId(std::string(128, 'a')));
  EXPECT_FALSE(IsValidRequestId(std::string(129, 'a')));
  EXPECT_FALSE(IsValidRequestId(absl::string_view("a\0b", 3)));
}

v1::Manifest WithAdapter() {
  v1::Manifest manifest = Listing({"a", "b"});
  v1::AdapterFile* adapter = manifest.add_adapters();
  adapter->set_file("adapter-a.sealed");
  adapter->set_sha256(std::string(64, 'a'));
  adapter->set_request_id("a");
  adapter->set_rank(4);
  return manifest;
}

TEST(CheckManifestTest, TakesGoodOnes) {
  EXPECT_TRUE(CheckManifest(WithAdapter()).ok()) << CheckManifest(WithAdapter());
  EXPECT_TRUE(CheckManifest(Listing({}, 0)).ok());
}

TEST(CheckManifestTest, RefusesEachBadFieldByName) {
  using Change = std::function<void(v1::Manifest*)>;
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::string, Change>> cases = {
      {"alpha", [](v1::Manifest* m) { m->set_alpha(std::nan("")); }},
      {"alpha", [=](v1::Manifest* m) { m->set_alpha(infinity); }},
      {"alpha", [](v1::Manifest* m) { m->set_alpha(-0.1); }},
      {"combiner", [](v1::Manifest* m) { m->set_combiner("other"); }},
      {"combiner", [](v1::Manifest* m) { m->clear_combiner(); }},
      {"vocab_size", [](v1::Manifest* m) { m->set_vocab_size(-1); }},
      {"request_ids[2]", [](v1::Manifest* m) { m->add_request_ids("../x"); }},
      {"request_ids[2]", [](v1::Manifest* m) { m->add_request_ids("a"); }},
      {"adapters[0].request_id",
       [](v1::Manifest* m) { m->mutable_adapters(0)->set_request_id("c"); }},
      {"adapters[1]", [](v1::Manifest* m) { *m->add_adapters() = m->adapters(0); }},
      {"adapters[0].file", [](v1::Manifest* m) { m->mutable_adapters(0)->set_file("../x"); }},
      {"adapters[0].sha256", [](v1::Manifest* m) { m->mutable_adapters(0)->set_sha256("aa"); }},
      {"adapters[0].sha256",
       [](v1::Manifest* m) { m->mutable_adapters(0)->set_sha256(std::string(64, 'G')); }},
      {"adapters[0].rank", [](v1::Manifest* m) { m->mutable_adapters(0)->set_rank(0); }},
  };
  for (const auto& [field, change] : cases) {
    v1::Manifest manifest = WithAdapter();
    change(&manifest);
    const absl::Status status = CheckManifest(manifest);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

}  // namespace
}  // namespace unlearn
