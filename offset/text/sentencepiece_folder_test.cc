// Folders with a SentencePiece model, and damaged models.
#include "offset/text/sentencepiece_folder.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/text/sentencepiece_file.h"
#include "offset/text/sentencepiece_model.h"
#include "offset/text/tokenizer.h"
#include "offset/text/tokenizer_files.h"

namespace unlearn {
namespace {

constexpr const char* kKinds[] = {"llama", "gemma", "t5", "unigram_bytes", "bpe_unknown"};

std::string Model(const std::string& kind) {
  const auto bytes = ReadFile(absl::StrCat("tests/golden/sentencepiece_", kind, ".model"));
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or("");
}

class SentencePieceFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/",
                           testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_TRUE(ShredFolder(folder_).ok());
    ASSERT_TRUE(MakeFolders(folder_).ok());
    Write("tokenizer.model", Model("llama"));
  }

  void Write(const std::string& name, const std::string& contents) {
    ASSERT_TRUE(WriteFileAtomically(JoinPath(folder_, name), contents).ok());
  }

  absl::Status Refusal(const std::string& config) {
    Write("tokenizer_config.json", config);
    return Tokenizer::Load(folder_).status();
  }

  std::string folder_;
};

TEST_F(SentencePieceFolderTest, OpensAFolder) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->TokenToId("<s>"), 1);
  EXPECT_TRUE((*tokenizer)->IsSpecial(1));
  EXPECT_TRUE((*tokenizer)->IsSpecial(*(*tokenizer)->TokenToId("<unk>")));
  EXPECT_EQ((*tokenizer)->TokenBytes(*(*tokenizer)->TokenToId("<0x0A>")), "\n");
  EXPECT_EQ((*tokenizer)->TokenBytes(*(*tokenizer)->TokenToId("\u2581the")), " the");
  // By default the text of a control piece is text, and a BOS stands before.
  const auto plain = (*tokenizer)->Encode("<s>");
  ASSERT_TRUE(plain.ok());
  EXPECT_GT(plain->size(), 1u);
  EXPECT_EQ((*tokenizer)->Encode("the", true)->front(), 1);
  const auto status = (*tokenizer)->Encode("ab\xC3(").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "byte offset 2")) << status;
}

TEST_F(SentencePieceFolderTest, FollowsTheConfiguration) {
  const auto plain = Tokenizer::Load(folder_).value();
  const int size = plain->vocab_size();
  Write("tokenizer_config.json",
        absl::StrCat(R"({"add_bos_token":false,"add_eos_token":true,"eos_token":{"content":"<e>"},
                         "legacy":false,"added_tokens_decoder":{"1":{"content":"<s>","special":true},
                         ")",
                     size + 1, R"(":{"content":"<e>","special":true,"rstrip":true}}})"));
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), size + 2);
  EXPECT_FALSE((*tokenizer)->Contains(size));
  EXPECT_NE((*tokenizer)->fingerprint(), plain->fingerprint());
  std::vector<int32_t> expected = plain->Encode("the").value();
  expected.push_back(1);
  const auto on = plain->EncodeContinuation("the").value();  // legacy is false: no second space
  expected.insert(expected.end(), on.begin(), on.end());
  EXPECT_EQ(*(*tokenizer)->Encode("the<s>the"), expected);
  expected.push_back(size + 1);
  EXPECT_EQ(*(*tokenizer)->Encode("the<s>the", true), expected);
  EXPECT_EQ(*(*tokenizer)->Decode(expected), "thethe");
  EXPECT_EQ(*(*tokenizer)->Decode(expected, false), "the<s>the<e>");
}

TEST_F(SentencePieceFolderTest, AddedTokensOfTheOlderFile) {
  const auto plain = Tokenizer::Load(folder_).value();
  const int32_t id = plain->vocab_size();
  Write("added_tokens.json", absl::StrCat(R"({"<pad>":)", id, "}"));
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::vector<int32_t> expected = plain->Encode("the").value();
  expected.push_back(id);
  const auto again = plain->Encode("the").value();  // legacy by default: as if it stood alone
  expected.insert(expected.end(), again.begin(), again.end());
  EXPECT_EQ(*(*tokenizer)->Encode("the<pad>the"), expected);
}

TEST_F(SentencePieceFolderTest, RefusesWithTheJsonPath) {
  const auto expect = [&](const std::string& config, absl::StatusCode code,
                          const std::string& path) {
    const absl::Status status = Refusal(config);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "tokenizer_config.json")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  expect("[]", invalid, "not a JSON object");
  expect(R"({"bos_token":"<nope>"})", invalid, "$.bos_token");
  expect(R"({"add_eos_token":1})", invalid, "$.add_eos_token");
  expect(R"({"added_tokens_decoder":{"x":{"content":"a"}}})", invalid,
         "$.added_tokens_decoder[\"x\"]");
  expect(R"({"added_tokens_decoder":{"1":{"content":"a"}}})", invalid,
         "$.added_tokens_decoder[\"1\"]");
  expect(R"({"add_prefix_space":false})", absl::StatusCode::kUnimplemented, "$.add_prefix_space");
}

