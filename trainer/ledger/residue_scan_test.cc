#include "trainer/ledger/residue_scan.h"

#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class ResidueScanTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/residue_", getpid());
    ASSERT_TRUE(MakeFolders(JoinPath(folder_, "deep/er")).ok());
  }
  void TearDown() override { ASSERT_TRUE(ShredFolder(folder_).ok()); }

  void Put(const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(JoinPath(folder_, "deep/er/file"), bytes).ok());
  }
  std::set<std::string> Forms(const ResidueNeedle& needle) {
    const auto found = FindResidue({folder_}, {needle});
    EXPECT_TRUE(found.ok()) << found.status();
    std::set<std::string> forms;
    for (const Residue& residue : *found) {
      EXPECT_EQ(residue.file, JoinPath(folder_, "deep/er/file"));
      forms.insert(residue.form);
    }
    return forms;
  }

  std::string folder_;
  const std::string text_ = "Zoë \"Q\" Ångström wohnt\nin 🏠 7";
};

TEST_F(ResidueScanTest, NothingInFilesWithoutIt) {
  Put(absl::StrCat("Zoe wohnt in einem Haus. ", absl::Base64Escape("anything else")));
  EXPECT_TRUE(Forms({text_, {1000, 2000, 3000}}).empty());
}

TEST_F(ResidueScanTest, PlainTextAndItsOffset) {
  Put(absl::StrCat(std::string(100000, '\0'), text_, "tail"));
  const auto found = FindResidue({folder_}, {{"something else", {}}, {text_, {}}});
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1);
  EXPECT_EQ((*found)[0].form, "utf-8");
  EXPECT_EQ((*found)[0].offset, 100000);
  EXPECT_EQ((*found)[0].needle, 1);
}

TEST_F(ResidueScanTest, JsonEscapesOfBothCasesAndRawUtf8) {
  for (const std::string& json :
       {std::string("Zo\\u00eb \\\"Q\\\" \\u00c5ngstr\\u00f6m wohnt\\nin \\ud83c\\udfe0 7"),
        std::string("Zo\\u00EB \\\"Q\\\" \\u00C5ngstr\\u00F6m wohnt\\nin \\uD83C\\uDFE0 7"),
        std::string("Zoë \\\"Q\\\" Ångström wohnt\\nin 🏠 7")}) {
    Put(absl::StrCat("{\"question\": \"", json, "\"}"));
    EXPECT_EQ(Forms({text_, {}}), std::set<std::string>{"json"}) << json;
  }
}

TEST_F(ResidueScanTest, Base64AtEveryAlignmentAndWithAnyNeighbours) {
  for (int before = 0; before < 6; ++before) {
    for (int after = 0; after < 4; ++after) {
      for (const char fill : {'\0', '\xff', 'k'}) {
        const std::string whole =
            absl::StrCat(std::string(before, fill), text_, std::string(after, fill));
        Put(absl::StrCat("data:", absl::Base64Escape(whole)));
        EXPECT_EQ(Forms({text_, {}}), std::set<std::string>{"base64"}) << before << " " << after;
        Put(absl::StrCat("data:", absl::WebSafeBase64Escape(whole)));
        EXPECT_EQ(Forms({text_, {}}), std::set<std::string>{"base64"}) << before << " " << after;
      }
    }
  }
}

TEST_F(ResidueScanTest, TokenIdsAsIntegersOfEachKind) {
  const std::vector<int32_t> ids = {7, 151643, 300, 65536};
  const int32_t narrow[] = {7, 151643, 300, 65536};
  const int64_t wide[] = {7, 151643, 300, 65536};
  Put(absl::StrCat("x", std::string(reinterpret_cast<const char*>(narrow), sizeof(narrow)), "y"));
  EXPECT_EQ(Forms({"", ids}), std::set<std::string>{"int32"});
  Put(absl::StrCat("xyz", std::string(reinterpret_cast<const char*>(wide), sizeof(wide))));
  EXPECT_EQ(Forms({"", ids}), std::set<std::string>{"int64"});
  Put(std::string("\x07\xdb\xa0\x09\xac\x02\x80\x80\x04", 9));
  EXPECT_EQ(Forms({"", ids}), std::set<std::string>{"varint"});
}

TEST_F(ResidueScanTest, ShortNeedlesAreRefused) {
  EXPECT_EQ(FindResidue({folder_}, {{"short", {}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindResidue({folder_}, {{"", {1, 2}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindResidue({folder_}, {{"", {}}}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ResidueScanTest, MissingFoldersAreCleanAndLinksAreNotFollowed) {
  Put(text_);
  ASSERT_EQ(
      symlink(JoinPath(folder_, "deep/er/file").c_str(), JoinPath(folder_, "deep/link").c_str()),
      0);
  const auto found = FindResidue({folder_, folder_ + "/missing"}, {{text_, {}}});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->size(), 1);
}

}  // namespace
}  // namespace unlearn
