#include "offset/model/matrix_product.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "offset/model/parallel_for.h"
#include "offset/model/row_products.h"

namespace unlearn {
namespace {

// To wake a second thread takes about this long, counted in weights that one thread streams past.
constexpr int64_t kWeightsPerTask = 64 << 10;
// So many rows cost as much arithmetic as a weight costs memory.
constexpr int64_t kRowsPerWeight = 6;

}  // namespace

void MultiplyByWeight(const float* x, int64_t rows, const at::Tensor& weight,
                      const at::Tensor& bias, float* y) {
  WeightMatrix matrix;
  matrix.data = weight.const_data_ptr();
  matrix.is_bf16 = weight.scalar_type() == at::kBFloat16;
  matrix.out = weight.size(0);
  matrix.in = weight.size(1);
  const float* const biases = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  const int64_t tiles = (matrix.out + kOutputTile - 1) / kOutputTile;
  const int64_t work_of_tile = kOutputTile * matrix.in * (1 + rows / kRowsPerWeight);
  const int64_t grain = std::max<int64_t>(1, kWeightsPerTask / std::max<int64_t>(1, work_of_tile));
  ParallelFor(0, tiles, grain, [&](int64_t begin, int64_t end) {
    MultiplyRows(x, rows, matrix, biases, begin * kOutputTile,
                 std::min(matrix.out, end * kOutputTile), y);
  });
}

at::Tensor MultiplyByWeight(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, at::TensorOptions(at::kFloat));
  MultiplyByWeight(x.const_data_ptr<float>(), x.size(0), weight, bias, y.data_ptr<float>());
  return y;
}

void AddLora(const float* x, int64_t rows, const LoraLinear& lora, float* y) {
  if (!lora.a.defined() || rows == 0) return;
  const int64_t rank = lora.a.size(0);
  const int64_t out = lora.b.size(0);
  const at::Tensor by_rank = lora.b.t().contiguous();  // a no-op in the layout that it has
  const float* const b = by_rank.const_data_ptr<float>();
  std::vector<float> low(rows * rank);
  MultiplyByWeight(x, rows, lora.a, at::Tensor(), low.data());
  const int64_t grain = std::max<int64_t>(1, kWeightsPerTask * kRowsPerWeight / (rank * out));
  ParallelFor(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (const LoraLinear::Block& block : lora.blocks) {
      AddLowRank(low.data() + begin * rank + block.rank_begin, rank, end - begin,
                 b + block.rank_begin * out + block.out_begin, out,
                 block.rank_end - block.rank_begin, block.out_end - block.out_begin,
                 y + begin * out + block.out_begin, out);
    }
  });
}

}  // namespace unlearn