// A table is indexed by id: a short file must not fill the memory.
TEST_F(SentencePieceFolderTest, AddedTokensFarAboveThePiecesAreRefused) {
  const int size = Tokenizer::Load(folder_).value()->vocab_size();
  const auto added = [](int id) {
    return absl::StrCat(R"({"added_tokens_decoder":{")", id, R"(":{"content":"<e>"}}})");
  };
  EXPECT_TRUE(Refusal(added(size + 65536)).ok());
  for (const int id : {size + 65537, 16777215}) {
    const absl::Status status = Refusal(added(id));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("$.added_tokens_decoder[\"", id)))
        << status;
  }
  ASSERT_TRUE(ShredFile(JoinPath(folder_, "tokenizer_config.json")).ok());
  Write("added_tokens.json", R"({"<pad>":16777215})");
  EXPECT_EQ(Tokenizer::Load(folder_).status().code(), absl::StatusCode::kInvalidArgument);
}

// Printing a value for an error recurses.
TEST_F(SentencePieceFolderTest, ConfigurationsNestedTooDeeplyAreRefused) {
  const int depth = 100000;
  const absl::Status status = Refusal(
      absl::StrCat(R"({"bos_token":)", std::string(depth, '['), std::string(depth, ']'), "}"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "inside one another")) << status;
}

TEST_F(SentencePieceFolderTest, CopiesWhatItReads) {
  Write("tokenizer_config.json", R"({"add_bos_token":false})");
  const std::string copy = folder_ + "/copy";
  ASSERT_TRUE(MakeFolders(copy).ok());
  ASSERT_TRUE(CopyTokenizerFiles(folder_ + "/tokenizer.model", copy).ok());
  const auto tokenizer = Tokenizer::Load(copy);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("the", true), *(*tokenizer)->Encode("the"));
}

// Whatever the bytes: an error that names the file, or a model that works.
void ExpectNoHarm(const std::string& bytes) {
  const auto file = ParseSentencePieceFile(bytes, "some.model");
  if (!file.ok()) {
    EXPECT_TRUE(file.status().code() == absl::StatusCode::kInvalidArgument ||
                file.status().code() == absl::StatusCode::kUnimplemented)
        << file.status();
    EXPECT_TRUE(absl::StartsWith(file.status().message(), "some.model: ")) << file.status();
    return;
  }
  const auto model = SentencePieceModel::Create(*file);
  if (!model.ok()) {
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << model.status();
    return;
  }
  std::vector<int32_t> ids;
  const absl::Status encoded = model->Encode(
      "The \uFB01rst \u00E9e\u0301  \u2603 <|user|> kkkk\n\uFF21\U0001F600", false, &ids);
  EXPECT_TRUE(encoded.ok() || absl::IsResourceExhausted(encoded)) << encoded;
  for (const int32_t id : ids) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, static_cast<int32_t>(file->pieces.size()));
  }
}

TEST_F(SentencePieceFolderTest, CutModels) {
  for (const char* kind : kKinds) {
    const std::string bytes = Model(kind);
    ASSERT_GT(bytes.size(), 1000u);
    for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 300) {
      ExpectNoHarm(bytes.substr(0, size));
    }
  }
  Write("tokenizer.model", Model("llama").substr(0, 5000));
  const auto status = Tokenizer::Load(folder_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), folder_ + "/tokenizer.model")) << status;
}

TEST_F(SentencePieceFolderTest, DamagedModels) {
  std::mt19937 random(5);
  for (const char* kind : kKinds) {
    const std::string good = Model(kind);
    for (int trial = 0; trial < 300; ++trial) {
      std::string bytes = good;
      // Half of them near the end, where the settings and the rules are.
      const size_t from = trial % 2 == 0 ? 0 : bytes.size() - std::min<size_t>(bytes.size(), 900);
      for (int i = 1 + random() % 4; i > 0; --i) {
        bytes[from + random() % (bytes.size() - from)] = static_cast<char>(random());
      }
      ExpectNoHarm(bytes);
    }
  }
  for (int trial = 0; trial < 2000; ++trial) {
    std::string bytes(random() % 60, ' ');
    for (char& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() : random() % 32);
    ExpectNoHarm(bytes);
  }
}

}  // namespace
}  // namespace unlearn
