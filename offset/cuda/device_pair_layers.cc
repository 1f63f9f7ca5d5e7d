// The forward pass of DevicePairBackend: what a CUDA graph captures.

#include <ATen/ATen.h>

#include "offset/cuda/device_kernels.h"
#include "offset/cuda/device_pages.h"
#include "offset/cuda/device_pair_backend.h"

namespace unlearn {
namespace {

ElementType TypeOf(at::ScalarType dtype) {
  return dtype == at::kFloat ? ElementType::kFloat32 : ElementType::kBfloat16;
}

const float* Floats(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

DeviceActivation ActivationOf(ModelConfig::Activation activation) {
  switch (activation) {
    case ModelConfig::Activation::kSilu:
      return DeviceActivation::kSilu;
    case ModelConfig::Activation::kGelu:
      return DeviceActivation::kGelu;
    case ModelConfig::Activation::kGeluTanh:
      return DeviceActivation::kGeluTanh;
  }
  return DeviceActivation::kSilu;
}

}  // namespace

void DevicePairBackend::AddLoraTo(DeviceBuffers& buffers, const BatchNeeds& needs, int64_t layer,
                                  DeviceStacks::Part part, const at::Tensor& x, at::Tensor& y) {
  AddLoraArguments lora;
  lora.type = TypeOf(options_.dtype);
  lora.x = x.const_data_ptr();
  lora.in = x.size(1);
  lora.out = y.size(1);
  lora.tiles = buffers.tiles();
  lora.tile_count = needs.tiles;
  lora.loras = stacks_->Table(layer, part);
  lora.lora_stride = stacks_->stride();
  lora.max_rank = rank_capacity_;
  lora.low = buffers.low.mutable_data_ptr<float>();
  lora.y = y.mutable_data_ptr<float>();
  AddLora(runtime_->stream(), lora);
}

void DevicePairBackend::RunLayers(DeviceBuffers& buffers, const BatchNeeds& needs) {
  const DeviceStream stream = runtime_->stream();
  const ElementType type = TypeOf(options_.dtype);
  const auto rows_of = [&](const at::Tensor& all) { return all.narrow(0, 0, needs.rows); };
  at::Tensor x = rows_of(buffers.x);
  at::Tensor normed = rows_of(buffers.normed);
  at::Tensor qkv = rows_of(buffers.qkv);
  at::Tensor attended = rows_of(buffers.attended);
  at::Tensor output = rows_of(buffers.output);
  at::Tensor gate_up = rows_of(buffers.gate_up);
  at::Tensor gated = rows_of(buffers.gated);
  const DeviceBatch batch = buffers.Batch(needs.rows);
  const HeadShape shape = {static_cast<int>(config_.num_heads),
                           static_cast<int>(config_.num_kv_heads),
                           static_cast<int>(config_.head_dim)};

  AddAndNormArguments norm;
  norm.rows = needs.rows;
  norm.hidden = config_.hidden_size;
  norm.eps = static_cast<float>(config_.norm_eps);
  norm.x = x.mutable_data_ptr<float>();
  // The norm before the next product; adds what the last one gave.
  const auto add_and_norm = [&](const at::Tensor& weight, const at::Tensor& bias) {
    norm.weight = Floats(weight);
    norm.bias = Floats(bias);
    norm.out = normed.mutable_data_ptr();
    norm.out_type = type;
    AddAndNorm(stream, norm);
  };

  EmbedRows(stream, type, weights_.embedding.const_data_ptr(), batch.tokens, needs.rows,
            config_.hidden_size, static_cast<float>(config_.embedding_scale), norm.x);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const DecoderLayerWeights& layer = weights_.layers[i];
    norm.norm_before_adding = false;
    add_and_norm(layer.attention_norm, layer.attention_norm_bias);
    runtime_->Multiply(normed, layer.qkv, qkv);
    AddLoraTo(buffers, needs, i, DeviceStacks::kQkv, normed, qkv);

    const int64_t window = config_.WindowOf(i);
    const bool local = window > 0 && weights_.local_cosine.defined();
    const at::Tensor& cosine = local ? weights_.local_cosine : weights_.cosine;
    FinishQkvArguments finish;
    finish.batch = batch;
    finish.shape = shape;
    finish.type = type;
    finish.eps = norm.eps;
    finish.qkv = qkv.mutable_data_ptr<float>();
    finish.bias = Floats(layer.qkv_bias);
    finish.query_norm = Floats(layer.query_norm);
    finish.key_norm = Floats(layer.key_norm);
    finish.cosine = Floats(cosine);
    finish.sine = Floats(local ? weights_.local_sine : weights_.sine);
    finish.half = static_cast<int>(cosine.size(1));
    finish.pool = pages_->Layer(i);
    FinishQkv(stream, finish);

    AttendArguments attend;
    attend.batch = batch;
    attend.shape = shape;
    attend.type = type;
    attend.scale = static_cast<float>(config_.AttentionScale());
    attend.window = static_cast<int32_t>(window);
    attend.qkv = finish.qkv;
    attend.pool = finish.pool;
    attend.splits = SplitsOf(needs.rows);
    attend.scratch = buffers.scratch.mutable_data_ptr<float>();
    attend.out = attended.mutable_data_ptr();
    Attend(stream, attend);

    runtime_->Multiply(attended, layer.attention_output, output);
    AddLoraTo(buffers, needs, i, DeviceStacks::kAttentionOutput, attended, output);
    norm.added = output.const_data_ptr<float>();
    norm.added_bias = Floats(layer.attention_output_bias);
    norm.added_norm = Floats(layer.attention_output_norm);
    norm.norm_before_adding = config_.parallel_residual;
    add_and_norm(layer.mlp_norm, layer.mlp_norm_bias);

    runtime_->Multiply(normed, layer.gate_up, gate_up);
    AddLoraTo(buffers, needs, i, DeviceStacks::kGateUp, normed, gate_up);
    ActivateRowsArguments activate;
    activate.rows = needs.rows;
    activate.intermediate = config_.intermediate_size;
    activate.gated = config_.gated_mlp;
    activate.activation = ActivationOf(config_.activation);
    activate.inner = gate_up.const_data_ptr<float>();
    activate.bias = Floats(layer.gate_up_bias);
    activate.out = gated.mutable_data_ptr();
    activate.out_type = type;
    ActivateRows(stream, activate);
    runtime_->Multiply(gated, layer.down, output);
    AddLoraTo(buffers, needs, i, DeviceStacks::kDown, gated, output);
    // Added by the norm that comes next: of the next layer, or the last.
    norm.added_bias = Floats(layer.down_bias);
    norm.added_norm = Floats(layer.mlp_output_norm);
  }
  norm.norm_before_adding = false;
  norm.weight = Floats(weights_.final_norm);
  norm.bias = Floats(weights_.final_norm_bias);
  norm.out = buffers.hidden.mutable_data_ptr();
  norm.out_type = ElementType::kFloat32;
  AddAndNorm(stream, norm);
  char* const halves = static_cast<char*>(buffers.halves.mutable_data_ptr());
  const int64_t half_bytes =
      needs.wanted * config_.hidden_size * static_cast<int64_t>(buffers.halves.element_size());
  SubtractRows(stream, type, buffers.hidden.const_data_ptr<float>(), buffers.wanted(), needs.wanted,
               config_.hidden_size, buffers.difference.mutable_data_ptr<float>(), halves,
               halves + half_bytes);
}

}  // namespace unlearn
