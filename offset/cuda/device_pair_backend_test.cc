#include "offset/cuda/device_pair_backend.h"

#include <map>

#include "offset/cuda/device_test_runtime.h"
#include "offset/model/decoder_vectors.h"
#include "offset/model/test_stacks.h"
#include "offset/pair/pair_engine.h"

namespace unlearn {
namespace {

// Against the reference on the CPU. In bf16 activations are rounded 2^-9 of themselves at each
// product.
constexpr double kFloatTolerance = 1e-4;

class DevicePairBackendTest : public DeviceTest {
 protected:
  void Use(const std::string& model) { vectors_ = std::make_unique<DecoderVectors>(model); }
  const ModelConfig& config() const { return vectors_->decoder->config(); }

  // Adapters of these seeds, B not zero.
  std::shared_ptr<const LoraStack> Stack(const std::vector<uint64_t>& seeds) {
    return TestStack(config(), seeds);
  }

  // An engine on the device; backend_ points to its backend. Each takes a runtime of its own.
  std::unique_ptr<PairEngine> Engine(int64_t tokens, at::ScalarType dtype = at::kFloat,
                                     int64_t graph_rows = 8) {
    DevicePairBackend::Options options;
    options.kv_cache_tokens = tokens;
    options.dtype = dtype;
    options.graph_rows = graph_rows;
    auto runtime = MakeTestRuntime();
    EXPECT_TRUE(runtime.ok()) << runtime.status();
    auto backend = DevicePairBackend::Make(*std::move(runtime), *vectors_->decoder, options);
    EXPECT_TRUE(backend.ok()) << backend.status();
    backend_ = backend->get();
    return std::make_unique<PairEngine>(*std::move(backend));
  }

  at::Tensor Step(PairEngine& pair, const std::vector<PairStep>& steps) {
    auto delta = pair.Step(steps);
    EXPECT_TRUE(delta.ok()) << delta.status();
    return delta.value_or(at::Tensor());
  }

  std::vector<int32_t> Tokens(int index, int length) {
    std::vector<int32_t> tokens = vectors_->Sequence(index % 2);
    for (int32_t& token : tokens) token = (token + 7 * (index / 2)) % 64;
    tokens.resize(length);
    return tokens;
  }

