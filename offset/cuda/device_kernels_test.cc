#include "offset/cuda/device_kernels.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "offset/cuda/device_stacks.h"
#include "offset/cuda/device_test_runtime.h"
#include "offset/model/kernels.h"
#include "offset/model/kv_cache.h"
#include "offset/model/matrix_product.h"

namespace unlearn {
namespace {

// Each kernel against the CPU's, or a plain sum where the CPU has none of its own.
class DeviceKernelsTest : public DeviceTest {
 protected:
  at::Tensor Random(at::IntArrayRef shape) {
    return at::randn(shape, generator_, at::TensorOptions(at::kFloat));
  }
  static double Largest(const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  }
  template <typename T>
  static const T* As(const at::Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
  }
  at::Generator generator_ = at::detail::createCPUGenerator(5);
};

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kBfloat16};
at::ScalarType TorchType(ElementType type) {
  return type == ElementType::kFloat32 ? at::kFloat : at::kBFloat16;
}

TEST_F(DeviceKernelsTest, EmbedRows) {
  for (const ElementType type : kTypes) {
    const at::Tensor embedding = Random({9, 301}).to(TorchType(type));
    const std::vector<int32_t> tokens = {8, 0, 3, 3};
    at::Tensor x = Empty({4, 301});
    const at::Tensor on_device = OnDevice(embedding), ids = BytesOnDevice(tokens);
    EmbedRows(stream(), type, on_device.const_data_ptr(), As<int32_t>(ids), 4, 301, 2.5f,
              x.mutable_data_ptr<float>());
    const at::Tensor expected =
        embedding.index_select(0, at::tensor({8, 0, 3, 3}, at::kLong)).to(at::kFloat) * 2.5;
    EXPECT_TRUE(at::equal(OnCpu(x), expected));
  }
}

// All that families ask of a norm, on rows shorter than a warp, and longer than a block.
TEST_F(DeviceKernelsTest, AddAndNorm) {
  for (const int64_t hidden : {1, 7, 64, 257, 1025}) {
    for (int variant = 0; variant < 8; ++variant) {
      const bool adds = variant != 0, output_norm = variant == 2, layer_norm = variant >= 3;
      const bool parallel = variant == 4 || variant == 5, has_bias = variant % 2 == 1;
      const bool last = variant == 7;
      const at::Tensor x = Random({3, hidden}), added = Random({3, hidden});
      const at::Tensor added_bias = Random({hidden}), added_norm = Random({hidden});
      const at::Tensor weight = Random({hidden}), bias = Random({hidden});
      at::Tensor sum = added.clone();
      if (has_bias) sum += added_bias;
      if (output_norm) {
        for (int row = 0; row < 3; ++row) {
          RmsNormRow(sum.data_ptr<float>() + row * hidden, added_norm.data_ptr<float>(), hidden,
                     0.01f, sum.data_ptr<float>() + row * hidden);
        }
      }
      const at::Tensor after = adds ? x + sum : x.clone();
      const at::Tensor normed_from = parallel ? x : after;
      at::Tensor expected = at::empty_like(x);
      for (int row = 0; row < 3; ++row) {
        const float* const from = normed_from.data_ptr<float>() + row * hidden;
        float* const to = expected.data_ptr<float>() + row * hidden;
        if (layer_norm) {
          LayerNormRow(from, weight.data_ptr<float>(), bias.data_ptr<float>(), hidden, 0.01f, to);
        } else {
          RmsNormRow(from, weight.data_ptr<float>(), hidden, 0.01f, to);
        }
      }
      at::Tensor device_x = OnDevice(x), out = Empty({3, hidden});
      const at::Tensor d_added = OnDevice(added), d_added_bias = OnDevice(added_bias),
                       d_added_norm = OnDevice(added_norm), d_weight = OnDevice(weight),
                       d_bias = OnDevice(bias);
      AddAndNormArguments a;
      a.rows = 3;
      a.hidden = hidden;
      a.eps = 0.01f;
      a.x = device_x.mutable_data_ptr<float>();
      if (adds) a.added = As<float>(d_added);
      if (has_bias) a.added_bias = As<float>(d_added_bias);
      if (output_norm) a.added_norm = As<float>(d_added_norm);
      if (!last) a.weight = As<float>(d_weight);
      if (layer_norm) a.bias = As<float>(d_bias);
      a.norm_before_adding = parallel;
      a.out = out.mutable_data_ptr();
      AddAndNorm(stream(), a);
      EXPECT_LE(Largest(OnCpu(device_x), after), 2e-5) << hidden << " " << variant;
      if (last) {
        EXPECT_TRUE(at::isnan(OnCpu(out)).all().item<bool>());
      } else {
        EXPECT_LE(Largest(OnCpu(out), expected), 2e-5) << hidden << " " << variant;
      }
    }
  }
}

TEST_F(DeviceKernelsTest, ActivateRows) {
  for (const int64_t size : {1, 31, 256, 300}) {
    for (const bool gated : {true, false}) {
      for (const auto activation :
           {DeviceActivation::kSilu, DeviceActivation::kGelu, DeviceActivation::kGeluTanh}) {
        at::Tensor inner = Random({2, (gated ? 2 : 1) * size});
        inner[0][0] = -200;
        const at::Tensor bias = Random({inner.size(1)});
        const at::Tensor full = inner + bias;
        const at::Tensor gate = full.narrow(1, 0, size);
        at::Tensor expected = activation == DeviceActivation::kSilu   ? at::silu(gate)
                              : activation == DeviceActivation::kGelu ? at::gelu(gate)
                                                                      : at::gelu(gate, "tanh");
        if (gated) expected = expected * full.narrow(1, size, size);
        at::Tensor out = Empty({2, size});
        const at::Tensor d_inner = OnDevice(inner), d_bias = OnDevice(bias);
        ActivateRowsArguments a;
        a.rows = 2;
        a.intermediate = size;
        a.gated = gated;
        a.activation = activation;
        a.inner = As<float>(d_inner);
        a.bias = As<float>(d_bias);
        a.out = out.mutable_data_ptr();
        ActivateRows(stream(), a);
        EXPECT_LE(Largest(OnCpu(out), expected), 1e-5);
      }
    }
  }
}

// Rows of several sequences at scattered pages, some of them padding; queries and keys normed or
// not, turned wholly or in part; then attention with and without a window and splits.
TEST_F(DeviceKernelsTest, QkvAndAttention) {
  struct Case {
    int heads, kv_heads, head_dim, rotary;
    int64_t window;
    bool norms, bias;
    int splits;
  };
  const Case cases[] = {
      {4, 2, 16, 16, 0, false, true, 1},   {7, 1, 10, 4, 0, true, false, 3},
      {6, 6, 64, 64, 5, false, false, 2},  {9, 3, 66, 66, 17, true, true, 1},
      {2, 1, 256, 64, 40, false, true, 4}, {4, 4, 130, 32, 0, true, false, 16},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.heads << " heads of " << c.head_dim);
    ModelConfig config;
    config.num_layers = 1;
    config.num_heads = c.heads;
    config.num_kv_heads = c.kv_heads;
    config.head_dim = c.head_dim;
    config.rotary_dim = c.rotary;
    config.max_positions = 64;
    const RopeTable rope = MakeRopeTable(config);
    KvCache cache(config, 160);
    const int64_t row_size = config.qkv_size();
    const at::Tensor bias = Random({row_size}), query_norm = Random({c.head_dim}),
                     key_norm = Random({c.head_dim});
    // Three sequences; the middle one's pages go back first, so that the others' are scattered.
    const int first = cache.AddSequence(), gone = cache.AddSequence(), second = cache.AddSequence();
    ASSERT_TRUE(cache.Reserve(gone, 20).ok());
    ASSERT_TRUE(cache.Reserve(first, 16).ok());
    cache.RemoveSequence(gone);
    ASSERT_TRUE(cache.Reserve(second, 41).ok());
    ASSERT_TRUE(cache.Reserve(first, 20).ok());

    std::vector<int32_t> positions, page_begins, pages, sequences;
    const int32_t second_begin = static_cast<int32_t>(cache.pages(first).size());
    pages.assign(cache.pages(first).begin(), cache.pages(first).end());
    pages.insert(pages.end(), cache.pages(second).begin(), cache.pages(second).end());
    const auto add = [&](int sequence, int32_t position) {
      sequences.push_back(sequence);
      positions.push_back(position);
      page_begins.push_back(sequence == second ? second_begin : 0);
    };
    for (int32_t at = 0; at < 20; ++at) add(first, at);
    add(first, -1);
    for (int32_t at = 0; at < 41; ++at) add(second, at);
    const int64_t rows = static_cast<int64_t>(positions.size());
    const at::Tensor qkv = Random({rows, row_size});

    // The reference, as ForwardTokens does it.
    at::Tensor expected_qkv = qkv.clone();
    const float scale = 1.3f / std::sqrt(static_cast<float>(c.head_dim));
    at::Tensor expected = at::zeros({rows, c.heads * c.head_dim});
    for (int64_t row = 0; row < rows; ++row) {
      if (positions[row] < 0) continue;
      float* const query = expected_qkv.data_ptr<float>() + row * row_size;
      if (c.bias) {
        for (int64_t i = 0; i < row_size; ++i) query[i] += bias.data_ptr<float>()[i];
      }
      float* const key = query + c.heads * c.head_dim;
      if (c.norms) {
        for (int head = 0; head < c.heads + c.kv_heads; ++head) {
          const at::Tensor& norm = head < c.heads ? query_norm : key_norm;
          float* const vector = query + head * c.head_dim;
          RmsNormRow(vector, norm.data_ptr<float>(), c.head_dim, 0.01f, vector);
        }
      }
      RotateHeads(query, c.heads + c.kv_heads, c.head_dim, rope, positions[row]);
      std::copy_n(key, cache.row_floats(), cache.Key(0, sequences[row], positions[row]));
      std::copy_n(key + cache.row_floats(), cache.row_floats(),
                  cache.Value(0, sequences[row], positions[row]));
    }
    std::vector<float> scratch(64);
    for (int64_t row = 0; row < rows; ++row) {
      if (positions[row] < 0) continue;
      const int64_t seen = c.window > 0 ? std::max<int64_t>(0, positions[row] - c.window + 1) : 0;
      for (int head = 0; head < c.heads; ++head) {
        AttendHead(expected_qkv.data_ptr<float>() + row * row_size + head * c.head_dim, cache, 0,
                   sequences[row], seen, positions[row], head / (c.heads / c.kv_heads), c.head_dim,
                   scale, scratch.data(),
                   expected.data_ptr<float>() + (row * c.heads + head) * c.head_dim);
      }
    }

    for (const ElementType type : kTypes) {
      at::Tensor device_qkv = OnDevice(qkv);
      at::Tensor pool = Empty({10, 2, kDevicePageTokens, c.kv_heads, c.head_dim}, TorchType(type));
      at::Tensor out = Empty({rows, c.heads * c.head_dim}, TorchType(type));
      at::Tensor parts = Empty({rows, c.heads, c.splits, c.head_dim + 2});
      const at::Tensor d_positions = BytesOnDevice(positions), d_pages = BytesOnDevice(pages),
                       d_begins = BytesOnDevice(page_begins), d_bias = OnDevice(bias),
                       d_query_norm = OnDevice(query_norm), d_key_norm = OnDevice(key_norm),
                       d_cosine = BytesOnDevice(rope.cosine), d_sine = BytesOnDevice(rope.sine);
      FinishQkvArguments finish;
      finish.batch.rows = rows;
      finish.batch.positions = As<int32_t>(d_positions);
      finish.batch.page_begins = As<int32_t>(d_begins);
      finish.batch.pages = As<int32_t>(d_pages);
      finish.shape = {c.heads, c.kv_heads, c.head_dim};
      finish.type = type;
      finish.eps = 0.01f;
      finish.qkv = device_qkv.mutable_data_ptr<float>();
      if (c.bias) finish.bias = As<float>(d_bias);
      if (c.norms) {
        finish.query_norm = As<float>(d_query_norm);
        finish.key_norm = As<float>(d_key_norm);
      }
      finish.cosine = As<float>(d_cosine);
      finish.sine = As<float>(d_sine);
      finish.half = static_cast<int>(rope.half);
      finish.pool = pool.mutable_data_ptr();
      FinishQkv(stream(), finish);
      AttendArguments attend;
      attend.batch = finish.batch;
      attend.shape = finish.shape;
      attend.type = type;
      attend.scale = scale;
      attend.window = static_cast<int32_t>(c.window);
      attend.qkv = finish.qkv;
      attend.pool = pool.const_data_ptr();
      attend.splits = c.splits;
      attend.scratch = parts.mutable_data_ptr<float>();
      attend.out = out.mutable_data_ptr();
      Attend(stream(), attend);
      const double tolerance = type == ElementType::kFloat32 ? 2e-5 : 0.04;
      EXPECT_LE(Largest(OnCpu(out).to(at::kFloat), expected), tolerance);
      const int64_t queries = c.heads * c.head_dim;
      at::Tensor got_queries = OnCpu(device_qkv).narrow(1, 0, queries);
      EXPECT_LE(Largest(got_queries, expected_qkv.narrow(1, 0, queries)), 2e-5);
    }
  }
}

