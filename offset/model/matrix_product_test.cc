#include "offset/model/matrix_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

double LargestDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(MatrixProductTest, EqualsLinearForBothKindsOfWeights) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({9, 130});
  const at::Tensor bias = at::randn({515});
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = at::randn({515, 130}).to(type);
    EXPECT_LE(LargestDifference(MultiplyByWeight(x, weight, bias),
                                at::linear(x, weight.to(at::kFloat), bias)),
              1e-4);
    EXPECT_LE(LargestDifference(MultiplyByWeight(x, weight), at::linear(x, weight.to(at::kFloat))),
              1e-4);
  }
}

TEST(MatrixProductTest, ThreadsChangeNoBit) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({7, 300});
  const at::Tensor weight = at::randn({2001, 300});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = MultiplyByWeight(x, weight);
  at::set_num_threads(3);
  const at::Tensor three = MultiplyByWeight(x, weight);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(MatrixProductTest, NoRowsAreNoRows) {
  EXPECT_EQ(MultiplyByWeight(at::empty({0, 8}), at::ones({3, 8})).size(0), 0);
}

TEST(MatrixProductTest, LoraOfAFusedProjection) {
  at::manual_seed(3);
  // Two targets of rank 2 in one projection of 10 outputs, the second beginning at output 6.
  const at::Tensor a = at::randn({4, 20});
  at::Tensor by_rank = at::zeros({4, 10});
  by_rank.narrow(0, 0, 2).narrow(1, 0, 6) += at::randn({2, 6});
  by_rank.narrow(0, 2, 2).narrow(1, 6, 4) += at::randn({2, 4});
  const at::Tensor x = at::randn({5, 20});
  const at::Tensor before = at::randn({5, 10});
  const at::Tensor expected = before + at::matmul(at::matmul(x, a.t()), by_rank);
  LoraLinear lora = {a, by_rank.t(), {{0, 2, 0, 6}, {2, 4, 6, 10}}};
  at::Tensor y = before.clone();
  AddLora(x.data_ptr<float>(), 5, lora, y.data_ptr<float>());
  EXPECT_LE(LargestDifference(y, expected), 1e-5);
  // In another layout it is slower, not wrong.
  lora.b = lora.b.contiguous();
  y = before.clone();
  AddLora(x.data_ptr<float>(), 5, lora, y.data_ptr<float>());
  EXPECT_LE(LargestDifference(y, expected), 1e-5);
  AddLora(x.data_ptr<float>(), 5, LoraLinear(), y.data_ptr<float>());
  EXPECT_LE(LargestDifference(y, expected), 1e-5);
}

}  // namespace
}  // namespace unlearn
