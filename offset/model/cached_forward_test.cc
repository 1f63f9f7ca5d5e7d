#include "offset/model/cached_forward.h"

#include "offset/model/decoder_vectors.h"

namespace unlearn {
namespace {

constexpr double kTolerance = 1e-4;

class CachedForwardTest : public testing::TestWithParam<std::string> {
 protected:
  // Logits of the batch's rows.
  at::Tensor Run(const TokenBatch& batch, KvCache& cache) {
    const auto hidden = ForwardTokens(*vectors_.decoder, batch, cache);
    EXPECT_TRUE(hidden.ok()) << hidden.status();
    return vectors_.decoder->Logits(*hidden);
  }

  // Positions [begin, end) of the vectors' sequence `index` as rows of cache sequence `sequence`.
  void Add(TokenBatch& batch, int64_t index, int sequence, int32_t begin, int32_t end) {
    const std::vector<int32_t> tokens = vectors_.Sequence(index);
    for (int32_t position = begin; position < end; ++position) {
      batch.Add(tokens[position], sequence, position);
    }
  }

  at::Tensor Expected(int64_t index, int32_t begin, int32_t end) {
    return expected_[index].narrow(0, begin, end - begin);
  }

  const DecoderVectors vectors_{GetParam()};
  const at::Tensor expected_ = vectors_.Expected("logits");
  const int32_t length_ = static_cast<int32_t>(expected_.size(1));
};

TEST_P(CachedForwardTest, WholePrefill) {
  KvCache cache(vectors_.decoder->config(), 48);
  TokenBatch batch;
  Add(batch, 0, cache.AddSequence(), 0, length_);
  EXPECT_LE(LargestDifference(Run(batch, cache), expected_[0]), kTolerance);
}

TEST_P(CachedForwardTest, TokenByToken) {
  KvCache cache(vectors_.decoder->config(), 48);
  const int sequence = cache.AddSequence();
  for (int32_t position = 0; position < length_; ++position) {
    TokenBatch batch;
    Add(batch, 1, sequence, position, position + 1);
    EXPECT_LE(LargestDifference(Run(batch, cache), Expected(1, position, position + 1)), kTolerance)
        << position;
  }
}

TEST_P(CachedForwardTest, PrefillInChunks) {
  for (const int32_t chunk : {1, 5, 15, 16, 17, 36}) {
    KvCache cache(vectors_.decoder->config(), 48);
    const int sequence = cache.AddSequence();
    for (int32_t begin = 0; begin < length_; begin += chunk) {
      const int32_t end = std::min(length_, begin + chunk);
      TokenBatch batch;
      Add(batch, 0, sequence, begin, end);
      EXPECT_LE(LargestDifference(Run(batch, cache), Expected(0, begin, end)), kTolerance)
          << begin << " in chunks of " << chunk;
    }
  }
}

// Prefills, single tokens and a rollback of several sequences in one batch after another, on pages
// that another sequence left behind.
TEST_P(CachedForwardTest, InterleavedSequences) {
  KvCache cache(vectors_.decoder->config(), 3 * 48);
  const int gone = cache.AddSequence();
  TokenBatch left_behind;
  Add(left_behind, 1, gone, 0, length_);
  Run(left_behind, cache);
  cache.RemoveSequence(gone);

  const int a = cache.AddSequence();
  const int b = cache.AddSequence();
  const int c = cache.AddSequence();
  struct Part {
    int64_t index;
    int sequence;
    int32_t begin, end;
  };
  const std::vector<std::vector<Part>> passes = {
      {{0, a, 0, 9}, {1, b, 0, 20}},
      {{1, b, 20, 21}, {0, c, 0, 3}, {0, a, 9, 10}},
      {{0, a, 10, 11}, {0, c, 3, 19}, {1, b, 21, 30}},
      {{1, b, 12, 13}, {0, c, 19, 20}},  // b is rolled back
      {{0, a, 11, length_}, {1, b, 13, length_}, {0, c, 17, length_}}};
  for (const std::vector<Part>& parts : passes) {
    TokenBatch batch;
    std::vector<at::Tensor> expected;
    for (const Part& part : parts) {
      Add(batch, part.index, part.sequence, part.begin, part.end);
      expected.push_back(Expected(part.index, part.begin, part.end));
    }
    EXPECT_LE(LargestDifference(Run(batch, cache), at::cat(expected, 0)), kTolerance);
  }
}

// The same request gives the same tokens whatever shares the batch: not nearly, bit for bit.
TEST_P(CachedForwardTest, ARowDoesNotFeelWhatSharesItsBatch) {
  KvCache cache(vectors_.decoder->config(), 4 * 48);
  TokenBatch alone;
  Add(alone, 0, cache.AddSequence(), 0, length_);
  const at::Tensor expected = Run(alone, cache);
  TokenBatch shared;
  const int other = cache.AddSequence();
  const int same = cache.AddSequence();
  Add(shared, 1, other, 0, 5);
  Add(shared, 0, same, 0, length_ - 1);
  Add(shared, 1, other, 5, 11);
  EXPECT_TRUE(
      at::equal(Run(shared, cache).narrow(0, 5, length_ - 1), expected.narrow(0, 0, length_ - 1)));
  TokenBatch single;
  Add(single, 0, same, length_ - 1, length_);
  EXPECT_TRUE(at::equal(Run(single, cache)[0], expected[length_ - 1]));
}

INSTANTIATE_TEST_SUITE_P(Cases, CachedForwardTest, testing::ValuesIn(DecoderVectors::Names()),
                         [](const auto& info) { return info.param; });

class LeftPaddedTest : public testing::TestWithParam<std::string> {};

// What others pad to a rectangle is one ragged batch here: prefill, then steps of all sequences.
TEST_P(LeftPaddedTest, RaggedRowsAreTheRowsThatAreNoPadding) {
  const DecoderVectors vectors(GetParam());
  const DecoderVectors::Padded padded = vectors.LeftPadded();
  const int64_t sequences = padded.tokens.size(0);
  const int64_t width = padded.tokens.size(1);
  KvCache cache(vectors.decoder->config(), sequences * 48);
  std::vector<int> ids;
  std::vector<at::Tensor> expected;
  TokenBatch prefill;
  for (int64_t row = 0; row < sequences; ++row) {
    const int64_t length = padded.lengths[row].item<int64_t>();
    ids.push_back(cache.AddSequence());
    for (int64_t at = 0; at < length; ++at) {
      prefill.Add(padded.tokens[row][width - length + at].item<int64_t>(), ids.back(), at);
    }
    expected.push_back(padded.logits[row].narrow(0, width - length, length));
  }
  ASSERT_LT(prefill.size(), sequences * width);  // some of it is padding
  const auto hidden = ForwardTokens(*vectors.decoder, prefill, cache);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  EXPECT_LE(LargestDifference(vectors.decoder->Logits(*hidden), at::cat(expected, 0)), kTolerance);
  for (int64_t step = 0; step < padded.steps.size(1); ++step) {
    TokenBatch batch;
    for (int64_t row = 0; row < sequences; ++row) {
      batch.Add(padded.steps[row][step].item<int64_t>(), ids[row],
                padded.lengths[row].item<int64_t>() + step);
    }
    const auto stepped = ForwardTokens(*vectors.decoder, batch, cache);
    ASSERT_TRUE(stepped.ok()) << stepped.status();
    EXPECT_LE(
        LargestDifference(vectors.decoder->Logits(*stepped), padded.step_logits.select(1, step)),
        kTolerance)
        << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LeftPaddedTest, testing::ValuesIn(DecoderVectors::PaddedNames()),
                         [](const auto& info) { return info.param; });

TEST(CachedForwardLoraTest, RangesRunTheirOwnAdapters) {
  for (const std::string& name : DecoderVectors::LoraNames()) {
    const DecoderVectors vectors(name);
    const ModelConfig& config = vectors.decoder->config();
    const LoraAdapter adapter = vectors.Adapter();
    LoraAdapter other = LoraAdapter::Init(config, {2, 4}, 9);
    for (auto& [key, tensor] : other.tensors()) tensor = tensor + 0.1;
    const LoraAdapter* const one[] = {&adapter};
    const LoraAdapter* const both[] = {&adapter, &other};
    const LoraStack first = FuseAdapters(config, one);
    const LoraStack second = FuseAdapters(config, both);
    const std::vector<int32_t> tokens = vectors.Sequence(0);
    const int32_t length = static_cast<int32_t>(tokens.size());
    KvCache cache(config, 3 * 48);
    // In two passes: LoRA changes the keys and values that the second one reads.
    const int bare_rows = cache.AddSequence();
    const int first_rows = cache.AddSequence();
    const int second_rows = cache.AddSequence();
    std::vector<at::Tensor> bare, with_first, with_second;
    for (const auto& [begin, end] : {std::pair<int32_t, int32_t>{0, 21}, {21, length}}) {
      TokenBatch batch;
      const int64_t count = end - begin;
      for (const int sequence : {first_rows, bare_rows, second_rows}) {
        for (int32_t at = begin; at < end; ++at) batch.Add(tokens[at], sequence, at);
      }
      batch.loras = {{0, count, &first}, {2 * count, 3 * count, &second}};
      const auto hidden = ForwardTokens(*vectors.decoder, batch, cache);
      ASSERT_TRUE(hidden.ok()) << hidden.status();
      const at::Tensor logits = vectors.decoder->Logits(*hidden);
      with_first.push_back(logits.narrow(0, 0, count));
      bare.push_back(logits.narrow(0, count, count));
      with_second.push_back(logits.narrow(0, 2 * count, count));
    }
    EXPECT_LE(LargestDifference(at::cat(bare, 0), vectors.Expected("logits")[0]), kTolerance);
    EXPECT_LE(LargestDifference(at::cat(with_first, 0), vectors.Expected("lora_logits")[0]),
              kTolerance);
    const at::Tensor expected =
        vectors.decoder->Logits(vectors.decoder->Forward(vectors.tokens, second))[0];
    EXPECT_GT(LargestDifference(expected, vectors.Expected("lora_logits")[0]), 0.1);
    EXPECT_LE(LargestDifference(at::cat(with_second, 0), expected), kTolerance);
  }
}

TEST(CachedForwardErrorTest, RowsOutsideTheModelAreRefusedBeforeAnythingRuns) {
  const DecoderVectors vectors("grouped_new");
  const ModelConfig& config = vectors.decoder->config();
  KvCache cache(config, 1024);
  const int sequence = cache.AddSequence();
  struct Row {
    int32_t token, position;
  };
  for (const Row& row : {Row{-1, 1}, Row{64, 1}, Row{3, -1}, Row{3, 48}}) {
    TokenBatch batch;
    batch.Add(1, sequence, 0);
    batch.Add(row.token, sequence, row.position);
    EXPECT_EQ(ForwardTokens(*vectors.decoder, batch, cache).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(cache.free_tokens(), cache.total_tokens());
  }
}

TEST(CachedForwardErrorTest, AFullCacheLeavesEverySequenceAsItWas) {
  const DecoderVectors vectors("grouped_new");
  KvCache cache(vectors.decoder->config(), 4 * KvCache::kPageTokens);
  const int first = cache.AddSequence();
  const int second = cache.AddSequence();
  const std::vector<int32_t> tokens = vectors.Sequence(0);
  TokenBatch start;
  for (int32_t at = 0; at < 30; ++at) start.Add(tokens[at], first, at);
  for (int32_t at = 0; at < 10; ++at) start.Add(tokens[at], second, at);
  ASSERT_TRUE(ForwardTokens(*vectors.decoder, start, cache).ok());
  // The first sequence would fit, rolled back, the second does not.
  TokenBatch too_much;
  for (int32_t at = 4; at < 35; ++at) too_much.Add(tokens[36 - at], first, at);
  for (int32_t at = 10; at < 35; ++at) too_much.Add(tokens[at], second, at);
  EXPECT_EQ(ForwardTokens(*vectors.decoder, too_much, cache).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache.reserved(first), 2 * KvCache::kPageTokens);
  EXPECT_EQ(cache.reserved(second), KvCache::kPageTokens);
  TokenBatch more;
  more.Add(tokens[30], first, 30);
  more.Add(tokens[10], second, 10);
  const auto hidden = ForwardTokens(*vectors.decoder, more, cache);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  const at::Tensor expected = vectors.Expected("logits")[0];
  const at::Tensor logits = vectors.decoder->Logits(*hidden);
  EXPECT_LE(LargestDifference(logits[0], expected[30]), kTolerance);
  EXPECT_LE(LargestDifference(logits[1], expected[10]), kTolerance);
}

TEST(CachedForwardErrorTest, AnEmptyBatchIsNoRows) {
  const DecoderVectors vectors("grouped_new");
  KvCache cache(vectors.decoder->config(), 16);
  const auto hidden = ForwardTokens(*vectors.decoder, TokenBatch(), cache);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  EXPECT_EQ(hidden->size(0), 0);
}

}  // namespace
}  // namespace unlearn
