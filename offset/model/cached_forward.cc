#include "offset/model/cached_forward.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/kernels.h"
#include "offset/model/matrix_product.h"
#include "offset/model/parallel_for.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

absl::Status CheckRows(const ModelConfig& config, const TokenBatch& batch) {
  for (int64_t row = 0; row < batch.size(); ++row) {
    if (batch.tokens[row] < 0 || batch.tokens[row] >= config.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token id ", batch.tokens[row], " is outside the vocabulary of ", config.vocab_size));
    }
    if (batch.positions[row] < 0 || batch.positions[row] >= config.max_positions) {
      return absl::InvalidArgumentError(absl::StrCat("position ", batch.positions[row],
                                                     " is outside the context of ",
                                                     config.max_positions, " tokens"));
    }
  }
  return absl::OkStatus();
}

// The positions that the batch writes, one range a sequence.
std::vector<KvCache::Range> WrittenRanges(const TokenBatch& batch) {
  std::map<int32_t, KvCache::Range> ranges;
  for (int64_t row = 0; row < batch.size(); ++row) {
    const int64_t position = batch.positions[row];
    KvCache::Range& range =
        ranges.try_emplace(batch.sequences[row], KvCache::Range{batch.sequences[row], position, 0})
            .first->second;
    range.begin = std::min(range.begin, position);
    range.end = std::max(range.end, position + 1);
  }
  std::vector<KvCache::Range> all;
  for (const auto& [sequence, range] : ranges) all.push_back(range);
  return all;
}

// y [rows, out] = x [rows, in] Wᵀ plus the bias where there is one, then each range's LoRA.
void Project(const at::Tensor& x, const at::Tensor& weight, const TokenBatch& batch, size_t layer,
             LoraLinear LoraLayer::*slot, const at::Tensor& bias, at::Tensor& y) {
  MultiplyByWeight(x.const_data_ptr<float>(), x.size(0), weight, bias, y.data_ptr<float>());
  for (const LoraRange& range : batch.loras) {
    if (range.lora == nullptr || range.lora->empty()) continue;
    AddLora(x.const_data_ptr<float>() + range.begin * x.size(1), range.end - range.begin,
            range.lora->layers[layer].*slot, y.data_ptr<float>() + range.begin * y.size(1));
  }
}

// Rows of elementwise work that are worth a thread.
int64_t RowGrain(int64_t size) { return 1 + (32 << 10) / size; }

// The family's norm; out may be x.
void NormRows(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight,
              const at::Tensor& bias, at::Tensor& out) {
  const int64_t size = x.size(1);
  const float eps = static_cast<float>(config.norm_eps);
  const float* const factors = weight.const_data_ptr<float>();
  const float* const shifts = config.layer_norm ? bias.const_data_ptr<float>() : nullptr;
  ParallelFor(0, x.size(0), RowGrain(size), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* const from = x.const_data_ptr<float>() + row * size;
      float* const to = out.data_ptr<float>() + row * size;
      if (config.layer_norm) {
        LayerNormRow(from, factors, shifts, size, eps, to);
      } else {
        RmsNormRow(from, factors, size, eps, to);
      }
    }
  });
}

// One row of the MLP's inner product, [gate; up] where there is a gate: out [intermediate].
void ActivateMlpRow(const ModelConfig& config, const float* inner, float* out) {
  if (!config.gated_mlp) {
    ActivateRow(inner, config.activation, config.intermediate_size, out);
  } else if (config.activation == ModelConfig::Activation::kGeluTanh) {
    GeGluRow(inner, config.intermediate_size, out);
  } else {
    SwiGluRow(inner, config.intermediate_size, out);
  }
}

// Each head of one row in place.
void NormHeads(float* vectors, int64_t heads, const at::Tensor& weight, double eps) {
  const int64_t size = weight.size(0);
  for (int64_t head = 0; head < heads; ++head) {
    float* const vector = vectors + head * size;
    RmsNormRow(vector, weight.data_ptr<float>(), size, static_cast<float>(eps), vector);
  }
}

}  // namespace

absl::Status PrepareBatch(const ModelConfig& config, const TokenBatch& batch, KvPages& pages) {
  RETURN_IF_ERROR(CheckRows(config, batch));
  return pages.Prepare(WrittenRanges(batch));
}

