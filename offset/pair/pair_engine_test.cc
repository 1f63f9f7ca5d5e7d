#include "offset/pair/pair_engine.h"

#include <map>

#include "absl/strings/match.h"
#include "offset/base/file.h"
#include "offset/model/decoder_vectors.h"
#include "offset/model/test_stacks.h"

namespace unlearn {
namespace {

constexpr double kTolerance = 1e-4;
constexpr int64_t kPage = KvCache::kPageTokens;

class PairEngineTest : public testing::Test {
 protected:
  // A stack of adapters of these seeds, B not zero.
  std::shared_ptr<const LoraStack> Stack(const std::vector<uint64_t>& seeds) {
    return TestStack(config(), seeds);
  }

  // z_o - z_r of every position by two whole forwards: [tokens, vocab].
  at::Tensor Expected(const std::vector<int32_t>& tokens, const LoraStack& stack) {
    const at::Tensor ids =
        at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong)).unsqueeze(0);
    const Decoder& base = *vectors_.decoder;
    return (base.Logits(base.Forward(ids, stack)) - base.Logits(base.Forward(ids, LoraStack())))[0];
  }

  at::Tensor Step(PairEngine& pair, const std::vector<PairStep>& steps) {
    const auto delta = pair.Step(steps);
    EXPECT_TRUE(delta.ok()) << delta.status();
    return delta.value_or(at::Tensor());
  }

  // The vectors' sequence, or another made from it.
  std::vector<int32_t> Tokens(int index, int length) {
    std::vector<int32_t> tokens = vectors_.Sequence(index % 2);
    for (int32_t& token : tokens) token = (token + 7 * (index / 2)) % 64;
    tokens.resize(length);
    return tokens;
  }

  const ModelConfig& config() const { return vectors_.decoder->config(); }

  const DecoderVectors vectors_{"grouped_new"};
};

TEST_F(PairEngineTest, AnEmptyStackGivesExactlyZeroAndTakesNoRoom) {
  PairEngine pair(vectors_.decoder, 0);
  const int stream = pair.AddStream(std::make_shared<const LoraStack>());
  const std::vector<int32_t> tokens = Tokens(0, 30);
  const at::Tensor delta = Step(pair, {{stream, 0, tokens, 30}});
  EXPECT_EQ(delta.sizes(), (at::IntArrayRef{30, 64}));
  EXPECT_TRUE(at::equal(delta, at::zeros({30, 64})));
  EXPECT_EQ(pair.free_tokens(), pair.total_tokens());
}

TEST_F(PairEngineTest, AFreshAdapterGivesZero) {
  const LoraAdapter fresh = LoraAdapter::Init(config(), {4, 8}, 1);
  const LoraAdapter* const adapters[] = {&fresh};
  PairEngine pair(vectors_.decoder, 256);
  const int stream =
      pair.AddStream(std::make_shared<const LoraStack>(FuseAdapters(config(), adapters)));
  const std::vector<int32_t> tokens = Tokens(0, 37);
  EXPECT_LE(LargestDifference(Step(pair, {{stream, 0, tokens, 37}}), at::zeros({37, 64})),
            kTolerance);
}

TEST_F(PairEngineTest, TwoRowsEqualTwoModels) {
  for (const std::vector<uint64_t>& seeds : {std::vector<uint64_t>{1}, {2, 3, 4}}) {
    const auto stack = Stack(seeds);
    PairEngine pair(vectors_.decoder, 256);
    const int stream = pair.AddStream(stack);
    const std::vector<int32_t> tokens = Tokens(0, 37);
    const at::Tensor expected = Expected(tokens, *stack);
    EXPECT_GT(expected.abs().max().item<double>(), 0.5);
    EXPECT_LE(LargestDifference(Step(pair, {{stream, 0, tokens, 37}}), expected), kTolerance);
  }
}

