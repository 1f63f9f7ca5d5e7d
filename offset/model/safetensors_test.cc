#include "offset/model/safetensors.h"

#include <unistd.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

// A file with this header and this many bytes of data.
std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  memcpy(&file[0], &length, 8);
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>('a' + i % 26);
  return file;
}

void ExpectRefused(const std::string& bytes, const std::string& why) {
  const absl::Status status = SafetensorsFile::FromBytes(bytes, "some/file").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << why << ": " << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "some/file")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), why)) << why << ": " << status;
}

struct Stored {
  std::string weights = std::string(24, 'w');
  std::string bias = std::string("\x01\x02\x03\x04", 4);
  std::map<std::string, TensorView> tensors = {
      {"weights", {"F32", {2, 3}, weights.data(), weights.size()}},
      {"bias", {"BF16", {2}, bias.data(), bias.size()}},
      {"empty", {"F32", {0, 5}, "", 0}},
      {"scalar", {"F32", {}, bias.data(), 4}}};
};

void ExpectStored(const SafetensorsFile& file, const Stored& stored) {
  ASSERT_EQ(file.tensors().size(), stored.tensors.size());
  for (const auto& [name, view] : stored.tensors) {
    const TensorView& read = file.tensors().at(name);
    EXPECT_EQ(read.dtype, view.dtype);
    EXPECT_EQ(read.shape, view.shape);
    ASSERT_EQ(read.bytes, view.bytes);
    EXPECT_EQ(std::string(read.data, read.bytes), std::string(view.data, view.bytes));
  }
}

TEST(SafetensorsTest, RoundTripThroughMemoryAndFile) {
  const Stored stored;
  const std::string bytes = SerializeSafetensors(stored.tensors, {{"format", "pt"}, {"a", "\"ü"}});
  const auto memory = SafetensorsFile::FromBytes(bytes, "memory");
  ASSERT_TRUE(memory.ok()) << memory.status();
  ExpectStored(**memory, stored);
  const std::string path = absl::StrCat(testing::TempDir(), "/round_", getpid(), ".safetensors");
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  const auto mapped = SafetensorsFile::Open(path);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  ExpectStored(**mapped, stored);
  EXPECT_EQ((*mapped)->metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"a", "\"ü"}}));
  EXPECT_EQ((*mapped)->path(), path);
  uint64_t header;
  memcpy(&header, bytes.data(), 8);
  EXPECT_EQ((8 + header) % 64, 0u);
  unlink(path.c_str());
}

TEST(SafetensorsTest, NoTensorsAtAll) {
  const auto file = SafetensorsFile::FromBytes(SerializeSafetensors({}, {}), "empty");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->tensors().empty());
}

TEST(SafetensorsTest, EveryTruncationAndEveryExcessIsRefused) {
  const std::string bytes = SerializeSafetensors(Stored().tensors, {});
  // Length, header and data alike.
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(SafetensorsFile::FromBytes(bytes.substr(0, size), "cut").status().code(),
              absl::StatusCode::kInvalidArgument)
        << size;
  }
  ExpectRefused(bytes + "x", "follow the last tensor");
  ExpectRefused("", "0 bytes");
}

