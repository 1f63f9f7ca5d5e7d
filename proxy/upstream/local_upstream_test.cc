#include "proxy/upstream/local_upstream.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

std::vector<int32_t> RandomTokens(int count, uint64_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = random() % 300;
  return tokens;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // NaN counts
  }
  return largest;
}

class LocalUpstreamTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = absl::StrCat(testing::TempDir(), "/", name, "/tiny");
    ASSERT_TRUE(WriteTinyModel(folder_).ok());
  }

  std::unique_ptr<LocalUpstream> Open(int64_t kv_cache_tokens = 0) {
    UpstreamOptions options;
    options.kv_cache_tokens = kv_cache_tokens;
    absl::StatusOr<std::unique_ptr<LocalUpstream>> upstream = LocalUpstream::Open(folder_, options);
    EXPECT_TRUE(upstream.ok()) << upstream.status();
    return *std::move(upstream);
  }

  std::unique_ptr<LocalUpstream> OpenWithChunk(int64_t chunk) {
    LocalUpstreamOptions options;
    options.prefill_chunk = chunk;
    return LocalUpstream::Create(LoadDecoder(), UpstreamInfo(), options).value();
  }

  std::shared_ptr<const Decoder> LoadDecoder() {
    return Decoder::Load(*Checkpoint::Open(folder_).value(), at::kFloat).value();
  }

  // [tokens, vocab] of the training forward: another implementation of the same function.
  std::vector<float> Expected(const std::vector<int32_t>& tokens) {
    const std::shared_ptr<const Decoder> decoder = LoadDecoder();
    const at::Tensor ids = at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong));
    const at::Tensor logits = decoder->Logits(decoder->Forward(ids.unsqueeze(0), LoraStack()));
    const at::Tensor flat = logits.contiguous().view({-1});
    return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  }

  std::string folder_;
};

std::vector<float> All(UpstreamSession& session, int base, const std::vector<int32_t>& tokens) {
  absl::StatusOr<UpstreamLogits> logits = StepAndWait(session, {base, tokens, Positions::kAll});
  EXPECT_TRUE(logits.ok()) << logits.status();
  if (!logits.ok()) return {};
  EXPECT_EQ(logits->rows, tokens.size());
  return logits->logits;
}

TEST_F(LocalUpstreamTest, InfoDescribesTheFolder) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const UpstreamInfo& info = upstream->info();
  EXPECT_EQ(info.kind, "local");
  EXPECT_EQ(info.model_id, "tiny");
  EXPECT_EQ(info.vocab_size, 300);
  EXPECT_EQ(info.max_context, 256);
  EXPECT_EQ(info.eos_token_ids, std::vector<int32_t>{256});
  EXPECT_EQ(info.weights_fingerprint, Checkpoint::Open(folder_).value()->Fingerprint());
  EXPECT_EQ(info.tokenizer_fingerprint.size(), 64);
  EXPECT_EQ(upstream->Probe()->weights_fingerprint, info.weights_fingerprint);
  EXPECT_EQ(upstream->total_tokens(), 64 * 256);
}

TEST_F(LocalUpstreamTest, LogitsAreTheDecoders) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::vector<int32_t> tokens = RandomTokens(100, 1);
  const std::vector<float> expected = Expected(tokens);
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  EXPECT_LT(LargestDifference(All(*session, 0, tokens), expected), 1e-4);
  // Token by token, only the last row each time.
  const std::unique_ptr<UpstreamSession> stepwise = upstream->NewSession().value();
  for (int i = 0; i < tokens.size(); ++i) {
    const UpstreamLogits last = StepAndWait(*stepwise, {i, {tokens[i]}, Positions::kLast}).value();
    ASSERT_EQ(last.rows, 1);
    const std::vector<float> row(expected.begin() + i * 300, expected.begin() + (i + 1) * 300);
    ASSERT_LT(LargestDifference(last.logits, row), 1e-4) << i;
  }
}

