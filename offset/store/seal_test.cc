#include "offset/store/seal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class SealTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/seal.XXXXXX";
    ASSERT_NE(mkdtemp(&name[0]), nullptr);
    folder_ = name;
  }
  void TearDown() override { EXPECT_TRUE(ShredFolder(folder_).ok()); }
  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }
  // A key file with the given contents and mode.
  std::string KeyFile(const std::string& contents, int mode) {
    const std::string path = Path("key");
    EXPECT_TRUE(WriteFileAtomically(path, contents).ok());
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string folder_;
};

const char kSecret[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

TEST_F(SealTest, OpensWhatItSealed) {
  const SealingKey key = SealingKey::Generate();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16}, size_t{17}, size_t{3} << 20}) {
    const std::string plaintext(size, 'x');
    const std::string sealed = key.Seal(plaintext, "role");
    EXPECT_EQ(sealed.size(), size + 28);
    const auto opened = key.Open(sealed, "role", "f");
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, plaintext);
  }
}

TEST_F(SealTest, SealedBytesDifferEachTimeAndHideThePlaintext) {
  const SealingKey key = SealingKey::Generate();
  const std::string plaintext = "a line that must not be seen";
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string sealed = key.Seal(plaintext, "");
    EXPECT_EQ(sealed.find("must not"), std::string::npos);
    seen.insert(sealed.substr(0, 12));
  }
  EXPECT_EQ(seen.size(), 100);
}

TEST_F(SealTest, EveryChangedBitIsRefused) {
  const SealingKey key = SealingKey::Generate();
  for (const std::string plaintext : {"", "nonce, text and tag"}) {
    const std::string sealed = key.Seal(plaintext, "role");
    for (size_t i = 0; i < sealed.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string changed = sealed;
        changed[i] ^= 1 << bit;
        const auto opened = key.Open(changed, "role", "some/file");
        ASSERT_EQ(opened.status().code(), absl::StatusCode::kDataLoss) << i;
        EXPECT_NE(opened.status().message().find("some/file"), absl::string_view::npos);
      }
    }
    for (size_t size = 0; size < sealed.size(); ++size) {
      ASSERT_EQ(key.Open(sealed.substr(0, size), "role", "f").status().code(),
                absl::StatusCode::kDataLoss);
    }
    EXPECT_EQ(key.Open(sealed + "x", "role", "f").status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(SealTest, WrongKeyOrContextIsRefused) {
  const SealingKey key = SealingKey::Generate();
  const SealingKey other = SealingKey::Generate();
  const std::string sealed = key.Seal("text", "adapter a");
  EXPECT_EQ(other.Open(sealed, "adapter a", "f").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(key.Open(sealed, "adapter b", "f").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(key.Open(sealed, "", "f").status().code(), absl::StatusCode::kDataLoss);
}

// Computed from the RFCs without this code: files stay readable across releases.
TEST_F(SealTest, DerivationIsFixed) {
  const auto key = SealingKey::Load(KeyFile(std::string(kSecret) + "\n", 0600));
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->Mac("message"),
            "bf22d09f7f988bfbbfcdde66d3de111090f287b663d683fe721b42023a412829");
  const std::string sealed = absl::HexStringToBytes(
      "000102030405060708090a0b7526450695ef028f0846e5dd744d5e0761ec5699ebb10938d9");
  const auto opened = key->Open(sealed, "context", "f");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(*opened, "plaintext");
}

TEST_F(SealTest, MacDependsOnKeyAndBytes) {
  const SealingKey key = SealingKey::Generate();
  EXPECT_EQ(key.Mac("a").size(), 64);
  EXPECT_EQ(key.Mac("a"), key.Mac("a"));
  EXPECT_NE(key.Mac("a"), key.Mac("b"));
  EXPECT_NE(key.Mac(""), key.Mac("a"));
  EXPECT_NE(key.Mac("a"), SealingKey::Generate().Mac("a"));
}

TEST_F(SealTest, SavedKeyLoads) {
  const SealingKey key = SealingKey::Generate();
  const mode_t before = umask(0);
  const absl::Status saved = key.Save(Path("new"));
  umask(before);
  ASSERT_TRUE(saved.ok()) << saved;
  struct stat info;
  ASSERT_EQ(stat(Path("new").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600);
  EXPECT_EQ(info.st_size, 65);
  const auto loaded = SealingKey::Load(Path("new"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->Mac("x"), key.Mac("x"));

  EXPECT_EQ(SealingKey::Generate().Save(Path("new")).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(SealingKey::Load(Path("new"))->Mac("x"), key.Mac("x"));
  EXPECT_EQ(key.Save(Path("none/new")).code(), absl::StatusCode::kNotFound);
}

TEST_F(SealTest, KeyFileOpenToOthersIsRefused) {
  for (const int mode : {0640, 0604, 0660, 0610, 0602, 0644}) {
    const auto key = SealingKey::Load(KeyFile(std::string(kSecret) + "\n", mode));
    EXPECT_EQ(key.status().code(), absl::StatusCode::kPermissionDenied) << mode;
    EXPECT_NE(key.status().message().find("chmod 600"), absl::string_view::npos);
  }
  EXPECT_TRUE(SealingKey::Load(KeyFile(std::string(kSecret) + "\n", 0400)).ok());
}

TEST_F(SealTest, MalformedKeyFileIsRefusedWithoutShowingIt) {
  const std::string secret = kSecret;
  std::string not_hex = secret;
  not_hex[40] = 'g';
  for (const std::string& contents :
       {std::string(), std::string("\n"), secret.substr(1) + "\n", secret + "0\n", secret + "\n\n",
        secret + " \n", " " + secret, not_hex + "\n", secret + "\r\n", secret + secret}) {
    const auto key = SealingKey::Load(KeyFile(contents, 0600));
    ASSERT_EQ(key.status().code(), absl::StatusCode::kInvalidArgument) << contents.size();
    EXPECT_EQ(key.status().message().find("0a0b0c"), absl::string_view::npos);
  }
  EXPECT_TRUE(SealingKey::Load(KeyFile(secret, 0600)).ok());  // written without the newline
  EXPECT_EQ(SealingKey::Load(Path("none")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SealingKey::Load(folder_).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SealTest, MovedKeyWorksOn) {
  SealingKey key = SealingKey::Generate();
  const std::string mac = key.Mac("x");
  SealingKey moved(std::move(key));
  EXPECT_EQ(moved.Mac("x"), mac);
  SealingKey assigned = SealingKey::Generate();
  assigned = std::move(moved);
  EXPECT_EQ(assigned.Mac("x"), mac);
}

}  // namespace
}  // namespace unlearn
