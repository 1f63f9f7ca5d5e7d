#include <algorithm>
#include <cmath>
#include <vector>

#include "offset/combine/combiner.h"
#include "offset/combine/sampler.h"
#include "offset/cuda/device_kernels.h"
#include "offset/cuda/device_test_runtime.h"

namespace unlearn {
namespace {

class DrawTokensTest : public DeviceTest {
 protected:
  at::Tensor Random(at::IntArrayRef shape) {
    return at::randn(shape, generator_, at::TensorOptions(at::kFloat));
  }
  template <typename T>
  static const T* As(const at::Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
  }

  std::vector<DeviceDrawn> Draw(const at::Tensor& model, const at::Tensor& delta, int64_t tokens,
                                const std::vector<DeviceDraw>& draws) {
    const int64_t count = static_cast<int64_t>(draws.size());
    const int64_t parts = count * DrawChunks(tokens);
    const at::Tensor d_model = OnDevice(model), d_delta = OnDevice(delta),
                     d_draws = BytesOnDevice(draws);
    at::Tensor ensemble = Empty({count, tokens});
    const auto bytes = [&](size_t each, int64_t number) {
      return Empty({static_cast<int64_t>(each) * number}, at::kByte);
    };
    at::Tensor sums = bytes(sizeof(LogSum), parts), errors = bytes(sizeof(int32_t), parts),
               candidates = bytes(sizeof(Candidate), parts),
               drawn = bytes(sizeof(DeviceDrawn), count);
    DrawTokensArguments a;
    a.draws = As<DeviceDraw>(d_draws);
    a.count = count;
    a.tokens = tokens;
    a.model = As<float>(d_model);
    a.model_stride = model.size(1);
    a.delta = As<float>(d_delta);
    a.delta_stride = delta.size(1);
    a.ensemble = ensemble.mutable_data_ptr<float>();
    a.sums = static_cast<LogSum*>(sums.mutable_data_ptr());
    a.chunk_errors = static_cast<int32_t*>(errors.mutable_data_ptr());
    a.candidates = static_cast<Candidate*>(candidates.mutable_data_ptr());
    a.drawn = static_cast<DeviceDrawn*>(drawn.mutable_data_ptr());
    DrawTokens(stream(), a);
    const at::Tensor result = OnCpu(drawn);
    const auto* const first = As<DeviceDrawn>(result);
    return std::vector<DeviceDrawn>(first, first + count);
  }

