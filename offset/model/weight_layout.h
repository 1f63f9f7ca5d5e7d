#ifndef OFFSET_MODEL_WEIGHT_LAYOUT_H_
#define OFFSET_MODEL_WEIGHT_LAYOUT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "offset/model/model_config.h"

namespace unlearn {

// A linear layer of the files; its name follows the layer's prefix.
struct LinearPart {
  std::string name;  // "self_attn.q_proj"
  int64_t out = 0;
};

// One of the decoder's matrices, [out, in]: the linear layers of the files that read the same
// input, one below the other.
struct FusedLinear {
  std::vector<LinearPart> parts;
  int64_t in = 0;
  bool bias = false;
  // gpt_neox: rows are [head, (query, key, value), head_dim] in the files and
  // [(query, key, value), head, head_dim] here. The number of heads; 0: rows stand as they are.
  int64_t interleaved_heads = 0;

  int64_t out() const {
    int64_t rows = 0;
    for (const LinearPart& part : parts) rows += part.out;
    return rows;
  }
};

struct NormLayout {
  std::string name;  // empty: the family has no such norm
  int64_t size = 0;
  bool bias = false;
};

// How a family's files name and order what the decoder holds. Loading, saving, cutting and adapters
// share it.
struct WeightLayout {
  std::string embedding;  // whole names: of [vocab, hidden]
  std::string head;       // empty where it is the embedding
  NormLayout final_norm;  // `name` without ".weight"
  std::string layer_prefix;
  FusedLinear qkv;
  FusedLinear attention_output;
  FusedLinear gate_up;
  FusedLinear down;
  NormLayout attention_norm;
  NormLayout mlp_norm;
  NormLayout attention_output_norm;
  NormLayout mlp_output_norm;
  NormLayout query_norm;
  NormLayout key_norm;

  // "model.layers.3.self_attn.q_proj"
  std::string LayerName(int64_t layer, absl::string_view rest) const;
};

WeightLayout WeightLayoutOf(const ModelConfig& config);

// Every tensor that the files of such a model hold, with its shape.
std::map<std::string, std::vector<int64_t>> WeightShapes(const ModelConfig& config);

// Rows of a weight, a bias or an adapter's B from the files' order into the decoder's, and back.
// Differentiable.
at::Tensor RowsFromFiles(const FusedLinear& linear, const at::Tensor& rows);
at::Tensor RowsToFiles(const FusedLinear& linear, const at::Tensor& rows);

}  // namespace unlearn

#endif  // OFFSET_MODEL_WEIGHT_LAYOUT_H_
