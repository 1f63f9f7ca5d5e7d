#ifndef OFFSET_CUDA_DEVICE_BATCH_H_
#define OFFSET_CUDA_DEVICE_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "offset/cuda/device_kernels.h"
#include "offset/cuda/device_runtime.h"
#include "offset/cuda/device_stacks.h"
#include "offset/model/cached_forward.h"
#include "offset/model/kv_pages.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

// How much of everything a batch has.
struct BatchNeeds {
  int64_t rows = 0;
  int64_t wanted = 0;
  int64_t tiles = 0;
  int64_t pages = 0;

  bool FitIn(const BatchNeeds& room) const {
    return rows <= room.rows && wanted <= room.wanted && tiles <= room.tiles && pages <= room.pages;
  }
};

// A batch as kernels get it, made from what the engine says: rows, page tables, LoRA tiles.
struct PackedBatch {
  PackedBatch(const TokenBatch& batch, absl::Span<const RowPair> pairs, const KvPages& kv_pages,
              const DeviceStacks& stacks);
  BatchNeeds needs() const {
    return {static_cast<int64_t>(positions.size()), static_cast<int64_t>(wanted.size()),
            static_cast<int64_t>(tiles.size()), static_cast<int64_t>(pages.size())};
  }

  std::vector<int32_t> tokens;
  std::vector<int32_t> positions;
  std::vector<int32_t> page_begins;
  std::vector<LoraTile> tiles;
  std::vector<DeviceRowPair> wanted;
  std::vector<int32_t> pages;
};

// The device's memory for one batch at a time, and the pinned memory by which the batch gets there
// in a single copy.
struct DeviceBuffers {
  DeviceBuffers(const ModelConfig& config, at::ScalarType dtype, const BatchNeeds& room,
                int64_t rank_capacity, int64_t attention_scratch, DeviceRuntime* runtime);

  // Queues the copy. Room beyond the batch up to `padded` is filled with rows that do nothing. The
  // copy before must be done.
  void Stage(const PackedBatch& batch, const BatchNeeds& padded, DeviceRuntime& runtime);

  DeviceBatch Batch(int64_t rows) const;
  const LoraTile* tiles() const { return reinterpret_cast<const LoraTile*>(staged() + tiles_at); }
  const DeviceRowPair* wanted() const {
    return reinterpret_cast<const DeviceRowPair*>(staged() + wanted_at);
  }

  const BatchNeeds room;
  // fp32 but for those marked T, which are of the device's element type.
  at::Tensor x;           // [rows, hidden], the residual stream
  at::Tensor normed;      // T [rows, hidden]
  at::Tensor qkv;         // [rows, qkv_size]
  at::Tensor attended;    // T [rows, heads * head_dim]
  at::Tensor output;      // [rows, hidden]
  at::Tensor gate_up;     // [rows, gate_up_size]
  at::Tensor gated;       // T [rows, intermediate]
  at::Tensor hidden;      // [rows, hidden], after the final norm
  at::Tensor low;         // [rows, rank_capacity]
  at::Tensor scratch;     // of split attention
  at::Tensor difference;  // [wanted, hidden]
  at::Tensor halves;      // T [2 * wanted, hidden]: difference rounded, then what rounding took

 private:
  const int32_t* staged() const {
    return static_cast<const int32_t*>(device_ints.const_data_ptr());
  }

  // Where the parts begin, in 4-byte units.
  int64_t positions_at, page_begins_at, tiles_at, wanted_at, pages_at;
  at::Tensor device_ints;
  at::Tensor pinned_ints;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_BATCH_H_
