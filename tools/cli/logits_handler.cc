#include "tools/cli/logits_handler.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {

absl::Status RunLogits(const LogitsOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model));
  const ModelConfig& config = checkpoint->config();
  const int64_t length = static_cast<int64_t>(options.token_ids.size());
  if (length > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--token_ids has ", length,
                                                   " tokens; the context of ", options.model,
                                                   " is ", config.max_positions));
  }
  for (const int32_t id : options.token_ids) {
    if (id < 0 || id >= config.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("--token_ids: ", id, " is outside the vocabulary of ", config.vocab_size));
    }
  }
  ASSIGN_OR_RETURN(
      const auto decoder,
      Decoder::Load(*checkpoint, options.dtype == "bf16" ? at::kBFloat16 : at::kFloat));
  const int64_t rows = options.last == 0 ? length : std::min(options.last, length);
  at::Tensor logits;  // [rows, vocab]
  RETURN_IF_ERROR(CatchTorch("model logits", [&]() -> absl::Status {
    c10::NoGradGuard no_grad;
    const at::Tensor tokens =
        at::tensor(options.token_ids, at::kInt).to(at::kLong).unsqueeze(0);  // [1, positions]
    const at::Tensor hidden = decoder->Forward(tokens, LoraStack()).squeeze(0);
    logits = decoder->Logits(hidden.narrow(0, length - rows, rows)).contiguous();
    return absl::OkStatus();
  }));
  const float* values = logits.data_ptr<float>();
  const int64_t vocab = logits.size(1);
  if (options.json) {
    Json list = Json::array();
    for (int64_t row = 0; row < rows; ++row) {
      Json numbers = Json::array();
      for (int64_t id = 0; id < vocab; ++id) {
        numbers.push_back(ShortDouble(values[row * vocab + id]));
      }
      list.push_back(std::move(numbers));
    }
    PrintJson({{"logits", list}}, console);
    return absl::OkStatus();
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t id = 0; id < vocab; ++id) {
      console.out << absl::StrFormat("%s%.9g", id == 0 ? "" : " ", values[row * vocab + id]);
    }
    console.out << '\n';
  }
  return absl::OkStatus();
}

}  // namespace unlearn
