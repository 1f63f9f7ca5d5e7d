#include "offset/model/row_products.h"

#include <algorithm>
#include <cstring>

// Compiled once for each instruction set; the machine's best is chosen at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "offset/model/row_products.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace unlearn {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using Bf16 = hn::Rebind<hwy::bfloat16_t, D>;

// A tile of kOut outputs by kRows rows of accumulators fills the registers: 32 of them from AVX-512
// on, 16 before.
constexpr int kOut = static_cast<int>(kOutputTile);
constexpr int kRows = HWY_TARGET <= HWY_AVX3 ? 6 : 3;

HWY_INLINE V Widen(const float* from) { return hn::LoadU(D(), from); }
HWY_INLINE V Widen(const hwy::bfloat16_t* from) {
  return hn::PromoteTo(D(), hn::LoadU(Bf16(), from));
}

// The last, incomplete vector of a row of `left` elements, filled up with zeros.
template <typename T>
HWY_INLINE V WidenTail(const T* from, size_t left) {
  HWY_ALIGN T padded[HWY_MAX_BYTES / sizeof(float)];
  memset(padded, 0, sizeof(padded));
  memcpy(padded, from, left * sizeof(T));
  return Widen(padded);
}

// kCount vectors as nested members: the compiler keeps them in registers, as it would not an array.
template <int kCount>
struct Vectors {
  V head;
  Vectors<kCount - 1> tail;

  HWY_INLINE void Clear() {
    head = hn::Zero(D());
    tail.Clear();
  }
  // One vector of each row from `x` on, `stride` apart.
  HWY_INLINE void Load(const float* x, int64_t stride) {
    head = hn::LoadU(D(), x);
    tail.Load(x + stride, stride);
  }
  HWY_INLINE void LoadTail(const float* x, int64_t stride, size_t left) {
    head = WidenTail(x, left);
    tail.LoadTail(x + stride, stride, left);
  }
  HWY_INLINE void AddProducts(V weight, const Vectors& rows) {
    head = hn::MulAdd(weight, rows.head, head);
    tail.AddProducts(weight, rows.tail);
  }
  HWY_INLINE void AddSumsTo(float* y, int64_t stride) const {
    *y += hn::GetLane(hn::SumOfLanes(D(), head));
    tail.AddSumsTo(y + stride, stride);
  }
};
template <>
struct Vectors<0> {
  HWY_INLINE void Clear() {}
  HWY_INLINE void Load(const float*, int64_t) {}
  HWY_INLINE void LoadTail(const float*, int64_t, size_t) {}
  HWY_INLINE void AddProducts(V, const Vectors&) {}
  HWY_INLINE void AddSumsTo(float*, int64_t) const {}
};

// The accumulators of kTile outputs by kTileRows rows.
template <int kTile, int kTileRows>
struct Sums {
  Vectors<kTileRows> head;  // of the first output
  Sums<kTile - 1, kTileRows> tail;

  HWY_INLINE void Clear() {
    head.Clear();
    tail.Clear();
  }
  template <typename T>
  HWY_INLINE void AddProducts(const T* weight, int64_t in, const Vectors<kTileRows>& rows) {
    head.AddProducts(Widen(weight), rows);
    tail.AddProducts(weight + in, in, rows);
  }
  template <typename T>
  HWY_INLINE void AddTail(const T* weight, int64_t in, size_t left,
                          const Vectors<kTileRows>& rows) {
    head.AddProducts(WidenTail(weight, left), rows);
    tail.AddTail(weight + in, in, left, rows);
  }
  HWY_INLINE void AddTo(float* y, int64_t stride) const {
    head.AddSumsTo(y, stride);
    tail.AddTo(y + 1, stride);
  }
};
template <int kTileRows>
struct Sums<0, kTileRows> {
  HWY_INLINE void Clear() {}
  template <typename T>
  HWY_INLINE void AddProducts(const T*, int64_t, const Vectors<kTileRows>&) {}
  template <typename T>
  HWY_INLINE void AddTail(const T*, int64_t, size_t, const Vectors<kTileRows>&) {}
  HWY_INLINE void AddTo(float*, int64_t) const {}
};

// What a tile reads: rows of x and of the matrix, both from the first column of a chunk on.
template <typename T>
struct TileInput {
  const float* x;
  int64_t x_stride;
  const T* weight;
  int64_t weight_stride;
  int64_t size;   // of the chunk
  const T* next;  // weights that a following tile will read from memory, or null
};

// y += kTile outputs of kTileRows rows over one chunk. One accumulator an element: its order of
// summation is the same in every tile size.
template <int kTile, int kTileRows, bool kPrefetch, typename T>
HWY_INLINE void Tile(const TileInput<T>& input, float* y, int64_t y_stride) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  Sums<kTile, kTileRows> sums;
  sums.Clear();
  Vectors<kTileRows> rows;
  int64_t i = 0;
  for (; i + lanes <= input.size; i += lanes) {
    rows.Load(input.x + i, input.x_stride);
    if (kPrefetch) {
      // Without this a core waits for memory about half of the time.
      for (int o = 0; o < kTile; ++o) hwy::Prefetch(input.next + o * input.weight_stride + i);
    }
    sums.AddProducts(input.weight + i, input.weight_stride, rows);
  }
  if (i < input.size) {
    const size_t left = static_cast<size_t>(input.size - i);
    rows.LoadTail(input.x + i, input.x_stride, left);
    sums.AddTail(input.weight + i, input.weight_stride, left, rows);
  }
  sums.AddTo(y, y_stride);
}