TEST_F(PairEngineTest, PrefillInPiecesEqualsTheWhole) {
  const auto stack = Stack({1});
  const std::vector<int32_t> tokens = Tokens(1, 37);
  const at::Tensor expected = Expected(tokens, *stack);
  for (const int32_t piece : {1, 5, 16, 36}) {
    PairEngine pair(vectors_.decoder, 256);
    const int stream = pair.AddStream(stack);
    for (int32_t begin = 0; begin < 37; begin += piece) {
      const int32_t end = std::min(37, begin + piece);
      const auto part = absl::MakeConstSpan(tokens).subspan(begin, end - begin);
      // Every second piece is prefill only.
      const int32_t wanted = begin / piece % 2 == 0 ? end - begin : 0;
      const at::Tensor delta = Step(pair, {{stream, begin, part, wanted}});
      ASSERT_EQ(delta.size(0), wanted);
      if (wanted > 0) {
        EXPECT_LE(LargestDifference(delta, expected.narrow(0, begin, wanted)), kTolerance) << begin;
      }
    }
  }
}

// Streams with several stacks and with none, in one batch, at different lengths, each wanting
// another number of rows, joining and leaving.
TEST_F(PairEngineTest, ManyStreamsEqualSingles) {
  const std::vector<std::shared_ptr<const LoraStack>> stacks = {
      Stack({1}), std::make_shared<const LoraStack>(), Stack({2, 3}), Stack({4})};
  PairEngine pair(vectors_.decoder, 2 * 24 * 48);
  struct Stream {
    std::vector<int32_t> tokens;
    std::shared_ptr<const LoraStack> stack;
    at::Tensor expected;
    int index = -1;
    int32_t length = 0;
  };
  std::vector<Stream> streams(12);
  for (int i = 0; i < 12; ++i) {
    streams[i].tokens = Tokens(i, 37);
    streams[i].stack = stacks[i % stacks.size()];
    streams[i].expected = Expected(streams[i].tokens, *streams[i].stack);
  }
  for (int round = 0; round < 8; ++round) {
    std::vector<PairStep> steps;
    std::vector<at::Tensor> expected;
    for (int i = 11; i >= 0; --i) {
      Stream& stream = streams[i];
      if (round < i % 3) continue;  // joins later
      if (stream.index < 0) stream.index = pair.AddStream(stream.stack);
      const int32_t count = stream.length == 0 ? 3 + i : (round + i) % 3 + 1;
      const int32_t wanted = (round + i) % 4 == 0 ? 0 : std::min(count, 1 + i % 2);
      steps.push_back({stream.index, stream.length,
                       absl::MakeConstSpan(stream.tokens).subspan(stream.length, count), wanted});
      stream.length += count;
      if (wanted > 0) expected.push_back(stream.expected.narrow(0, stream.length - wanted, wanted));
    }
    EXPECT_LE(LargestDifference(Step(pair, steps), at::cat(expected, 0)), kTolerance) << round;
    if (round == 4) {  // leaves; its room and number go to another
      pair.RemoveStream(streams[2].index);
      pair.RemoveStream(streams[5].index);
      streams[2].index = streams[5].index = -1;
      streams[2].length = streams[5].length = 0;
    }
  }
}

TEST_F(PairEngineTest, RolledBackEqualsFresh) {
  const auto stack = Stack({1});
  PairEngine pair(vectors_.decoder, 256);
  const int stream = pair.AddStream(stack);
  const std::vector<int32_t> first = Tokens(0, 37);
  Step(pair, {{stream, 0, first, 1}});
  for (const int32_t base : {36, 32, 31, 20, 16, 5, 0}) {
    std::vector<int32_t> tokens(first.begin(), first.begin() + base);
    for (int i = 0; i < 4; ++i) tokens.push_back((first[i] + base) % 64);
    const auto added = absl::MakeConstSpan(tokens).subspan(base);
    const at::Tensor delta = Step(pair, {{stream, base, added, 4}});
    EXPECT_LE(LargestDifference(delta, Expected(tokens, *stack).narrow(0, base, 4)), kTolerance)
        << base;
    // Back to the first text, for the next round.
    Step(pair, {{stream, base, absl::MakeConstSpan(first).subspan(base), 1}});
  }
  EXPECT_EQ(pair.free_tokens(), pair.total_tokens() - 3 * kPage);
  Step(pair, {{stream, 3, absl::MakeConstSpan(first).subspan(3, 2), 1}});
  EXPECT_EQ(pair.free_tokens(), pair.total_tokens() - kPage);
  pair.RemoveStream(stream);
  EXPECT_EQ(pair.free_tokens(), pair.total_tokens());
}