absl::StatusOr<at::Tensor> ForwardTokens(const Decoder& decoder, const TokenBatch& batch,
                                         KvCache& cache) {
  const ModelConfig& config = decoder.config();
  RETURN_IF_ERROR(PrepareBatch(config, batch, cache));
  return CatchTorch("decoder step", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    const int64_t rows = batch.size();
    const int64_t head_dim = config.head_dim;
    const int64_t group = config.num_heads / config.num_kv_heads;
    const float scale = static_cast<float>(config.AttentionScale());
    const at::Tensor ids = at::from_blob(const_cast<int32_t*>(batch.tokens.data()), {rows},
                                         at::TensorOptions(at::kInt));
    at::Tensor x = decoder.embedding().index_select(0, ids).to(at::kFloat);
    if (config.embedding_scale != 1) x.mul_(config.embedding_scale);
    // Written anew in every layer: memory that is fetched from the system each time costs more than
    // the sums that are put there.
    at::Tensor normed = at::empty_like(x);
    at::Tensor output = at::empty_like(x);
    at::Tensor qkv = at::empty({rows, config.qkv_size()}, x.options());
    at::Tensor gate_up = at::empty({rows, config.gate_up_size()}, x.options());
    at::Tensor attended = at::empty({rows, config.num_heads * head_dim}, x.options());
    at::Tensor gated = at::empty({rows, config.intermediate_size}, x.options());
    const int64_t longest =
        rows == 0 ? 0 : *std::max_element(batch.positions.begin(), batch.positions.end());
    for (size_t layer = 0; layer < decoder.layers().size(); ++layer) {
      const DecoderLayerWeights& weights = decoder.layers()[layer];
      NormRows(config, x, weights.attention_norm, weights.attention_norm_bias, normed);
      Project(normed, weights.qkv, batch, layer, &LoraLayer::qkv, weights.qkv_bias, qkv);
      float* const qkv_rows = qkv.data_ptr<float>();
      // Every key and value first: a row may attend to another row of this very batch.
      const auto place = [&](int64_t row) {
        float* query = qkv_rows + row * config.qkv_size();
        float* key = query + config.num_heads * head_dim;
        const float* value = key + config.num_kv_heads * head_dim;
        const int32_t position = batch.positions[row];
        if (weights.query_norm.defined()) {
          NormHeads(query, config.num_heads, weights.query_norm, config.norm_eps);
          NormHeads(key, config.num_kv_heads, weights.key_norm, config.norm_eps);
        }
        RotateHeads(query, config.num_heads + config.num_kv_heads, head_dim,
                    decoder.rope(static_cast<int64_t>(layer)), position);
        std::copy_n(key, cache.row_floats(), cache.Key(layer, batch.sequences[row], position));
        std::copy_n(value, cache.row_floats(), cache.Value(layer, batch.sequences[row], position));
      };
      ParallelFor(0, rows, RowGrain(config.qkv_size()), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) place(row);
      });
      const int64_t window = config.WindowOf(static_cast<int64_t>(layer));
      float* const attended_rows = attended.data_ptr<float>();
      // About 32k multiply-adds a task keep the thread hand-over small against the work.
      const int64_t grain = std::max<int64_t>(1, 32768 / ((longest + 1) * head_dim));
      ParallelFor(0, rows * config.num_heads, grain, [&](int64_t begin, int64_t end) {
        std::vector<float> scratch(longest + 1);
        for (int64_t task = begin; task < end; ++task) {
          const int64_t row = task / config.num_heads;
          const int64_t head = task % config.num_heads;
          const int64_t position = batch.positions[row];
          const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
          AttendHead(qkv_rows + row * config.qkv_size() + head * head_dim, cache, layer,
                     batch.sequences[row], first, position, head / group, head_dim, scale,
                     scratch.data(), attended_rows + task * head_dim);
        }
      });
      Project(attended, weights.attention_output, batch, layer, &LoraLayer::attention_output,
              weights.attention_output_bias, output);
      if (config.output_norms) {
        NormRows(config, output, weights.attention_output_norm, at::Tensor(), output);
      }
      if (!config.parallel_residual) x.add_(output);
      NormRows(config, x, weights.mlp_norm, weights.mlp_norm_bias, normed);
      if (config.parallel_residual) x.add_(output);
      Project(normed, weights.gate_up, batch, layer, &LoraLayer::gate_up, weights.gate_up_bias,
              gate_up);
      ParallelFor(0, rows, RowGrain(config.intermediate_size), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          ActivateMlpRow(config, gate_up.const_data_ptr<float>() + row * config.gate_up_size(),
                         gated.data_ptr<float>() + row * config.intermediate_size);
        }
      });
      Project(gated, weights.down, batch, layer, &LoraLayer::down, weights.down_bias, output);
      if (config.output_norms) {
        NormRows(config, output, weights.mlp_output_norm, at::Tensor(), output);
      }
      x.add_(output);
    }
    NormRows(config, x, decoder.final_norm(), decoder.final_norm_bias(), normed);
    return normed;
  });
}

}  // namespace unlearn
