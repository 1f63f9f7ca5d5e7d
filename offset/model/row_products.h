#ifndef OFFSET_MODEL_ROW_PRODUCTS_H_
#define OFFSET_MODEL_ROW_PRODUCTS_H_

#include <cstdint>

namespace unlearn {

// A weight matrix [out, in], row-major, fp32 or bf16. Borrowed.
struct WeightMatrix {
  const void* data = nullptr;
  bool is_bf16 = false;
  int64_t out = 0;
  int64_t in = 0;
};

// Products of few rows with a large matrix, where a decoder step spends its time. A general product
// repacks the matrix for its tiles, which costs more than few rows are worth; here the weights
// stream past once, in their own layout, at the speed of the memory, and bf16 ones are widened in
// registers: the rows stay fp32.
//
// Every element is summed in an order that depends on `in` alone. So a row's result is the same,
// bit for bit, whatever shares its batch and however a caller divides rows or outputs.

// y[row][o] = sum over i of x[row][i] * weight[o][i], plus bias[o] (null: none), for o in
// [out_begin, out_end). x: [rows, in], y: [rows, weight.out]. Single-threaded: callers divide the
// outputs among threads, best in multiples of kOutputTile.
void MultiplyRows(const float* x, int64_t rows, const WeightMatrix& weight, const float* bias,
                  int64_t out_begin, int64_t out_end, float* y);
constexpr int64_t kOutputTile = 4;

// y[row][o] += sum over k of low[row][k] * b[k][o], the second half of a LoRA product.
// low: [rows, rank] with `low_stride` floats from row to row; b: [rank, out] with `b_stride`;
// y: [rows, out] with `y_stride`.
void AddLowRank(const float* low, int64_t low_stride, int64_t rows, const float* b,
                int64_t b_stride, int64_t rank, int64_t out, float* y, int64_t y_stride);

}  // namespace unlearn

#endif  // OFFSET_MODEL_ROW_PRODUCTS_H_