TEST_F(LocalUpstreamTest, ChunkedPromptEqualsWhole) {
  const std::vector<int32_t> tokens = RandomTokens(250, 2);
  const std::unique_ptr<LocalUpstream> whole = OpenWithChunk(256);
  const std::unique_ptr<UpstreamSession> whole_session = whole->NewSession().value();
  const std::vector<float> expected = All(*whole_session, 0, tokens);
  for (const int chunk : {1, 33, 64}) {
    const std::unique_ptr<LocalUpstream> chunked = OpenWithChunk(chunk);
    const std::unique_ptr<UpstreamSession> session = chunked->NewSession().value();
    EXPECT_LT(LargestDifference(All(*session, 0, tokens), expected), 1e-4) << chunk;
    const UpstreamLogits last = StepAndWait(*session, {0, tokens, Positions::kLast}).value();
    EXPECT_LT(
        LargestDifference(last.logits, std::vector<float>(expected.end() - 300, expected.end())),
        1e-4);
  }
}

TEST_F(LocalUpstreamTest, RollbackEqualsAFreshSession) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  const std::vector<int32_t> first = RandomTokens(60, 3);
  const std::vector<int32_t> second = RandomTokens(40, 4);
  All(*session, 0, first);
  for (const int base : {59, 32, 17, 1, 0}) {
    std::vector<int32_t> joined(first.begin(), first.begin() + base);
    joined.insert(joined.end(), second.begin(), second.end());
    const std::unique_ptr<UpstreamSession> fresh = upstream->NewSession().value();
    std::vector<float> expected = All(*fresh, 0, joined);
    expected.erase(expected.begin(), expected.begin() + base * 300);
    EXPECT_LT(LargestDifference(All(*session, base, second), expected), 1e-4) << base;
    All(*session, base, {first.begin() + base, first.end()});
  }
}