// A step that is refused, for room or for its contents, changes neither its own stream nor others
// that shared the batch, one that it would have rolled back included.
TEST_F(PairEngineTest, ARefusedStepChangesNoStream) {
  const auto stack = Stack({1});
  PairEngine pair(vectors_.decoder, 2 * 4 * kPage);
  const std::vector<int32_t> a = Tokens(0, 37), b = Tokens(1, 37);
  const int first = pair.AddStream(stack);
  const int second = pair.AddStream(stack);
  const auto part = [](const std::vector<int32_t>& tokens, int begin, int end) {
    return absl::MakeConstSpan(tokens).subspan(begin, end - begin);
  };
  Step(pair, {{first, 0, part(a, 0, 30), 1}, {second, 0, part(b, 0, 10), 1}});
  const int64_t free = pair.free_tokens();

  const std::vector<int32_t> foreign = {5, 64};
  const std::vector<int32_t> long_tail(20, 3);
  struct Refusal {
    PairStep step;
    absl::StatusCode code;
  };
  const Refusal refusals[] = {
      {{second, 10, part(b, 0, 37), 1}, absl::StatusCode::kResourceExhausted},
      {{second, 10, foreign, 1}, absl::StatusCode::kInvalidArgument},
      {{second, 40, long_tail, 1}, absl::StatusCode::kInvalidArgument}};
  for (const Refusal& refusal : refusals) {
    const PairStep rolled_back = {first, 5, part(b, 0, 3), 1};
    const std::vector<PairStep> steps = {rolled_back, refusal.step};
    EXPECT_EQ(pair.Step(steps).status().code(), refusal.code);
    EXPECT_EQ(pair.free_tokens(), free);
  }
  const at::Tensor delta =
      Step(pair, {{first, 30, part(a, 30, 32), 2}, {second, 10, part(b, 10, 14), 4}});
  EXPECT_LE(LargestDifference(delta, at::cat({Expected(a, *stack).narrow(0, 30, 2),
                                              Expected(b, *stack).narrow(0, 10, 4)})),
            kTolerance);
}

// A prompt found in the cache gives the bits that running it would, under the same version and
// under a new one, for which only the reference's pages serve.
TEST_F(PairEngineTest, KnownPrefixesGiveTheSameBits) {
  const auto stack = Stack({1});
  const auto next_stack = Stack({1, 2});
  std::vector<int32_t> prompt = Tokens(0, 37);
  const auto run = [&](PairEngine& pair, std::shared_ptr<const LoraStack> under,
                       const std::string& tenant, int32_t known, int32_t wanted) {
    const int stream = pair.AddStream(std::move(under), tenant, prompt);
    EXPECT_EQ(pair.known_tokens(stream), known);
    const int32_t middle = std::max(known, 20);
    at::Tensor delta;
    if (known < 20) {  // in two pieces
      Step(pair, {{stream, known, absl::MakeConstSpan(prompt).subspan(known, 20 - known), 0}});
    }
    delta = Step(pair, {{stream, middle, absl::MakeConstSpan(prompt).subspan(middle), wanted}});
    pair.RemoveStream(stream);
    return delta;
  };
  PairEngine fresh(vectors_.decoder, 1024);
  PairEngine pair(vectors_.decoder, 1024);
  const at::Tensor expected = run(fresh, stack, "other", 0, 2);
  EXPECT_TRUE(at::equal(run(pair, stack, "a", 0, 2), expected));
  EXPECT_TRUE(at::equal(run(pair, stack, "a", 32, 2), expected));
  EXPECT_TRUE(at::equal(run(pair, stack, "b", 0, 2), expected));  // another tenant
  EXPECT_EQ(pair.free_tokens(), pair.total_tokens());             // kept for later only
  PairEngine next_fresh(vectors_.decoder, 1024);
  const at::Tensor next_expected = run(next_fresh, next_stack, "a", 0, 2);
  EXPECT_TRUE(at::equal(run(pair, next_stack, "a", 0, 2), next_expected));
  EXPECT_TRUE(at::equal(run(pair, next_stack, "a", 32, 2), next_expected));
  prompt[18] = (prompt[18] + 1) % 64;
  EXPECT_TRUE(at::equal(run(pair, stack, "a", 16, 2), run(fresh, stack, "a", 0, 2)));
}