TEST(SafetensorsTest, TruncatedFilesOnDiskAreRefused) {
  const std::string path = absl::StrCat(testing::TempDir(), "/cut_", getpid(), ".safetensors");
  const std::string bytes = SerializeSafetensors(Stored().tensors, {});
  for (const size_t size : {size_t{0}, size_t{7}, size_t{8}, size_t{60}, bytes.size() - 1}) {
    ASSERT_TRUE(WriteFileAtomically(path, bytes.substr(0, size)).ok());
    const absl::Status status = SafetensorsFile::Open(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
  }
  unlink(path.c_str());
  EXPECT_EQ(SafetensorsFile::Open(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(testing::TempDir()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SafetensorsTest, HeaderLengthBeyondTheFile) {
  std::string bytes = File("{}", 0);
  for (const uint64_t length : {uint64_t{3}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    memcpy(&bytes[0], &length, 8);
    ExpectRefused(bytes, "header length");
  }
}

TEST(SafetensorsTest, HeaderThatIsNoObject) {
  for (const char* header : {"", "[]", "null", "3", "{\"a\":", "{} {}", "{\"a\":{}}x", "\xff{}"}) {
    ExpectRefused(File(header, 0), "");
  }
  ExpectRefused(File("[]", 0), "no JSON object");
  ExpectRefused(File(R"({"a":3})", 0), "$.a is no object");
  ExpectRefused(File(R"({"a":null})", 0), "$.a is no object");
  ExpectRefused(File(R"({"__metadata__":[]})", 0), "__metadata__");
  ExpectRefused(File(R"({"__metadata__":{"rank":3}})", 0), "__metadata__");
}

std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return absl::StrCat(R"({"a":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)",
                      offsets, "}}");
}

TEST(SafetensorsTest, MalformedEntries) {
  ASSERT_TRUE(SafetensorsFile::FromBytes(File(One("\"F32\"", "[2]", "[0,8]"), 8), "good").ok());
  ExpectRefused(File(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "lacks");
  ExpectRefused(File(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "lacks");
  ExpectRefused(File(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "lacks");
  ExpectRefused(File(One("3", "[2]", "[0,8]"), 8), "lacks");
  ExpectRefused(File(One("\"F32\"", "2", "[0,8]"), 8), "lacks");
  for (const char* offsets : {"8", "[8]", "[0,8,8]", "[0,-8]", "[0.0,8.0]", "[\"0\",8]", "[]"}) {
    ExpectRefused(File(One("\"F32\"", "[2]", offsets), 8), "lacks");
  }
  ExpectRefused(File(One("\"F31\"", "[2]", "[0,8]"), 8), "F31");
  for (const char* shape : {"[-2]", "[2.0]", "[\"2\"]", "[null]", "[[2]]"}) {
    ExpectRefused(File(One("\"F32\"", shape, "[0,8]"), 8), "shape");
  }
}

TEST(SafetensorsTest, SizesThatDoNotFit) {
  ExpectRefused(File(One("\"F32\"", "[3]", "[0,8]"), 8), "8 bytes where its shape needs 12");
  ExpectRefused(File(One("\"F32\"", "[1]", "[0,8]"), 8), "8 bytes where its shape needs 4");
  ExpectRefused(File(One("\"F16\"", "[2]", "[0,8]"), 8), "8 bytes where its shape needs 4");
  ExpectRefused(File(One("\"F32\"", "[2]", "[8,0]"), 8), "lie outside");
  ExpectRefused(File(One("\"F32\"", "[2]", "[4,12]"), 8), "lie outside");
  ExpectRefused(File(One("\"F32\"", "[2]", "[0,8]"), 7), "lie outside");
  ExpectRefused(File(One("\"F32\"", "[2]", "[18446744073709551608,18446744073709551615]"), 8),
                "lie outside");
}

TEST(SafetensorsTest, ShapesThatOverflow) {
  // Each product is a multiple of 2^64 or beyond: 0 bytes if it wrapped around.
  for (const char* shape :
       {"[4611686018427387904]", "[9223372036854775808]", "[4294967296,4294967296]",
        "[65536,65536,65536,65536]", "[18446744073709551615]", "[0,18446744073709551615]"}) {
    ExpectRefused(File(One("\"F32\"", shape, "[0,0]"), 0), "overflows");
  }
}

std::string Two(const std::string& first, const std::string& second) {
  return absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                      R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}");
}

TEST(SafetensorsTest, OverlapsAndHoles) {
  ASSERT_TRUE(SafetensorsFile::FromBytes(File(Two("[4,8]", "[0,4]"), 8), "good").ok());
  ExpectRefused(File(Two("[0,4]", "[0,4]"), 4), "overlap");
  ExpectRefused(File(Two("[0,4]", "[2,6]"), 6), "overlap");
  ExpectRefused(File(Two("[0,4]", "[5,9]"), 9), "hole");
  ExpectRefused(File(Two("[1,5]", "[5,9]"), 9), "hole");
  ExpectRefused(File(Two("[0,4]", "[4,8]"), 9), "follow the last tensor");
}

TEST(SafetensorsTest, NamesThatStandTwice) {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  ExpectRefused(File(absl::StrCat("{", a, ",", a, "}"), 4), "twice");
  const std::string other = R"("a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]})";
  ExpectRefused(File(absl::StrCat("{", a, ",", other, "}"), 4), "twice");
  ExpectRefused(File(R"({"__metadata__":{"rank":"1","rank":"2"}})", 0), "twice");
}

}  // namespace
}  // namespace unlearn