TEST_F(LocalUpstreamTest, PositionsNoneOnlyExtends) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::vector<int32_t> tokens = RandomTokens(40, 5);
  const std::vector<float> expected = Expected(tokens);
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  const std::vector<int32_t> prompt(tokens.begin(), tokens.begin() + 30);
  const UpstreamLogits none = StepAndWait(*session, {0, prompt, Positions::kNone}).value();
  EXPECT_EQ(none.rows, 0);
  EXPECT_TRUE(none.logits.empty());
  EXPECT_LT(LargestDifference(All(*session, 30, {tokens.begin() + 30, tokens.end()}),
                              {expected.begin() + 30 * 300, expected.end()}),
            1e-4);
  // A rollback alone.
  EXPECT_TRUE(StepAndWait(*session, {10, {}, Positions::kNone}).ok());
  EXPECT_EQ(StepAndWait(*session, {11, {1}, Positions::kLast}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(LocalUpstreamTest, StepsOfASessionAreAnsweredInOrder) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::vector<int32_t> tokens = RandomTokens(120, 6);
  const std::vector<float> expected = Expected(tokens);
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  std::vector<int> order;
  std::vector<float> joined;
  absl::BlockingCounter left(12);
  for (int i = 0; i < 12; ++i) {
    // A long step first, so that the others wait behind it.
    const int begin = i == 0 ? 0 : 54 + 6 * (i - 1);
    const int end = 54 + 6 * i;
    session->Step({begin, {tokens.begin() + begin, tokens.begin() + end}, Positions::kAll},
                  [&, i](absl::StatusOr<UpstreamLogits> logits) {
                    ASSERT_TRUE(logits.ok());
                    order.push_back(i);
                    joined.insert(joined.end(), logits->logits.begin(), logits->logits.end());
                    left.DecrementCount();
                  });
  }
  left.Wait();
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_LT(LargestDifference(joined, expected), 1e-4);
}

TEST_F(LocalUpstreamTest, ManySessionsEqualSingleOnes) {
  const std::unique_ptr<LocalUpstream> upstream = OpenWithChunk(48);
  constexpr int kSessions = 20;
  std::vector<std::vector<float>> expected(kSessions);
  for (int s = 0; s < kSessions; ++s) expected[s] = Expected(RandomTokens(60 + 5 * s, 100 + s));
  std::vector<double> differences(kSessions, INFINITY);
  std::vector<std::thread> threads;
  for (int s = 0; s < kSessions; ++s) {
    threads.emplace_back([&, s] {
      const std::vector<int32_t> tokens = RandomTokens(60 + 5 * s, 100 + s);
      const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
      const int prompt = 40 + s;
      std::vector<float> joined = All(*session, 0, {tokens.begin(), tokens.begin() + prompt});
      for (int i = prompt; i < tokens.size(); ++i) {
        const std::vector<float> row = All(*session, i, {tokens[i]});
        joined.insert(joined.end(), row.begin(), row.end());
      }
      differences[s] = LargestDifference(joined, expected[s]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const double difference : differences) EXPECT_LT(difference, 1e-4);
}

TEST_F(LocalUpstreamTest, RefusedStepsChangeNothing) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  const std::vector<int32_t> tokens = RandomTokens(20, 7);
  All(*session, 0, {tokens.begin(), tokens.begin() + 10});
  const UpstreamStep bad[] = {
      {-1, {1}, Positions::kLast},     {11, {1}, Positions::kLast},
      {5, {1, 300}, Positions::kLast}, {5, {-1}, Positions::kLast},
      {5, {}, Positions::kLast},       {10, std::vector<int32_t>(247, 1), Positions::kNone},
  };
  for (const UpstreamStep& step : bad) {
    const absl::Status status = StepAndWait(*session, step).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
  EXPECT_LT(LargestDifference(All(*session, 10, {tokens.begin() + 10, tokens.end()}),
                              [&] {
                                std::vector<float> all = Expected(tokens);
                                all.erase(all.begin(), all.begin() + 10 * 300);
                                return all;
                              }()),
            1e-4);
  // The context may be filled to the last token.
  EXPECT_TRUE(StepAndWait(*session, {10, std::vector<int32_t>(246, 1), Positions::kLast}).ok());
}

TEST_F(LocalUpstreamTest, PagesRunOutAndComeBack) {
  const std::unique_ptr<LocalUpstream> upstream = Open(/*kv_cache_tokens=*/64);
  std::unique_ptr<UpstreamSession> first = upstream->NewSession().value();
  std::unique_ptr<UpstreamSession> second = upstream->NewSession().value();
  EXPECT_TRUE(StepAndWait(*first, {0, RandomTokens(48, 8), Positions::kLast}).ok());
  EXPECT_TRUE(StepAndWait(*second, {0, RandomTokens(10, 9), Positions::kLast}).ok());
  const absl::Status full =
      StepAndWait(*second, {10, RandomTokens(10, 9), Positions::kLast}).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_NE(full.message().find("--kv_cache_tokens"), std::string::npos);
  // Both sessions go on where there is room.
  EXPECT_TRUE(StepAndWait(*second, {10, {1, 2}, Positions::kLast}).ok());
  EXPECT_TRUE(StepAndWait(*first, {16, {5}, Positions::kLast}).ok());
  EXPECT_TRUE(StepAndWait(*second, {12, RandomTokens(20, 9), Positions::kLast}).ok());
  EXPECT_EQ(StepAndWait(*first, {17, RandomTokens(40, 1), Positions::kLast}).status().code(),
            absl::StatusCode::kResourceExhausted);
  second.reset();
  // The release is queued before the step, so the pages are there.
  EXPECT_TRUE(StepAndWait(*first, {17, RandomTokens(40, 1), Positions::kLast}).ok());
}

TEST_F(LocalUpstreamTest, DestroyedSessionsAnswerAndFreeTheirPages) {
  const std::unique_ptr<LocalUpstream> upstream = OpenWithChunk(1);
  std::atomic<int> answers = 0;
  std::atomic<int> cancelled = 0;
  for (int round = 0; round < 50; ++round) {
    std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
    for (int i = 0; i < 3; ++i) {
      session->Step({0, RandomTokens(200, round), Positions::kLast},
                    [&](absl::StatusOr<UpstreamLogits> logits) {
                      ++answers;
                      if (absl::IsCancelled(logits.status())) ++cancelled;
                    });
    }
    session.reset();
    ASSERT_EQ(answers, 3 * (round + 1));
  }
  EXPECT_GT(cancelled, 0);
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  EXPECT_EQ(upstream->free_tokens(), upstream->total_tokens() - 16);
}

TEST_F(LocalUpstreamTest, CallbacksMayStepAgain) {
  const std::unique_ptr<LocalUpstream> upstream = Open();
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  absl::Notification finished;
  int length = 0;
  std::function<void(absl::StatusOr<UpstreamLogits>)> next =
      [&](absl::StatusOr<UpstreamLogits> logits) {
        if (!logits.ok() || ++length == 100) {
          finished.Notify();
          return;
        }
        const auto& row = logits->logits;
        const int32_t best = std::max_element(row.begin(), row.end()) - row.begin();
        session->Step({length, {best}, Positions::kLast}, next);
      };
  session->Step({0, {256}, Positions::kLast}, next);
  finished.WaitForNotification();
  EXPECT_EQ(length, 100);
}

TEST_F(LocalUpstreamTest, ClosingTheUpstreamCancelsAndSessionsMayOutliveIt) {
  std::unique_ptr<LocalUpstream> upstream = OpenWithChunk(1);
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  const std::unique_ptr<UpstreamSession> idle = upstream->NewSession().value();
  std::promise<absl::Status> answered;
  session->Step(
      {0, RandomTokens(250, 1), Positions::kLast},
      [&](absl::StatusOr<UpstreamLogits> logits) { answered.set_value(logits.status()); });
  upstream.reset();
  const absl::Status status = answered.get_future().get();
  EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::IsCancelled(StepAndWait(*idle, {0, {1}, Positions::kLast}).status()));
}

TEST_F(LocalUpstreamTest, SessionsMayComeAndGoFromManyThreads) {
  const std::unique_ptr<LocalUpstream> upstream = Open(/*kv_cache_tokens=*/512);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int round = 0; round < 40; ++round) {
        std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
        std::atomic<int> answers = 0;
        const int steps = random() % 4;
        for (int i = 0; i < steps; ++i) {
          session->Step({0, RandomTokens(1 + random() % 100, t), Positions::kLast},
                        [&](absl::StatusOr<UpstreamLogits>) { ++answers; });
        }
        session.reset();
        EXPECT_EQ(answers, steps);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  EXPECT_EQ(upstream->free_tokens(), 512 - 16);
}

TEST_F(LocalUpstreamTest, Bf16IsCloseAndOnlyOnRequest) {
  UpstreamOptions options;
  options.dtype = "bf16";
  const std::unique_ptr<LocalUpstream> upstream = LocalUpstream::Open(folder_, options).value();
  const std::unique_ptr<UpstreamSession> session = upstream->NewSession().value();
  const std::vector<int32_t> tokens = RandomTokens(30, 1);
  const double difference = LargestDifference(All(*session, 0, tokens), Expected(tokens));
  EXPECT_GT(difference, 1e-4);
  EXPECT_LT(difference, 0.3);
}

TEST_F(LocalUpstreamTest, BadFoldersAndOptionsAreNamed) {
  const auto open = [&](const UpstreamOptions& options) {
    return LocalUpstream::Open(folder_, options).status();
  };
  UpstreamOptions options;
  options.dtype = "int4";
  EXPECT_NE(open(options).message().find("--dtype: int4"), std::string::npos);
  options = {};
  options.kv_cache_tokens = -5;
  EXPECT_NE(open(options).message().find("--kv_cache_tokens: -5"), std::string::npos);
  options.kv_cache_tokens = INT64_MAX;
  EXPECT_EQ(open(options).code(), absl::StatusCode::kInvalidArgument);
  const absl::Status missing = LocalUpstream::Open(folder_ + "/none", {}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(missing.message().find("none/config.json"), std::string::npos) << missing;
  // A tokenizer of a model with more tokens.
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/tokenizer.json", TinyTokenizerJson(301)).ok());
  const absl::Status mismatched = open({});
  EXPECT_EQ(mismatched.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(mismatched.message().find("tokenizer.json: has token ids up to 300"), std::string::npos)
      << mismatched;
}

TEST_F(LocalUpstreamTest, PaddedVocabularyIsAccepted) {
  TinyModelOptions options;
  options.padded_rows = 20;
  ASSERT_TRUE(WriteTinyModel(folder_, options).ok());
  EXPECT_EQ(Open()->info().vocab_size, 300);
}

}  // namespace
}  // namespace unlearn