  static DeviceDraw Request(const SamplingOptions& options, const NoiseKey& key, float alpha) {
    DeviceDraw draw = {};
    draw.key = {key.seed, key.sample, key.position};
    draw.inverse_temperature = options.temperature > 0 ? 1.0 / options.temperature : 0;
    draw.min_p_log = MinPFloor(0, options);
    draw.alpha = alpha;
    return draw;
  }
  at::Generator generator_ = at::detail::createCPUGenerator(5);
};

// The very tokens that the CPU draws, and their log-probs, for vocabularies around the sizes of
// blocks and chunks, at all temperatures, with min-p.
TEST_F(DrawTokensTest, AreThoseOfTheSampler) {
  int different_from_greedy = 0;
  for (const int64_t tokens : {1, 2, 63, 64, 65, 2047, 2048, 2049, 5000}) {
    const at::Tensor model = Random({3, tokens + 3}) * 4, delta = Random({2, tokens + 5}) * 2;
    for (int64_t i = 0; i < tokens; i += 7) model[0][tokens - 1 - i] = -INFINITY;
    if (tokens == 1) model[0][0] = 1;
    std::vector<DeviceDraw> draws;
    std::vector<SampledToken> expected;
    for (const float temperature : {0.0f, 0.01f, 0.7f, 1.0f, 3.0f, 100.0f}) {
      for (const float min_p : {0.0f, 0.05f, 1.0f}) {
        SamplingOptions options;
        options.temperature = temperature;
        options.min_p = min_p;
        const NoiseKey key = {draws.size() * 977 + static_cast<uint64_t>(tokens), 1,
                              static_cast<uint32_t>(draws.size())};
        DeviceDraw draw = Request(options, key, 1.25f);
        draw.model_row = static_cast<int32_t>(draws.size() % 3);
        draw.delta_row = static_cast<int32_t>(draws.size() % 2);
        draws.push_back(draw);
        std::vector<float> ensemble(tokens);
        ASSERT_TRUE(Combine({model[draw.model_row].data_ptr<float>(), static_cast<size_t>(tokens)},
                            {delta[draw.delta_row].data_ptr<float>(), static_cast<size_t>(tokens)},
                            1.25, absl::MakeSpan(ensemble))
                        .ok());
        expected.push_back(SampleToken(ensemble, options, key));
        different_from_greedy +=
            expected.back().id !=
            std::max_element(ensemble.begin(), ensemble.end()) - ensemble.begin();
      }
    }
    const std::vector<DeviceDrawn> drawn = Draw(model, delta, tokens, draws);
    for (size_t i = 0; i < draws.size(); ++i) {
      EXPECT_EQ(drawn[i].errors, 0);
      EXPECT_EQ(drawn[i].id, expected[i].id) << tokens << " " << i;
      EXPECT_NEAR(drawn[i].logprob, expected[i].logprob, 1e-5) << tokens << " " << i;
    }
  }
  EXPECT_GT(different_from_greedy, 30);
}

// Scores: of the first and last ids, around the sizes of chunks, of tokens that min-p would cut and
// that M excludes.
TEST_F(DrawTokensTest, ForcedTokensGetTheirLogprob) {
  for (const int64_t tokens : {1, 65, 2048, 2049, 5000}) {
    const at::Tensor model = Random({1, tokens}) * 4, delta = Random({1, tokens});
    if (tokens > 1) model[0][tokens / 2] = -INFINITY;
    std::vector<float> ensemble(tokens);
    ASSERT_TRUE(Combine({model.data_ptr<float>(), static_cast<size_t>(tokens)},
                        {delta.data_ptr<float>(), static_cast<size_t>(tokens)}, 1.25,
                        absl::MakeSpan(ensemble))
                    .ok());
    SamplingOptions options;
    options.min_p = 1;
    const std::vector<int64_t> ids = {0, tokens / 2, tokens - 1};
    std::vector<DeviceDraw> draws;
    for (const int64_t id : ids) {
      options.temperature = draws.size() == 1 ? 1.0f : 0.0f;
      draws.push_back(Request(options, {3, 0, 1}, 1.25f));
      draws.back().forced = static_cast<int32_t>(id);
    }
    const std::vector<DeviceDrawn> drawn = Draw(model, delta, tokens, draws);
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(drawn[i].errors, 0);
      EXPECT_EQ(drawn[i].id, ids[i]);
      const double expected = ensemble[ids[i]] - LogSumExp(ensemble);
      if (expected == -INFINITY) {
        EXPECT_EQ(drawn[i].logprob, -INFINITY);
      } else {
        EXPECT_NEAR(drawn[i].logprob, expected, 1e-5) << tokens << " " << ids[i];
      }
    }
  }
}

TEST_F(DrawTokensTest, TiesGoToTheLowerId) {
  const at::Tensor model = at::zeros({1, 5000}), delta = at::zeros({1, 5000});
  model[0][3000] = 5;
  model[0][70] = 5;
  model[0][4999] = 5;
  EXPECT_EQ(Draw(model, delta, 5000, {Request({}, {}, 1)})[0].id, 70);
}

TEST_F(DrawTokensTest, WhatIsNotANumberGivesNoToken) {
  const at::Tensor model = Random({4, 3000}), delta = Random({2, 3000});
  delta[1][2999] = NAN;
  model[1][2100] = INFINITY;
  model[2].fill_(-INFINITY);
  model[3][0] = NAN;
  SamplingOptions options;
  options.temperature = 1;
  std::vector<DeviceDraw> draws(7, Request(options, {1, 0, 0}, 1));
  draws[1].delta_row = 1;
  draws[2].model_row = 1;
  draws[3].model_row = 2;
  draws[4].model_row = 3;
  draws[5].alpha = 3e38f;
  draws[6].model_row = 1;
  draws[6].forced = 5;
  const std::vector<DeviceDrawn> drawn = Draw(model, delta, 3000, draws);
  EXPECT_EQ(drawn[0].errors, 0);
  EXPECT_EQ(drawn[1].errors & kBadDelta, kBadDelta);
  EXPECT_EQ(drawn[2].errors & kBadModel, kBadModel);
  EXPECT_EQ(drawn[3].errors, kNothingLeft);
  EXPECT_EQ(drawn[4].errors & kBadModel, kBadModel);
  EXPECT_NE(drawn[5].errors, 0);
  EXPECT_EQ(drawn[6].errors & kBadModel, kBadModel);
  for (size_t i = 1; i < drawn.size(); ++i) EXPECT_EQ(drawn[i].id, -1);
  // Padding beyond the tokenizer's ids is never looked at.
  EXPECT_EQ(Draw(model, delta, 2999, {draws[1]})[0].errors, 0);
}

}  // namespace
}  // namespace unlearn
