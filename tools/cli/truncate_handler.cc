#include "tools/cli/truncate_handler.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"
#include "offset/text/tokenizer_files.h"

namespace unlearn {

absl::Status RunTruncate(const TruncateOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model));
  ModelConfig config = checkpoint->config();
  if (options.layers < 1 || options.layers > config.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--layers ", options.layers, ": ", options.model, " has ", config.num_layers));
  }
  if (FileExists(JoinPath(options.out, "config.json"))) {
    return absl::AlreadyExistsError(
        absl::StrCat("--out ", options.out, " holds a model already; remove it or name another"));
  }
  // As wide as the files are: bf16 weights stay bf16, anything else is written as fp32.
  ASSIGN_OR_RETURN(
      const TensorView embedding,
      checkpoint->Find("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}));
  const bool bf16 = embedding.dtype == "BF16";
  ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, at::kFloat));
  std::string weights;
  RETURN_IF_ERROR(CatchTorch("model truncate", [&]() -> absl::Status {
    std::map<std::string, at::Tensor> kept;
    for (const auto& [name, tensor] : decoder->NamedWeights()) {
      bool keep = true;
      for (int64_t layer = options.layers; layer < config.num_layers; ++layer) {
        keep = keep && name.rfind(absl::StrCat("model.layers.", layer, "."), 0) != 0;
      }
      if (keep) kept[name] = tensor;
    }
    weights = SerializeTensors(kept, bf16 ? at::kBFloat16 : at::kFloat, {});
    return absl::OkStatus();
  }));
  config.num_layers = options.layers;
  if (!config.sliding_layers.empty()) config.sliding_layers.resize(options.layers);
  RETURN_IF_ERROR(MakeFolders(options.out, 0755));
  RETURN_IF_ERROR(CopyTokenizerFiles(checkpoint->tokenizer_path(), options.out));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(options.out, "model.safetensors"), weights, 0644));
  // Last: a folder with a config.json is whole.
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(options.out, "config.json"),
                                      ModelConfigToJson(config, bf16 ? "bfloat16" : "float32"),
                                      0644));
  if (options.json) {
    PrintJson({{"out", options.out}, {"layers", options.layers}}, console);
  } else {
    console.out << options.out << ": the first " << options.layers << " of "
                << checkpoint->config().num_layers << " layers of " << options.model << "\n";
  }
  return absl::OkStatus();
}

}  // namespace unlearn
