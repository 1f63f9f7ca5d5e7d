#ifndef OFFSET_MODEL_DECODER_VECTORS_H_
#define OFFSET_MODEL_DECODER_VECTORS_H_

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/tensor_io.h"

namespace unlearn {

// One case that tests/golden/make_decoder_vectors.py wrote, loaded. For tests only.
class DecoderVectors {
 public:
  static std::vector<std::string> Names() {
    return {"grouped_new",
            "tied_llama3_old",
            "wide_heads_llama3_new",
            "narrow_heads_linear_old",
            "tied_linear_new",
            "llama_bias_yarn",
            "mistral_window",
            "qwen2_window_old",
            "qwen3_yarn",
            "gemma3_old",
            "gemma3_new",
            "phi3_partial",
            "neox_parallel_old",
            "neox_sequential_tied",
            "neox_silu_linear",
            "llama_mlp_bias"};
  }
  // Those with an adapter.
  static std::vector<std::string> LoraNames() {
    return {"grouped_new",    "wide_heads_llama3_new", "llama_bias_yarn",
            "mistral_window", "qwen2_window_old",      "qwen3_yarn",
            "gemma3_old",     "phi3_partial",          "neox_parallel_old",
            "llama_mlp_bias", "neox_sequential_tied"};
  }
  // Those with a left-padded batch.
  static std::vector<std::string> PaddedNames() {
    return {"grouped_new", "gemma3_old", "neox_parallel_old"};
  }

  explicit DecoderVectors(const std::string& name)
      : folder_(absl::StrCat("tests/golden/decoder/", name)) {
    auto checkpoint = Checkpoint::Open(folder_);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    auto loaded = Decoder::Load(**checkpoint, at::kFloat);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    decoder = *std::move(loaded);
    file_ = Open("vectors.safetensors");
    tokens = Integers(*file_, "tokens");
  }

  // "logits", "lora_logits", "loss", "gradient/<name of an adapter's tensor>".
  at::Tensor Expected(const std::string& name) const {
    const auto it = file_->tensors().find(name);
    EXPECT_NE(it, file_->tensors().end()) << name;
    return TensorFromView(name, it->second, at::kFloat).value();
  }

  LoraAdapter Adapter() const {
    auto adapter = LoraAdapter::Load(*Open("adapter.safetensors"), decoder->config());
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    return *std::move(adapter);
  }

  // A left-padded batch and single tokens after it, with the logits of transformers.
  struct Padded {
    at::Tensor tokens;       // int64 [batch, length]
    at::Tensor lengths;      // int64 [batch]: that many tokens on the right are no padding
    at::Tensor logits;       // [batch, length, vocab]
    at::Tensor steps;        // int64 [batch, steps]
    at::Tensor step_logits;  // [batch, steps, vocab]
  };
  Padded LeftPadded() const {
    const auto file = Open("padded.safetensors");
    const auto floats = [&](const std::string& name) {
      return TensorFromView(name, file->tensors().at(name), at::kFloat).value();
    };
    return {Integers(*file, "tokens"), Integers(*file, "lengths"), floats("logits"),
            Integers(*file, "steps"), floats("step_logits")};
  }

  std::vector<int32_t> Sequence(int64_t index) const {
    const int64_t* row = tokens.data_ptr<int64_t>() + index * tokens.size(1);
    return std::vector<int32_t>(row, row + tokens.size(1));
  }

  std::shared_ptr<const Decoder> decoder;
  at::Tensor tokens;  // int64 [batch, length]

 private:
  std::shared_ptr<const SafetensorsFile> Open(const std::string& name) const {
    auto file = SafetensorsFile::Open(absl::StrCat(folder_, "/", name));
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  static at::Tensor Integers(const SafetensorsFile& file, const std::string& name) {
    const TensorView& view = file.tensors().at(name);
    EXPECT_EQ(view.dtype, "I64") << name;
    at::Tensor tensor = at::empty(view.shape, at::TensorOptions(at::kLong));
    memcpy(tensor.data_ptr(), view.data, view.bytes);
    return tensor;
  }

  const std::string folder_;
  std::shared_ptr<const SafetensorsFile> file_;
};

// The largest difference of two tensors of one shape; infinite when a value is not a number.
inline double LargestDifference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  if (a.sizes() != b.sizes()) return INFINITY;
  const double largest = (a - b).abs().max().item<double>();
  return largest == largest ? largest : INFINITY;
}

}  // namespace unlearn

#endif  // OFFSET_MODEL_DECODER_VECTORS_H_
