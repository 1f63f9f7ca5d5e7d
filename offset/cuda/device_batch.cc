#include "offset/cuda/device_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace unlearn {

static_assert(kDevicePageTokens == KvPages::kPageTokens);
static_assert(sizeof(LoraTile) == 3 * sizeof(int32_t));
static_assert(sizeof(DeviceRowPair) == 2 * sizeof(int32_t));

PackedBatch::PackedBatch(const TokenBatch& batch, absl::Span<const RowPair> pairs,
                         const KvPages& kv_pages, const DeviceStacks& stacks)
    : tokens(batch.tokens), positions(batch.positions) {
  std::map<int32_t, int32_t> begins;  // of each sequence's table in `pages`
  page_begins.reserve(tokens.size());
  for (const int32_t sequence : batch.sequences) {
    const auto [it, is_new] = begins.try_emplace(sequence, static_cast<int32_t>(pages.size()));
    if (is_new) {
      const absl::Span<const int32_t> table = kv_pages.pages(sequence);
      pages.insert(pages.end(), table.begin(), table.end());
    }
    page_begins.push_back(it->second);
  }
  for (const LoraRange& range : batch.loras) {
    if (range.lora == nullptr || range.lora->empty()) continue;
    const int32_t stack = stacks.SlotOf(range.lora);
    for (int64_t row = range.begin; row < range.end; row += kLoraTileRows) {
      tiles.push_back({static_cast<int32_t>(row),
                       static_cast<int32_t>(std::min<int64_t>(kLoraTileRows, range.end - row)),
                       stack});
    }
  }
  wanted.reserve(pairs.size());
  for (const RowPair& pair : pairs) {
    wanted.push_back({static_cast<int32_t>(pair.reference), static_cast<int32_t>(pair.offset)});
  }
}

DeviceBuffers::DeviceBuffers(const ModelConfig& config, at::ScalarType dtype,
                             const BatchNeeds& room_, int64_t rank_capacity,
                             int64_t attention_scratch, DeviceRuntime* runtime)
    : room(room_) {
  const auto floats = [&](int64_t rows, int64_t columns) {
    return at::empty({rows, columns}, at::TensorOptions(at::kFloat).device(runtime->device()));
  };
  const auto elements = [&](int64_t rows, int64_t columns) {
    return at::empty({rows, columns}, at::TensorOptions(dtype).device(runtime->device()));
  };
  x = floats(room.rows, config.hidden_size);
  normed = elements(room.rows, config.hidden_size);
  qkv = floats(room.rows, config.qkv_size());
  attended = elements(room.rows, config.num_heads * config.head_dim);
  output = floats(room.rows, config.hidden_size);
  gate_up = floats(room.rows, config.gate_up_size());
  gated = elements(room.rows, config.intermediate_size);
  hidden = floats(room.rows, config.hidden_size);
  low = floats(room.rows, rank_capacity);
  scratch = floats(1, attention_scratch);
  difference = floats(room.wanted, config.hidden_size);
  halves = elements(2 * room.wanted, config.hidden_size);
  positions_at = room.rows;
  page_begins_at = 2 * room.rows;
  tiles_at = 3 * room.rows;
  wanted_at = tiles_at + 3 * room.tiles;
  pages_at = wanted_at + 2 * room.wanted;
  const int64_t ints = pages_at + room.pages;
  device_ints = at::empty({ints}, at::TensorOptions(at::kInt).device(runtime->device()));
  pinned_ints = runtime->PinnedBytes(ints * static_cast<int64_t>(sizeof(int32_t)));
}

void DeviceBuffers::Stage(const PackedBatch& batch, const BatchNeeds& padded,
                          DeviceRuntime& runtime) {
  int32_t* const ints = static_cast<int32_t*>(pinned_ints.mutable_data_ptr());
  const auto put = [&](int64_t at, const auto& values, int64_t count, const auto& filler) {
    auto* const to = reinterpret_cast<std::decay_t<decltype(filler)>*>(ints + at);
    std::copy(values.begin(), values.end(), to);
    std::fill(to + values.size(), to + count, filler);
  };
  put(0, batch.tokens, padded.rows, int32_t{0});
  put(positions_at, batch.positions, padded.rows, int32_t{-1});
  put(page_begins_at, batch.page_begins, padded.rows, int32_t{0});
  put(tiles_at, batch.tiles, padded.tiles, LoraTile{0, 0, 0});
  put(wanted_at, batch.wanted, padded.wanted, DeviceRowPair{0, 0});
  std::copy(batch.pages.begin(), batch.pages.end(), ints + pages_at);
  runtime.CopyToDevice(device_ints.mutable_data_ptr(), ints,
                       (pages_at + batch.pages.size()) * sizeof(int32_t));
}

DeviceBatch DeviceBuffers::Batch(int64_t rows) const {
  DeviceBatch batch;
  batch.rows = rows;
  batch.tokens = staged();
  batch.positions = staged() + positions_at;
  batch.page_begins = staged() + page_begins_at;
  batch.pages = staged() + pages_at;
  return batch;
}

}  // namespace unlearn