template <int kTile, bool kPrefetch, typename T>
HWY_INLINE void TileOfRows(int64_t rows, const TileInput<T>& input, float* y, int64_t y_stride) {
  switch (rows) {
    case 1:
      return Tile<kTile, 1, kPrefetch>(input, y, y_stride);
    case 2:
      return Tile<kTile, 2, kPrefetch>(input, y, y_stride);
    case 3:
      return Tile<kTile, 3, kPrefetch>(input, y, y_stride);
#if HWY_TARGET <= HWY_AVX3
    case 4:
      return Tile<kTile, 4, kPrefetch>(input, y, y_stride);
    case 5:
      return Tile<kTile, 5, kPrefetch>(input, y, y_stride);
    case 6:
      return Tile<kTile, 6, kPrefetch>(input, y, y_stride);
#endif
  }
}

// A block of outputs stays in the second-level cache, a chunk of a tile's rows in the first.
constexpr int64_t kBlock = 32;
constexpr int64_t kChunk = 1024;

// y += the block's outputs of all rows, chunk by chunk, in tiles of nearly equal numbers of rows.
// `outputs` is at most kBlock; `next`: where the following block begins, or null.
template <typename T>
HWY_INLINE void Block(const float* x, int64_t rows, const T* weight, const T* next, int64_t outputs,
                      int64_t in, float* y, int64_t y_stride) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  for (int64_t chunk = 0; chunk < in; chunk += kChunk) {
    TileInput<T> input;
    input.x_stride = input.weight_stride = in;
    input.size = std::min(kChunk, in - chunk);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = tile * rows / tiles;
      const int64_t count = (tile + 1) * rows / tiles - row;
      float* const of_row = y + row * y_stride;
      input.x = x + row * in + chunk;
      int64_t o = 0;
      for (; o + kOut <= outputs; o += kOut) {
        input.weight = weight + o * in + chunk;
        input.next = o + 2 * kOut <= outputs ? input.weight + kOut * in
                     : next != nullptr       ? next + chunk
                                             : nullptr;
        if (tile == 0 && input.next != nullptr) {
          TileOfRows<kOut, true>(count, input, of_row + o, y_stride);
        } else {
          TileOfRows<kOut, false>(count, input, of_row + o, y_stride);
        }
      }
      for (; o < outputs; ++o) {
        input.weight = weight + o * in + chunk;
        TileOfRows<1, false>(count, input, of_row + o, y_stride);
      }
    }
  }
}

template <typename T>
void MultiplyRange(const float* x, int64_t rows, const WeightMatrix& weight, const float* bias,
                   int64_t out_begin, int64_t out_end, float* y) {
  const int64_t in = weight.in;
  const T* const matrix = static_cast<const T*>(weight.data);
  for (int64_t o = out_begin; o < out_end; o += kBlock) {
    const int64_t outputs = std::min(kBlock, out_end - o);
    for (int64_t row = 0; row < rows; ++row) {
      float* const to = y + row * weight.out + o;
      if (bias == nullptr) {
        std::fill_n(to, outputs, 0.0f);
      } else {
        std::copy_n(bias + o, outputs, to);
      }
    }
    const T* const block = matrix + o * in;
    // A whole tile of it at least.
    const T* const next = o + outputs + kOut <= out_end ? block + outputs * in : nullptr;
    Block(x, rows, block, next, outputs, in, y + o, weight.out);
  }
}

void MultiplyRowsOn(const float* x, int64_t rows, const WeightMatrix& weight, const float* bias,
                    int64_t out_begin, int64_t out_end, float* y) {
  if (weight.is_bf16) {
    MultiplyRange<hwy::bfloat16_t>(x, rows, weight, bias, out_begin, out_end, y);
  } else {
    MultiplyRange<float>(x, rows, weight, bias, out_begin, out_end, y);
  }
}

void AddLowRankOn(const float* low, int64_t low_stride, int64_t rows, const float* b,
                  int64_t b_stride, int64_t rank, int64_t out, float* y, int64_t y_stride) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < rows; ++row) {
    const float* const factors = low + row * low_stride;
    float* const to = y + row * y_stride;
    int64_t o = 0;
    for (; o + 2 * lanes <= out; o += 2 * lanes) {
      V first = hn::LoadU(d, to + o);
      V second = hn::LoadU(d, to + o + lanes);
      const float* column = b + o;
      for (int64_t k = 0; k < rank; ++k, column += b_stride) {
        const V factor = hn::Set(d, factors[k]);
        first = hn::MulAdd(factor, hn::LoadU(d, column), first);
        second = hn::MulAdd(factor, hn::LoadU(d, column + lanes), second);
      }
      hn::StoreU(first, d, to + o);
      hn::StoreU(second, d, to + o + lanes);
    }
    for (; o < out; ++o) {
      float sum = to[o];
      for (int64_t k = 0; k < rank; ++k) sum += factors[k] * b[k * b_stride + o];
      to[o] = sum;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace unlearn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace unlearn {

HWY_EXPORT(MultiplyRowsOn);
HWY_EXPORT(AddLowRankOn);

void MultiplyRows(const float* x, int64_t rows, const WeightMatrix& weight, const float* bias,
                  int64_t out_begin, int64_t out_end, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyRowsOn)(x, rows, weight, bias, out_begin, out_end, y);
}

void AddLowRank(const float* low, int64_t low_stride, int64_t rows, const float* b,
                int64_t b_stride, int64_t rank, int64_t out, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(AddLowRankOn)(low, low_stride, rows, b, b_stride, rank, out, y, y_stride);
}

}  // namespace unlearn
#endif  // HWY_ONCE