// The reference is ahead of the offset, and then the stream goes elsewhere than the prompt said.
TEST_F(PairEngineTest, AStreamMayLeaveItsPrompt) {
  const auto stack = Stack({1});
  const auto next_stack = Stack({2});
  const std::vector<int32_t> prompt = Tokens(0, 37);
  for (const int32_t leaves_at : {0, 5, 16, 20, 31, 33}) {
    PairEngine pair(vectors_.decoder, 1024);
    const int first = pair.AddStream(stack, "a", prompt);
    Step(pair, {{first, 0, prompt, 1}});
    const int stream = pair.AddStream(next_stack, "a", prompt);
    ASSERT_EQ(pair.known_tokens(stream), 0);
    std::vector<int32_t> tokens = prompt;
    for (int32_t i = leaves_at; i < 37; ++i) tokens[i] = (tokens[i] + 5) % 64;
    const at::Tensor expected = Expected(tokens, *next_stack);
    for (const auto& [begin, end] : {std::pair<int32_t, int32_t>{0, 7}, {7, 18}, {18, 37}}) {
      const auto part = absl::MakeConstSpan(tokens).subspan(begin, end - begin);
      EXPECT_LE(
          LargestDifference(Step(pair, {{stream, begin, part, 3}}), expected.narrow(0, end - 3, 3)),
          kTolerance)
          << leaves_at << " " << end;
    }
    // Rolled back into pages that others share.
    const auto part = absl::MakeConstSpan(prompt).subspan(3, 30);
    std::vector<int32_t> mixed(tokens.begin(), tokens.begin() + 3);
    mixed.insert(mixed.end(), part.begin(), part.end());
    EXPECT_LE(LargestDifference(Step(pair, {{stream, 3, part, 30}}),
                                Expected(mixed, *next_stack).narrow(0, 3, 30)),
              kTolerance);
    const int again = pair.AddStream(stack, "a", prompt);
    EXPECT_EQ(pair.known_tokens(again), 32);
    EXPECT_LE(
        LargestDifference(Step(pair, {{again, 32, absl::MakeConstSpan(prompt).subspan(32), 5}}),
                          Expected(prompt, *stack).narrow(0, 32, 5)),
        kTolerance);
  }
}

TEST_F(PairEngineTest, KeptPrefixesYieldToStreams) {
  const auto stack = Stack({1});
  PairEngine pair(vectors_.decoder, 2 * 4 * kPage);
  for (int i = 0; i < 6; ++i) {
    const std::vector<int32_t> prompt = Tokens(i, 37);
    const int stream = pair.AddStream(stack, "a", prompt);
    Step(pair, {{stream, 0, prompt, 1}});
    pair.RemoveStream(stream);
    EXPECT_EQ(pair.free_tokens(), pair.total_tokens());
  }
}

// Writes a decoder's weights as `type` and loads them as `held`.
std::shared_ptr<const Decoder> Reload(const Decoder& decoder, at::ScalarType type,
                                      at::ScalarType held) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/reloaded");
  EXPECT_TRUE(MakeFolders(folder).ok());
  const std::string name = type == at::kFloat ? "float32" : "bfloat16";
  EXPECT_TRUE(
      WriteFileAtomically(folder + "/config.json", ModelConfigToJson(decoder.config(), name)).ok());
  EXPECT_TRUE(
      WriteFileAtomically(folder + "/model.safetensors",
                          SerializeTensors(decoder.NamedWeights(), type, {{"format", "pt"}}))
          .ok());
  const auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  auto loaded = Decoder::Load(**checkpoint, held);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *std::move(loaded);
}