// Rows under several stacks and none in one launch: tiles shorter than, equal to and beyond eight
// rows, ranks of several adapters.
TEST_F(DeviceKernelsTest, LoraOfMixedRows) {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 70;
  config.intermediate_size = 150;
  config.num_heads = 3;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.vocab_size = 10;
  std::vector<std::shared_ptr<const LoraStack>> stacks;
  uint64_t seed = 1;
  for (const std::vector<int64_t>& ranks : {std::vector<int64_t>{3}, {1, 8}, {16, 2, 5}}) {
    std::vector<LoraAdapter> adapters;
    for (const int64_t rank : ranks) {
      adapters.push_back(LoraAdapter::Init(config, {rank, 4}, seed++));
      for (auto& [name, tensor] : adapters.back().tensors()) tensor = Random(tensor.sizes());
    }
    std::vector<const LoraAdapter*> pointers;
    for (const LoraAdapter& adapter : adapters) pointers.push_back(&adapter);
    stacks.push_back(std::make_shared<const LoraStack>(FuseAdapters(config, pointers)));
  }
  DeviceStacks on_device(config, runtime_.get());
  for (const auto& stack : stacks) ASSERT_TRUE(on_device.Add(stack).ok());
  EXPECT_EQ(on_device.max_rank(), 3 * 23);
  // Rows [0, 2) have none.
  const std::vector<LoraTile> tiles = {{2, 8, 1}, {10, 3, 1}, {0, 0, 0}, {13, 1, 0}, {14, 5, 2}};
  constexpr int64_t kRows = 20;
  for (const DeviceStacks::Part part : {DeviceStacks::kQkv, DeviceStacks::kDown}) {
    for (const ElementType type : kTypes) {
      const int64_t in = part == DeviceStacks::kQkv ? 70 : 150;
      const int64_t out = part == DeviceStacks::kQkv ? 40 : 70;
      const at::Tensor x = Random({kRows, in}).to(TorchType(type)), y = Random({kRows, out});
      at::Tensor expected = y.clone();
      const at::Tensor wide = x.to(at::kFloat);
      for (const LoraTile& tile : tiles) {
        const LoraLayer& layer = stacks[tile.stack]->layers[1];
        AddLora(wide.data_ptr<float>() + tile.row_begin * in, tile.row_count,
                part == DeviceStacks::kQkv ? layer.qkv : layer.down,
                expected.data_ptr<float>() + tile.row_begin * out);
      }
      EXPECT_GT(Largest(expected, y), 1);
      at::Tensor device_y = OnDevice(y), low = Empty({kRows, 80});
      const at::Tensor device_x = OnDevice(x), device_tiles = BytesOnDevice(tiles);
      AddLoraArguments lora;
      lora.type = type;
      lora.x = device_x.const_data_ptr();
      lora.in = in;
      lora.out = out;
      lora.tiles = As<LoraTile>(device_tiles);
      lora.tile_count = static_cast<int64_t>(tiles.size());
      lora.loras = on_device.Table(1, part);
      lora.lora_stride = on_device.stride();
      lora.max_rank = 80;
      lora.low = low.mutable_data_ptr<float>();
      lora.y = device_y.mutable_data_ptr<float>();
      AddLora(stream(), lora);
      const double size = expected.abs().max().item<double>();
      EXPECT_LE(Largest(OnCpu(device_y), expected), 2e-6 * size);
      EXPECT_TRUE(at::equal(OnCpu(device_y).narrow(0, 0, 2), y.narrow(0, 0, 2)));
      EXPECT_TRUE(at::equal(OnCpu(device_y)[19], y[19]));
    }
  }
}

