#include "offset/model/lora.h"

#include "absl/strings/match.h"
#include "offset/model/decoder_vectors.h"

namespace unlearn {
namespace {

std::unique_ptr<SafetensorsFile> Bytes(const std::string& bytes) {
  return SafetensorsFile::FromBytes(bytes, "an adapter").value();
}

// An adapter whose B is not zero.
LoraAdapter Trained(const ModelConfig& config, LoraConfig lora, uint64_t seed) {
  LoraAdapter adapter = LoraAdapter::Init(config, lora, seed);
  at::manual_seed(seed);
  for (auto& [name, tensor] : adapter.tensors()) {
    if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * 0.1;
  }
  return adapter;
}

class LoraTest : public testing::Test {
 protected:
  at::Tensor Logits(const std::vector<const LoraAdapter*>& adapters) {
    return vectors_.decoder->Logits(
        vectors_.decoder->Forward(vectors_.tokens, FuseAdapters(config(), adapters)));
  }
  const ModelConfig& config() const { return vectors_.decoder->config(); }

  const DecoderVectors vectors_{"wide_heads_llama3_new"};
};

TEST_F(LoraTest, InitHasZeroBAndRandomAOfTheSeed) {
  const LoraAdapter adapter = LoraAdapter::Init(config(), {4, 8}, 5);
  EXPECT_EQ(adapter.tensors().size(), 2u * 7 * 2);
  for (const auto& [name, tensor] : adapter.tensors()) {
    if (absl::StrContains(name, "lora_B")) {
      EXPECT_EQ(tensor.size(1), 4) << name;
      EXPECT_EQ(tensor.abs().max().item<double>(), 0) << name;
    } else {
      EXPECT_EQ(tensor.size(0), 4) << name;
      EXPECT_GT(tensor.abs().min().item<double>(), 0) << name;
    }
  }
  EXPECT_EQ(LoraAdapter::Init(config(), {4, 8}, 5).Serialize(), adapter.Serialize());
  EXPECT_NE(LoraAdapter::Init(config(), {4, 8}, 6).Serialize(), adapter.Serialize());
}

TEST_F(LoraTest, AFreshAdapterChangesNothing) {
  const LoraAdapter adapter = LoraAdapter::Init(config(), {4, 8}, 5);
  EXPECT_LE(LargestDifference(Logits({&adapter}), Logits({})), 1e-6);
}

TEST_F(LoraTest, NoAdaptersGiveTheEmptyStack) { EXPECT_TRUE(FuseAdapters(config(), {}).empty()); }

// The fused product of each projection is the sum of what each adapter adds to each target.
TEST_F(LoraTest, FusedStackIsTheSumOfTheAdapters) {
  const LoraAdapter first = Trained(config(), {4, 8}, 1);
  const LoraAdapter second = Trained(config(), {2, 7}, 2);
  const LoraAdapter* const adapters[] = {&first, &second};
  const LoraStack stack = FuseAdapters(config(), adapters);
  ASSERT_EQ(stack.layers.size(), 2u);
  const auto added = [&](int layer, const std::string& target) {
    at::Tensor sum;
    for (const LoraAdapter* adapter : adapters) {
      const std::string name =
          absl::StrCat("base_model.model.model.layers.", layer, ".", target, ".lora_");
      const double scale = adapter->config().alpha / adapter->config().rank;
      const at::Tensor product = at::matmul(adapter->tensors().at(name + "B.weight"),
                                            adapter->tensors().at(name + "A.weight")) *
                                 scale;
      sum = sum.defined() ? sum + product : product;
    }
    return sum;
  };
  for (int layer = 0; layer < 2; ++layer) {
    const LoraLayer& fused = stack.layers[layer];
    const auto check = [](const LoraLinear& linear, const std::vector<at::Tensor>& parts) {
      EXPECT_LE(LargestDifference(at::matmul(linear.b, linear.a), at::cat(parts, 0)), 1e-6);
    };
    check(fused.qkv, {added(layer, "self_attn.q_proj"), added(layer, "self_attn.k_proj"),
                      added(layer, "self_attn.v_proj")});
    check(fused.attention_output, {added(layer, "self_attn.o_proj")});
    check(fused.gate_up, {added(layer, "mlp.gate_proj"), added(layer, "mlp.up_proj")});
    check(fused.down, {added(layer, "mlp.down_proj")});
  }
}

TEST_F(LoraTest, SplitInTwoAnAdapterIsTheSameFunction) {
  const LoraAdapter whole = Trained(config(), {4, 8}, 3);
  // Ranks concatenate: halves with the same alpha / rank add up to the whole.
  LoraAdapter low = LoraAdapter::Init(config(), {2, 4}, 0);
  LoraAdapter high = LoraAdapter::Init(config(), {2, 4}, 0);
  for (const auto& [name, tensor] : whole.tensors()) {
    const int64_t dimension = absl::StrContains(name, "lora_A") ? 0 : 1;
    low.tensors()[name] = tensor.narrow(dimension, 0, 2);
    high.tensors()[name] = tensor.narrow(dimension, 2, 2);
  }
  const at::Tensor expected = Logits({&whole});
  EXPECT_GT(LargestDifference(expected, Logits({})), 0.05);
  EXPECT_LE(LargestDifference(Logits({&low, &high}), expected), 1e-5);
  EXPECT_LE(LargestDifference(Logits({&high, &low}), expected), 1e-5);
}

TEST_F(LoraTest, SavedAndLoadedIsTheSameToTheBit) {
  const LoraAdapter adapter = Trained(config(), {4, 6.5}, 4);
  const std::string bytes = adapter.Serialize();
  const auto loaded = LoraAdapter::Load(*Bytes(bytes), config());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config().rank, 4);
  EXPECT_EQ(loaded->config().alpha, 6.5);
  EXPECT_EQ(loaded->Serialize(), bytes);
  EXPECT_TRUE(at::equal(Logits({&*loaded}), Logits({&adapter})));
}

TEST_F(LoraTest, LoadRefusesWhatDoesNotFitThePair) {
  const LoraAdapter adapter = Trained(config(), {4, 8}, 4);
  const std::map<std::string, std::string> metadata = {{"rank", "4"}, {"alpha", "8"}};
  const auto refused = [&](const std::map<std::string, at::Tensor>& tensors,
                           const std::map<std::string, std::string>& labels,
                           const std::string& part) {
    const absl::Status status =
        LoraAdapter::Load(*Bytes(SerializeTensors(tensors, at::kFloat, labels)), config()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << part;
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "an adapter")) << status;
  };
  for (const auto& [name, tensor] : adapter.tensors()) {
    std::map<std::string, at::Tensor> tensors = adapter.tensors();
    tensors.erase(name);
    refused(tensors, metadata, name);
    tensors[name] = tensor.t().contiguous();
    refused(tensors, metadata, name);
  }
  std::map<std::string, at::Tensor> tensors = adapter.tensors();
  tensors["lm_head.lora_A.weight"] = at::zeros({4, 16});
  refused(tensors, metadata, "tensors");
  for (const char* rank : {"", "0", "-4", "4.5", "5000", "5"}) {
    refused(adapter.tensors(), {{"rank", rank}, {"alpha", "8"}}, "");
  }
  refused(adapter.tensors(), {{"alpha", "8"}}, "rank or alpha");
  refused(adapter.tensors(), {{"rank", "4"}}, "rank or alpha");
  refused(adapter.tensors(), {{"rank", "4"}, {"alpha", "nan"}}, "rank or alpha");
  refused(adapter.tensors(), {{"rank", "4"}, {"alpha", "inf"}}, "rank or alpha");
}

TEST_F(LoraTest, LoadRefusesValuesThatAreNotFinite) {
  LoraAdapter adapter = Trained(config(), {4, 8}, 4);
  const std::string name = adapter.tensors().begin()->first;
  adapter.tensors()[name][0][0] = INFINITY;
  const absl::Status status = LoraAdapter::Load(*Bytes(adapter.Serialize()), config()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
}

}  // namespace
}  // namespace unlearn
