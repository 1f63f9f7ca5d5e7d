#include "offset/base/sha256.h"

#include "gtest/gtest.h"

namespace unlearn {
namespace {

// The examples of FIPS 180-4.
TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PiecesGiveTheDigestOfTheWhole) {
  const std::string bytes = std::string("some\0bytes", 10) + std::string(200, '\xff');
  Sha256 hash;
  for (size_t at = 0; at < bytes.size(); at += 7) hash.Update(bytes.substr(at, 7));
  hash.Update("");
  EXPECT_EQ(hash.HexDigest(), Sha256Hex(bytes));
}

}  // namespace
}  // namespace unlearn