TEST_F(DeviceKernelsTest, ADifferenceSplitInTwoKeepsItsPrecision) {
  // What two states have in common would drown what they differ in.
  const at::Tensor hidden = Random({5, 130}) * 1e-3 + 40;
  const std::vector<DeviceRowPair> pairs = {{0, 4}, {2, 1}, {3, 3}};
  const at::Tensor d_hidden = OnDevice(hidden), d_pairs = BytesOnDevice(pairs);
  at::Tensor difference = Empty({3, 130}), halves = Empty({6, 130}, at::kBFloat16);
  auto* const high = static_cast<Bf16*>(halves.mutable_data_ptr());
  SubtractRows(stream(), ElementType::kBfloat16, As<float>(d_hidden), As<DeviceRowPair>(d_pairs), 3,
               130, difference.mutable_data_ptr<float>(), high, high + 3 * 130);
  const at::Tensor got = OnCpu(difference);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::equal(got[i], hidden[pairs[i].offset] - hidden[pairs[i].reference]));
  }
  const at::Tensor parts = OnCpu(halves).to(at::kFloat);
  const at::Tensor sum = parts.narrow(0, 0, 3) + parts.narrow(0, 3, 3);
  EXPECT_TRUE(((sum - got).abs() <= got.abs() * std::ldexp(1.0, -16)).all().item<bool>());
  EXPECT_GT(Largest(parts.narrow(0, 0, 3), got), 0);
}

}  // namespace
}  // namespace unlearn
