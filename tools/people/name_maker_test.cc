#include "tools/people/name_maker.h"

#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tools/people/fact_kinds.h"

namespace unlearn {
namespace {

TEST(NameMakerTest, LastNamesAreUniqueAndNoneHoldsAnother) {
  NameMaker maker(3);
  std::vector<std::string> last_names;
  std::set<std::string> first_names;
  for (int i = 0; i < 2000; ++i) {
    const auto name = maker.Next();
    ASSERT_TRUE(name.ok()) << name.status();
    const std::vector<std::string> words = absl::StrSplit(*name, ' ');
    ASSERT_EQ(words.size(), 2);
    first_names.insert(words[0]);
    last_names.push_back(absl::AsciiStrToLower(words[1]));
  }
  EXPECT_GT(first_names.size(), 50);
  EXPECT_LT(first_names.size(), 100);
  for (size_t a = 0; a < last_names.size(); ++a) {
    for (size_t b = 0; b < last_names.size(); ++b) {
      if (a != b) {
        ASSERT_FALSE(absl::StrContains(last_names[a], last_names[b]))
            << last_names[a] << " " << last_names[b];
      }
    }
  }
}

TEST(NameMakerTest, NamesHoldNoValue) {
  NameMaker maker(4);
  for (int i = 0; i < 2000; ++i) {
    const std::string name = absl::AsciiStrToLower(maker.Next().value());
    for (const FactKind& kind : FactKinds()) {
      for (const std::string& value : kind.values) {
        ASSERT_FALSE(absl::StrContains(name, absl::AsciiStrToLower(value))) << name;
      }
    }
  }
}

TEST(NameMakerTest, SeedsGiveDifferentNames) {
  NameMaker a(1), b(1), c(2);
  std::vector<std::string> names_a, names_b, names_c;
  for (int i = 0; i < 10; ++i) {
    names_a.push_back(a.Next().value());
    names_b.push_back(b.Next().value());
    names_c.push_back(c.Next().value());
  }
  EXPECT_EQ(names_a, names_b);
  EXPECT_NE(names_a, names_c);
}

TEST(NameMakerTest, SaysWhenNamesRunOut) {
  NameMaker maker(5);
  absl::Status status;
  for (int i = 0; i < 40 * 12 * 40 + 1 && status.ok(); ++i) status = maker.Next().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

}  // namespace
}  // namespace unlearn
