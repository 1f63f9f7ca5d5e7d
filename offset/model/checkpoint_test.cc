#include "offset/model/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

constexpr char kConfig[] = R"({"model_type":"llama","vocab_size":8,"hidden_size":4,
  "intermediate_size":4,"num_hidden_layers":1,"num_attention_heads":1})";

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = absl::StrCat(testing::TempDir(), "/checkpoint_", getpid(), "_", name);
    ASSERT_TRUE(MakeFolders(folder_).ok());
    Write("config.json", kConfig);
  }
  void TearDown() override { ASSERT_TRUE(ShredFolder(folder_).ok()); }

  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(JoinPath(folder_, name), bytes).ok());
  }

  // A file of U8 vectors by name.
  static std::string Tensors(const std::map<std::string, std::string>& contents) {
    std::map<std::string, TensorView> views;
    for (const auto& [name, bytes] : contents) {
      views[name] = {"U8", {static_cast<int64_t>(bytes.size())}, bytes.data(), bytes.size()};
    }
    return SerializeSafetensors(views, {});
  }

  // Opens and expects failure with the code and a message that holds `part` and the folder.
  void ExpectRefused(absl::StatusCode code, const std::string& part) {
    const absl::Status status = Checkpoint::Open(folder_).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), folder_)) << status;
  }

  std::string folder_;
};

TEST_F(CheckpointTest, KnowsWhetherItsMatricesAreBf16) {
  const std::string bytes(8, '\0');
  const TensorView matrix = {"BF16", {2, 2}, bytes.data(), 8};
  const TensorView wide = {"F32", {2, 1}, bytes.data(), 8};
  const TensorView vector = {"F32", {2}, bytes.data(), 8};
  Write("model.safetensors", SerializeSafetensors({{"a", matrix}, {"b", vector}}, {}));
  EXPECT_TRUE(Checkpoint::Open(folder_).value()->is_bf16());
  Write("model.safetensors", SerializeSafetensors({{"a", matrix}, {"b", wide}}, {}));
  EXPECT_FALSE(Checkpoint::Open(folder_).value()->is_bf16());
}

TEST_F(CheckpointTest, ShardsThatTheIndexNames) {
  Write("model-1.safetensors", Tensors({{"a", "xyz"}}));
  Write("model-2.safetensors", Tensors({{"b", "uvwxyz"}, {"c", "q"}}));
  Write("not-named.safetensors", "damaged");
  Write("model.safetensors.index.json",
        R"({"metadata":{"total_size":10},"weight_map":{"a":"model-1.safetensors",
            "b":"model-2.safetensors","c":"model-2.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(folder_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->config().vocab_size, 8);
  EXPECT_EQ((*checkpoint)->folder(), folder_);
  EXPECT_EQ((*checkpoint)->tokenizer_path(), JoinPath(folder_, "tokenizer.json"));
  Write("tokenizer.model", "");
  EXPECT_EQ((*checkpoint)->tokenizer_path(), JoinPath(folder_, "tokenizer.model"));
  Write("tokenizer.json", "");
  EXPECT_EQ((*checkpoint)->tokenizer_path(), JoinPath(folder_, "tokenizer.json"));
  const auto b = (*checkpoint)->Find("b", {6});
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(std::string(b->data, b->bytes), "uvwxyz");
  EXPECT_TRUE((*checkpoint)->Has("a"));
  EXPECT_FALSE((*checkpoint)->Has("d"));
}

TEST_F(CheckpointTest, MissingTensorAndWrongShapeAreNamed) {
  Write("model.safetensors", Tensors({{"a", "xyz"}}));
  const auto checkpoint = Checkpoint::Open(folder_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const absl::Status missing = (*checkpoint)->Find("lm_head.weight", {3}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(missing.message(), "lm_head.weight")) << missing;
  EXPECT_TRUE(absl::StrContains(missing.message(), folder_)) << missing;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{4}, {3, 1}, {}}) {
    const absl::Status wrong = (*checkpoint)->Find("a", shape).status();
    EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(wrong.message(), "[3]")) << wrong;
  }
}

TEST_F(CheckpointTest, ShardsMustStayInTheFolder) {
  const std::string outside = absl::StrCat(folder_, "_outside.safetensors");
  ASSERT_TRUE(WriteFileAtomically(outside, Tensors({{"a", "xyz"}})).ok());
  const std::string name = outside.substr(outside.rfind('/') + 1);
  for (const std::string& path :
       {absl::StrCat("../", name), outside, std::string("sub/x"), std::string("..")}) {
    Write("model.safetensors.index.json", absl::StrCat(R"({"weight_map":{"a":")", path, R"("}})"));
    EXPECT_EQ(Checkpoint::Open(folder_).status().code(), absl::StatusCode::kInvalidArgument)
        << path;
  }
  unlink(outside.c_str());
}

TEST_F(CheckpointTest, IndexThatIsMalformed) {
  for (const char* index : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":"a"})",
                            R"({"weight_map":{"a":3}})", R"({"weight_map":{"a":null}})"}) {
    Write("model.safetensors.index.json", index);
    ExpectRefused(absl::StatusCode::kInvalidArgument, "weight_map");
  }
  Write("model.safetensors.index.json", R"({"weight_map":{"a":"gone.safetensors"}})");
  ExpectRefused(absl::StatusCode::kNotFound, "gone.safetensors");
}

TEST_F(CheckpointTest, ATensorInTwoShards) {
  Write("1.safetensors", Tensors({{"a", "xyz"}}));
  Write("2.safetensors", Tensors({{"a", "xyz"}, {"b", "q"}}));
  Write("model.safetensors.index.json",
        R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "another shard");
}

TEST_F(CheckpointTest, IncompleteFolders) {
  ExpectRefused(absl::StatusCode::kNotFound, "neither model.safetensors");
  Write("model.safetensors", "damaged");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "model.safetensors");
  Write("config.json", "{}");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "config.json");
  unlink(JoinPath(folder_, "config.json").c_str());
  ExpectRefused(absl::StatusCode::kNotFound, "config.json");
}

TEST_F(CheckpointTest, FingerprintIsOfTheFunctionNotOfTheFiles) {
  Write("model.safetensors", Tensors({{"a", "xyz"}, {"b", "q"}}));
  const std::string whole = (*Checkpoint::Open(folder_))->Fingerprint();
  EXPECT_EQ(whole.size(), 64u);
  unlink(JoinPath(folder_, "model.safetensors").c_str());
  Write("1.safetensors", Tensors({{"b", "q"}}));
  Write("2.safetensors", Tensors({{"a", "xyz"}}));
  Write("model.safetensors.index.json",
        R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})");
  EXPECT_EQ((*Checkpoint::Open(folder_))->Fingerprint(), whole);
  Write("1.safetensors", Tensors({{"b", "r"}}));
  EXPECT_NE((*Checkpoint::Open(folder_))->Fingerprint(), whole);
  Write("1.safetensors", Tensors({{"b", "q"}}));
  std::string config = kConfig;
  config.insert(1, "\"rms_norm_eps\":0.25,");
  Write("config.json", config);
  EXPECT_NE((*Checkpoint::Open(folder_))->Fingerprint(), whole);
}

}  // namespace
}  // namespace unlearn