at::Tensor DeltaOf(const std::shared_ptr<const Decoder>& base,
                   const std::shared_ptr<const LoraStack>& stack,
                   const std::vector<int32_t>& tokens) {
  PairEngine pair(base, 256);
  const int stream = pair.AddStream(stack);
  const auto delta = pair.Step({{stream, 0, tokens, static_cast<int32_t>(tokens.size())}});
  EXPECT_TRUE(delta.ok()) << delta.status();
  return *delta;
}

// Weights are widened exactly and rows stay fp32: a base that was published in bf16 loses nothing
// by being held so.
TEST(PairEngineBf16Test, HoldsABf16BaseExactly) {
  for (const std::string& name : DecoderVectors::LoraNames()) {
    const DecoderVectors vectors(name);
    const LoraAdapter adapter = vectors.Adapter();
    const LoraAdapter* const adapters[] = {&adapter};
    const auto stack =
        std::make_shared<const LoraStack>(FuseAdapters(vectors.decoder->config(), adapters));
    const std::vector<int32_t> tokens = vectors.Sequence(0);
    const at::Tensor wide =
        DeltaOf(Reload(*vectors.decoder, at::kBFloat16, at::kFloat), stack, tokens);
    const at::Tensor narrow =
        DeltaOf(Reload(*vectors.decoder, at::kBFloat16, at::kBFloat16), stack, tokens);
    EXPECT_GT(wide.abs().max().item<double>(), 0.1) << name;
    EXPECT_TRUE(at::equal(wide, narrow)) << name;
  }
}

// One that was published in fp32 is rounded, for reference and offset alike. That changes a few
// hundredths of what the offset moves: where it moves the ensemble by a quarter (M being the
// reference), total variation stays within 0.01 at every position.
TEST(PairEngineBf16Test, AnFp32BaseRoundedToBf16MovesTheEnsembleByLessThanAPercent) {
  ModelConfig config;
  config.vocab_size = 500;
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.num_layers = 4;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 32;
  config.max_positions = 64;
  const std::shared_ptr<const Decoder> base = Decoder::Init(config, 1);
  for (at::Tensor parameter : base->Parameters()) {
    if (parameter.dim() == 2) parameter.mul_(4);
  }
  LoraAdapter adapter = LoraAdapter::Init(config, {8, 16}, 2);
  at::manual_seed(3);
  for (auto& [name, tensor] : adapter.tensors()) {
    if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * 0.01;
  }
  const LoraAdapter* const adapters[] = {&adapter};
  const auto stack = std::make_shared<const LoraStack>(FuseAdapters(config, adapters));
  std::vector<int32_t> tokens;
  for (int i = 0; i < 60; ++i) tokens.push_back(i * 7 % 500);
  const at::Tensor ids =
      at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong)).unsqueeze(0);
  const at::Tensor model = base->Logits(base->Forward(ids, LoraStack()))[0];
  const auto law = [&](const at::Tensor& delta) { return at::softmax(model + delta, -1); };
  const auto variation = [](const at::Tensor& p, const at::Tensor& q) {
    return (p - q).abs().sum(-1).max().item<double>() / 2;
  };
  const at::Tensor wide = law(DeltaOf(base, stack, tokens));
  const at::Tensor narrow = law(DeltaOf(Reload(*base, at::kFloat, at::kBFloat16), stack, tokens));
  EXPECT_GT(variation(wide, at::softmax(model, -1)), 0.1);
  EXPECT_LE(variation(wide, narrow), 0.01);
  EXPECT_GT(variation(wide, narrow), 0);
}

TEST_F(PairEngineTest, NoStepsGiveNoRows) {
  PairEngine pair(vectors_.decoder, 64);
  EXPECT_EQ(Step(pair, {}).size(0), 0);
}

}  // namespace
}  // namespace unlearn