  std::unique_ptr<DecoderVectors> vectors_;
  DevicePairBackend* backend_ = nullptr;
};

// A whole prompt, then tokens one by one, under two stacks and none: what the CPU gives.
TEST_F(DevicePairBackendTest, EveryFamilyEqualsTheCpu) {
  for (const std::string& name : DecoderVectors::Names()) {
    SCOPED_TRACE(name);
    Use(name);
    const auto one = Stack({1}), three = Stack({2, 3, 4});
    const auto none = std::make_shared<const LoraStack>();
    PairEngine expected(vectors_->decoder, 1024);
    const auto pair = Engine(1024);
    const std::vector<int32_t> tokens = Tokens(0, 30), others = Tokens(1, 30);
    for (PairEngine* const engine : {&expected, pair.get()}) {
      for (const auto& stack : {one, three, none}) engine->AddStream(stack);
    }
    const auto compare = [&](const std::vector<PairStep>& steps) {
      const at::Tensor want = Step(expected, steps);
      const at::Tensor got = Step(*pair, steps);
      ASSERT_EQ(got.sizes(), want.sizes());
      if (want.numel() == 0) return;
      EXPECT_GT(want.abs().max().item<double>(), 0.1);
      EXPECT_LE(LargestDifference(got, want), kFloatTolerance);
    };
    compare({{0, 0, absl::MakeConstSpan(tokens).first(21), 21},
             {1, 0, absl::MakeConstSpan(others).first(5), 1},
             {2, 0, tokens, 2}});
    // A piece of a prompt, which wants nothing.
    compare({{1, 5, absl::MakeConstSpan(others).subspan(5, 14), 0}});
    for (int32_t at = 21; at < 24; ++at) {
      compare({{0, at, absl::MakeConstSpan(tokens).subspan(at, 1), 1},
               {1, at - 2, absl::MakeConstSpan(others).subspan(at - 2, 1), 1}});
    }
  }
}

TEST_F(DevicePairBackendTest, GraphsGiveWhatTheyReplace) {
  Use("qwen2_window_old");
  const auto one = Stack({1}), two = Stack({2, 3});
  const auto graphs = Engine(2048);
  DevicePairBackend* const with_graphs = backend_;
  const auto eager = Engine(2048);
  // The version is warmed before its first stream, the second stack comes later and has no graphs
  // of its own.
  ASSERT_TRUE(graphs->Warm(one).ok());
  const std::vector<int32_t> tokens = Tokens(0, 30), others = Tokens(1, 30);
  for (PairEngine* const engine : {graphs.get(), eager.get()}) {
    for (const auto& stack : {one, two, one}) engine->AddStream(stack);
    Step(*engine, {{0, 0, absl::MakeConstSpan(tokens).first(20), 0},
                   {1, 0, absl::MakeConstSpan(others).first(18), 0}});
  }
  const int64_t before = with_graphs->graph_replays();
  for (int32_t at = 0; at < 4; ++at) {
    std::vector<PairStep> steps = {
        {0, 20 + at, absl::MakeConstSpan(tokens).subspan(20 + at, 1), 1}};
    if (at % 2 == 1) {
      const int32_t position = 18 + at / 2;
      steps.push_back({1, position, absl::MakeConstSpan(others).subspan(position, 1), 1});
    }
    // A third stream joins: three of four places of a graph.
    if (at == 3) steps.push_back({2, 0, absl::MakeConstSpan(others).first(1), 1});
    const at::Tensor want = Step(*eager, steps);
    const at::Tensor got = Step(*graphs, steps);
    EXPECT_GT(want.abs().max().item<double>(), 0.1);
    // The library's product of a padded batch may sum in another order.
    EXPECT_LE(LargestDifference(got, want), 1e-5) << at;
  }
  EXPECT_EQ(with_graphs->graph_replays() - before, 4);
  EXPECT_EQ(backend_->graph_replays(), 0);
}

// A stack of a larger rank than the graphs were made for: they are made anew.
TEST_F(DevicePairBackendTest, ALargerRankAfterWarming) {
  Use("grouped_new");
  const auto small = Stack({1}), large = Stack({1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto pair = Engine(512);
  ASSERT_TRUE(pair->Warm(small).ok());
  PairEngine expected(vectors_->decoder, 512);
  const std::vector<int32_t> tokens = Tokens(0, 10);
  for (PairEngine* const engine : {&expected, pair.get()}) {
    engine->AddStream(small);
    engine->AddStream(large);
  }
  for (int32_t at = 0; at < 3; ++at) {
    const auto token = absl::MakeConstSpan(tokens).subspan(at, 1);
    const std::vector<PairStep> steps = {{0, at, token, 1}, {1, at, token, 1}};
    EXPECT_LE(LargestDifference(Step(*pair, steps), Step(expected, steps)), kFloatTolerance);
  }
  EXPECT_EQ(backend_->graph_replays(), 3);
}

TEST_F(DevicePairBackendTest, RollbackPrefixesAndSharedPagesEqualTheCpu) {
  Use("mistral_window");
  const auto stack = Stack({1}), other = Stack({2});
  PairEngine expected(vectors_->decoder, 1024);
  const auto pair = Engine(1024);
  ASSERT_TRUE(pair->Warm(stack).ok());
  const std::vector<int32_t> tokens = Tokens(0, 40);
  std::vector<int32_t> changed = tokens;
  changed[19] = (changed[19] + 1) % 64;
  const auto span = absl::MakeConstSpan(tokens);
  std::vector<at::Tensor> results[2];
  int known[2] = {0, 0};
  int which = 0;
  for (PairEngine* const engine : {&expected, pair.get()}) {
    std::vector<at::Tensor>& out = results[which];
    const int first = engine->AddStream(stack, "tenant", tokens);
    out.push_back(Step(*engine, {{first, 0, span.first(36), 1}}));
    // The same beginning: found, and then written to from within a shared page.
    const int second = engine->AddStream(stack, "tenant", changed);
    known[which] = engine->known_tokens(second);
    out.push_back(Step(
        *engine, {{second, known[which], absl::MakeConstSpan(changed).subspan(known[which]), 3}}));
    // Rolled back into the shared page.
    out.push_back(Step(*engine, {{second, 9, absl::MakeConstSpan(changed).subspan(9, 4), 4}}));
    out.push_back(Step(*engine, {{first, 36, span.subspan(36, 2), 2}}));
    out.push_back(Step(*engine, {{first, 30, span.subspan(30, 1), 1}}));
    const int third = engine->AddStream(other, "tenant", tokens);
    const int32_t known_third = engine->known_tokens(third);
    out.push_back(Step(*engine, {{third, known_third, span.subspan(known_third, 30), 2}}));
    engine->RemoveStream(second);
    out.push_back(Step(*engine, {{first, 31, span.subspan(31, 3), 3}}));
    ++which;
  }
  EXPECT_EQ(known[0], known[1]);
  EXPECT_GT(known[0], 0);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_LE(LargestDifference(results[1][i], results[0][i]), kFloatTolerance) << i;
  }
}

TEST_F(DevicePairBackendTest, DifferencesAreThoseOfTheCpu) {
  Use("gemma3_new");
  const auto stack = Stack({3});
  PairEngine expected(vectors_->decoder, 256);
  const auto pair = Engine(256);
  const std::vector<int32_t> tokens = Tokens(0, 25);
  expected.AddStream(stack);
  pair->AddStream(stack);
  const std::vector<PairStep> steps = {{0, 0, tokens, 7}};
  const auto want = expected.StepDifferences(steps);
  const auto got = pair->StepDifferences(steps);
  ASSERT_TRUE(want.ok() && got.ok()) << got.status();
  EXPECT_EQ(got->sizes(), (at::IntArrayRef{7, config().hidden_size}));
  EXPECT_LE(LargestDifference(*got, *want), kFloatTolerance);
}

// bf16: weights, activations and cache are rounded. delta keeps the precision of the difference.
TEST_F(DevicePairBackendTest, Bf16StaysNearFp32) {
  for (const std::string name : {"grouped_new", "gemma3_old", "phi3_partial"}) {
    SCOPED_TRACE(name);
    Use(name);
    const auto stack = Stack({1, 2});
    PairEngine expected(vectors_->decoder, 512);
    const auto pair = Engine(512, at::kBFloat16);
    const std::vector<int32_t> tokens = Tokens(0, 30);
    expected.AddStream(stack);
    pair->AddStream(stack);
    const at::Tensor want = Step(expected, {{0, 0, tokens, 30}});
    const at::Tensor got = Step(*pair, {{0, 0, tokens, 30}});
    const double relative = ((got - want).norm() / want.norm()).item<double>();
    EXPECT_LT(relative, 0.05);
    EXPECT_GT(relative, 1e-5);  // or it was not bf16 at all
  }
}

TEST_F(DevicePairBackendTest, AFreshAdapterGivesZeroInBf16) {
  Use("grouped_new");
  const LoraAdapter fresh = LoraAdapter::Init(config(), {4, 8}, 1);
  const LoraAdapter* const adapters[] = {&fresh};
  const auto stack = std::make_shared<const LoraStack>(FuseAdapters(config(), adapters));
  const auto pair = Engine(256, at::kBFloat16);
  ASSERT_TRUE(pair->Warm(stack).ok());
  pair->AddStream(stack);
  const std::vector<int32_t> tokens = Tokens(0, 30);
  const at::Tensor prompt = Step(*pair, {{0, 0, absl::MakeConstSpan(tokens).first(29), 29}});
  EXPECT_LE(LargestDifference(prompt, at::zeros_like(prompt)), 1e-4);
  const at::Tensor next = Step(*pair, {{0, 29, absl::MakeConstSpan(tokens).last(1), 1}});
  EXPECT_LE(LargestDifference(next, at::zeros_like(next)), 1e-4);
}

TEST_F(DevicePairBackendTest, ARefusedStepChangesNothing) {
  Use("grouped_new");
  const auto stack = Stack({1});
  const auto pair = Engine(64);  // two sequences of 32 tokens
  pair->AddStream(stack);
  const std::vector<int32_t> tokens = Tokens(0, 37);
  const auto span = absl::MakeConstSpan(tokens);
  const at::Tensor first = Step(*pair, {{0, 0, span.first(30), 1}});
  EXPECT_EQ(pair->Step({{0, 30, span.subspan(30, 7), 1}}).status().code(),
            absl::StatusCode::kResourceExhausted);
  const std::vector<int32_t> beyond = {static_cast<int32_t>(config().vocab_size)};
  EXPECT_EQ(pair->Step({{0, 30, beyond, 1}}).status().code(), absl::StatusCode::kInvalidArgument);
  const at::Tensor again = Step(*pair, {{0, 29, span.subspan(29, 1), 1}});
  EXPECT_LE(LargestDifference(again, first), kFloatTolerance);
}

// Stacks come and go; the table's places and addresses are used again.
TEST_F(DevicePairBackendTest, ManyStacksOneAfterTheOther) {
  Use("grouped_new");
  const auto pair = Engine(256);
  PairEngine expected(vectors_->decoder, 256);
  const std::vector<int32_t> tokens = Tokens(0, 6);
  for (int i = 0; i < DeviceStacks::kMaxStacks + 6; ++i) {
    const auto stack = Stack({static_cast<uint64_t>(i)});
    const int stream = pair->AddStream(stack);
    const int same = expected.AddStream(stack);
    ASSERT_LE(LargestDifference(Step(*pair, {{stream, 0, tokens, 1}}),
                                Step(expected, {{same, 0, tokens, 1}})),
              kFloatTolerance)
        << i;
    pair->RemoveStream(stream);
    expected.RemoveStream(same);
  }
  std::vector<std::shared_ptr<const LoraStack>> held;
  for (int i = 0; i < DeviceStacks::kMaxStacks; ++i) {
    held.push_back(Stack({1}));
    ASSERT_TRUE(pair->Warm(held.back()).ok());
  }
  EXPECT_EQ(pair->Warm(Stack({1})).code(), absl::StatusCode::kResourceExhausted);
  held.pop_back();
  EXPECT_TRUE(pair->Warm(Stack({1})).ok());
}

}  // namespace
}  // namespace unlearn
