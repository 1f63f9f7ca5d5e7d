#include "trainer/train/ensemble_decoder.h"

#include "trainer/train/tiny_training.h"

namespace unlearn {
namespace {

class EnsembleDecoderTest : public TinyTrainingTest {
 protected:
  static std::vector<std::vector<int32_t>> Prompts(int count) {
    std::vector<std::vector<int32_t>> prompts(count);
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j <= i * 5 % 17; ++j) prompts[i].push_back((i * 13 + j * j) % 256);
    }
    return prompts;
  }

  std::vector<std::vector<int32_t>> Decode(std::shared_ptr<const LoraStack> stack,
                                           const std::vector<std::vector<int32_t>>& prompts,
                                           const DecodeOptions& options) {
    const auto completions = DecodeEnsemble(*counted_, base_, stack, prompts, options, Never);
    EXPECT_TRUE(completions.ok()) << completions.status();
    return completions.value_or(std::vector<std::vector<int32_t>>());
  }

  // Greedy continuation by whole forwards.
  std::vector<int32_t> Expected(const LoraStack& stack, std::vector<int32_t> tokens, double alpha,
                                int count) {
    const auto model =
        Decoder::Load(*Checkpoint::Open(root_ + "/model").value(), at::kFloat).value();
    std::vector<int32_t> completion;
    for (int i = 0; i < count; ++i) {
      const at::Tensor ids =
          at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong)).unsqueeze(0);
      const at::Tensor rows =
          model->Logits(model->Forward(ids, LoraStack()))[0][-1].narrow(0, 0, kVocab) +
          alpha * (base_->Logits(base_->Forward(ids, stack)) -
                   base_->Logits(base_->Forward(ids, LoraStack())))[0][-1];
      completion.push_back(static_cast<int32_t>(rows.argmax().item<int64_t>()));
      tokens.push_back(completion.back());
    }
    return completion;
  }
};

TEST_F(EnsembleDecoderTest, EqualsTheNaiveLoopWhateverSharesTheBatch) {
  const auto prompts = Prompts(7);
  const auto stack = Stack(3);
  DecodeOptions options;
  options.alpha = 1.5;
  options.max_tokens = 12;
  const auto together = Decode(stack, prompts, options);
  options.at_once = 2;
  EXPECT_EQ(Decode(stack, prompts, options), together);
  const auto of_m = Decode(std::make_shared<const LoraStack>(), prompts, options);
  EXPECT_NE(of_m, together);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(together[i], Expected(*stack, prompts[i], 1.5, 12)) << i;
    EXPECT_EQ(of_m[i], Expected(LoraStack(), prompts[i], 1.5, 12)) << i;
  }
}

TEST_F(EnsembleDecoderTest, EndsAtAnEndTokenWhichIsLeftOut) {
  DecodeOptions options;
  options.max_tokens = 12;
  const auto whole = Decode(Stack(3), Prompts(3), options);
  options.end_ids = {1000, whole[1][5]};
  const auto ended = Decode(Stack(3), Prompts(3), options);
  for (int i = 0; i < 3; ++i) {
    const auto end = std::find(whole[i].begin(), whole[i].end(), whole[1][5]);
    EXPECT_EQ(ended[i], std::vector<int32_t>(whole[i].begin(), end));
  }
}

TEST_F(EnsembleDecoderTest, EndsWithTheContext) {
  DecodeOptions options;
  options.max_tokens = 48;
  const std::vector<std::vector<int32_t>> prompts = {std::vector<int32_t>(240, 5), {1, 2, 3}};
  const auto completions = Decode(Stack(3), prompts, options);
  EXPECT_LE(completions[0].size(), 16u);
  EXPECT_GE(completions[0].size(), 14u);
  EXPECT_EQ(completions[1].size(), 48u);
}

// M tells 4 of its tokens: what they settle is as whole rows have it, and for the rest M tells
// more.
TEST_F(EnsembleDecoderTest, TopsGiveTheTokensOfWholeRows) {
  const auto prompts = Prompts(7);
  DecodeOptions options;
  options.alpha = 1.5;
  options.max_tokens = 12;
  options.tokens = kVocab;
  const auto whole = Decode(Stack(3), prompts, options);
  TellTops(4, kModelVocab);
  TopFigures figures;
  const auto tops = DecodeEnsemble(*counted_, base_, Stack(3), prompts, options, Never, &figures);
  ASSERT_TRUE(tops.ok()) << tops.status();
  EXPECT_EQ(*tops, whole);
  EXPECT_GT(tops_->asked_for_more, 0);
  EXPECT_EQ(figures.positions, 7 * 12);
  EXPECT_EQ(figures.untold, 0);
  EXPECT_GT(figures.most_mass, 0.1) << "4 of 300 tokens of a random M";
  options.at_once = 2;
  EXPECT_EQ(Decode(Stack(3), prompts, options), whole);
}

TEST_F(EnsembleDecoderTest, WhereMTellsNoMoreTheEvenTailStandsInAndIsCounted) {
  const auto prompts = Prompts(7);
  DecodeOptions options;
  options.max_tokens = 12;
  TellTops(2, 8);
  TopFigures figures;
  const auto tops = DecodeEnsemble(*counted_, base_, Stack(3), prompts, options, Never, &figures);
  ASSERT_TRUE(tops.ok()) << tops.status();
  EXPECT_GT(figures.untold, 0);
  EXPECT_LE(figures.untold, figures.positions);
  // Without an offset the most likely token is always told.
  TopFigures of_m;
  const auto nothing = std::make_shared<const LoraStack>();
  ASSERT_TRUE(DecodeEnsemble(*counted_, base_, nothing, prompts, options, Never, &of_m).ok());
  EXPECT_EQ(of_m.untold, 0);
}

TEST_F(EnsembleDecoderTest, TopsThatAreNoLawAreErrors) {
  TellTops(4, 4);
  counted_->change_answer = [](absl::StatusOr<UpstreamLogits>& answer) { answer->tops.clear(); };
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  EXPECT_EQ(DecodeEnsemble(*counted_, base_, Stack(3), Prompts(3), {}, Never).status().code(),
            kFailed);
  counted_->change_answer = [](absl::StatusOr<UpstreamLogits>& answer) {
    answer->tops[0].logprobs[0] = 1;
  };
  EXPECT_EQ(DecodeEnsemble(*counted_, base_, Stack(3), Prompts(3), {}, Never).status().code(),
            kFailed);
}

TEST_F(EnsembleDecoderTest, ErrorsAndStopping) {
  EXPECT_EQ(DecodeEnsemble(*counted_, base_, Stack(3), Prompts(3), {}, [] { return true; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(
      DecodeEnsemble(*counted_, base_, Stack(3), {{1}, {2, kVocab}}, {}, Never).status().code(),
      absl::StatusCode::kInvalidArgument);
  counted_->change_answer = [](absl::StatusOr<UpstreamLogits>& answer) { answer->logits[7] = NAN; };
  EXPECT_EQ(DecodeEnsemble(*counted_, base_, Stack(3), Prompts(3), {}, Never).status().code(),
            absl::StatusCode::kFailedPrecondition);
  counted_->refuse = absl::UnavailableError("M is gone");
  EXPECT_EQ(DecodeEnsemble(*counted_, base_, Stack(3), Prompts(3), {}, Never).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(DecodeEnsemble(*counted_, base_, Stack(3), {}, {}, Never)->empty());
}

}  // namespace
}  // namespace unlearn
