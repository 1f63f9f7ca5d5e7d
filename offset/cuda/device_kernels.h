#ifndef OFFSET_CUDA_DEVICE_KERNELS_H_
#define OFFSET_CUDA_DEVICE_KERNELS_H_

#include <cstdint>

#include "offset/cuda/device_noise.h"
#include "offset/cuda/device_stream.h"
#include "offset/cuda/kernel_math.h"

// The kernels of a pair step, by what they compute. Pointers are the device's; work is only queued
// on the stream, and nothing here depends on what the memory holds, so that a CUDA graph may keep
// it. What is refused throws std::runtime_error.
namespace unlearn {

// Of weights, of activations that enter a product, of keys and values. Sums, norms and the residual
// stream are fp32 in any case.
enum class ElementType { kFloat32, kBfloat16 };

// x [rows, hidden] = embedding [vocab, hidden] of each token, times scale.
void EmbedRows(DeviceStream stream, ElementType type, const void* embedding, const int32_t* tokens,
               int64_t rows, int64_t hidden, float scale, float* x);

// x += norm(added + added_bias), then out = norm(x). Each part is left out where its pointer is
// null.
struct AddAndNormArguments {
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 0;
  float* x = nullptr;                 // [rows, hidden]
  const float* added = nullptr;       // [rows, hidden]
  const float* added_bias = nullptr;  // [hidden]
  const float* added_norm = nullptr;  // [hidden], of an RMSNorm; null: added as it is
  const float* weight = nullptr;      // [hidden]; null: no out
  const float* bias = nullptr;        // [hidden]: the last norm is a LayerNorm; null: an RMSNorm
  bool norm_before_adding = false;    // out is the norm of x as it was (parallel residual)
  void* out = nullptr;                // [rows, hidden]
  ElementType out_type = ElementType::kFloat32;
};
void AddAndNorm(DeviceStream stream, const AddAndNormArguments& arguments);

// out [rows, intermediate] = activation(gate) * up of inner [rows, 2 * intermediate]; or without a
// gate activation(inner), inner [rows, intermediate]. The bias (or null) is of a row of inner.
struct ActivateRowsArguments {
  int64_t rows = 0;
  int64_t intermediate = 0;
  bool gated = true;
  DeviceActivation activation = DeviceActivation::kSilu;
  const float* inner = nullptr;
  const float* bias = nullptr;
  void* out = nullptr;
  ElementType out_type = ElementType::kFloat32;
};
void ActivateRows(DeviceStream stream, const ActivateRowsArguments& arguments);

// Rows of a batch on the device. position < 0: a row that fills up the batch, which reads and
// writes nothing.
struct DeviceBatch {
  int64_t rows = 0;
  const int32_t* tokens = nullptr;
  const int32_t* positions = nullptr;
  // Where the row's page table begins in `pages`.
  const int32_t* page_begins = nullptr;
  const int32_t* pages = nullptr;
};

struct HeadShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
};

// Queries, keys and values of a layer: adds the bias, norms each head, turns it to its position,
// writes keys and values into their pages. Queries stay in qkv, without the bias's sum lost.
struct FinishQkvArguments {
  DeviceBatch batch;
  HeadShape shape;
  ElementType type = ElementType::kFloat32;  // of the pool
  float eps = 0;
  float* qkv = nullptr;               // [rows, (heads + 2 kv_heads) * head_dim]
  const float* bias = nullptr;        // of a row of qkv, or null
  const float* query_norm = nullptr;  // [head_dim], or null
  const float* key_norm = nullptr;
  const float* cosine = nullptr;  // [positions, half]
  const float* sine = nullptr;
  int half = 0;
  void* pool = nullptr;  // of the layer, see KvOffset
};
void FinishQkv(DeviceStream stream, const FinishQkvArguments& arguments);

// Attention over pages, of all rows: prefill, decode and drafts alike. With splits > 1 several
// blocks share a row's positions, for few rows over long contexts.
struct AttendArguments {
  DeviceBatch batch;
  HeadShape shape;
  ElementType type = ElementType::kFloat32;  // of pool and out
  float scale = 0;
  int32_t window = 0;  // positions that a token sees, itself included; 0: all
  const float* qkv = nullptr;
  const void* pool = nullptr;
  int32_t splits = 1;
  // With splits > 1: [rows, heads, splits, head_dim + 2].
  float* scratch = nullptr;
  void* out = nullptr;  // [rows, heads * head_dim]
};
void Attend(DeviceStream stream, const AttendArguments& arguments);
constexpr int kMaxDeviceHeadDim = 256;  // and even

// y [rows, out] += (x [rows, in] Aᵀ) Bᵀ for the rows of all tiles, each with its own stack's A and
// B: one launch for A and one for B, whatever stacks share the batch.
struct AddLoraArguments {
  ElementType type = ElementType::kFloat32;  // of x
  const void* x = nullptr;
  int64_t in = 0;
  int64_t out = 0;
  const LoraTile* tiles = nullptr;
  int64_t tile_count = 0;
  // The layer's addition of stack s is loras[s * lora_stride].
  const DeviceLora* loras = nullptr;
  int64_t lora_stride = 0;
  int64_t max_rank = 0;  // of all stacks; ranks beyond are not run
  float* low = nullptr;  // scratch [rows, max_rank]
  float* y = nullptr;
};
void AddLora(DeviceStream stream, const AddLoraArguments& arguments);

// difference [wanted, hidden] = hidden of the pair's offset row less that of its reference row; and
// the same as two numbers of the type that add up to it (low: null or fp32: one number suffices).
struct DeviceRowPair {
  int32_t reference;
  int32_t offset;
};
void SubtractRows(DeviceStream stream, ElementType type, const float* hidden,
                  const DeviceRowPair* pairs, int64_t wanted, int64_t size, float* difference,
                  void* high, void* low);

// y [count] += added.
void AddInPlace(DeviceStream stream, const float* added, int64_t count, float* y);

// One token to draw.
struct DeviceDraw {
  DeviceNoiseKey key;
  double inverse_temperature;  // 0: the most likely token
  double min_p_log;            // log(min_p) * T, -inf without: tokens below highest + this are cut
  float alpha;
  int32_t delta_row;
  int32_t model_row;
  int32_t forced = -1;  // an id: nothing is drawn, its log-prob is wanted
};
struct DeviceDrawn {
  int32_t id;
  float logprob;   // of the ensemble at temperature 1, before any warp
  int32_t errors;  // DrawErrors: then there is no token
};
constexpr int kDrawChunk = 2048;  // tokens of a block; a multiple of kDeviceNoiseBlock

// Combine, temperature, min-p, Gumbel noise, argmax and log-prob of each draw; of a forced token
// combine and log-prob.
struct DrawTokensArguments {
  const DeviceDraw* draws = nullptr;
  int64_t count = 0;
  int64_t tokens = 0;            // ids that can be drawn; rows may be longer (padding)
  const float* model = nullptr;  // [model rows, model_stride]
  int64_t model_stride = 0;
  const float* delta = nullptr;  // [delta rows, delta_stride]
  int64_t delta_stride = 0;
  float* ensemble = nullptr;  // scratch [count, tokens], z afterwards
  LogSum* sums = nullptr;     // scratch [count, chunks]
  int32_t* chunk_errors = nullptr;
  Candidate* candidates = nullptr;
  DeviceDrawn* drawn = nullptr;  // [count]
};
inline int64_t DrawChunks(int64_t tokens) { return (tokens + kDrawChunk - 1) / kDrawChunk; }
void DrawTokens(DeviceStream stream, const DrawTokensArguments& arguments);

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_KERNELS_H_
