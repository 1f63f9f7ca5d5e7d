#include "tools/cli/truncate_handler.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/safetensors.h"
#include "offset/model/weight_layout.h"
#include "offset/text/tokenizer_files.h"

namespace unlearn {
namespace {

absl::StatusOr<std::string> DtypeName(const std::string& name, const std::string& dtype) {
  if (dtype == "F32") return std::string("float32");
  if (dtype == "BF16") return std::string("bfloat16");
  if (dtype == "F16") return std::string("float16");
  return absl::UnimplementedError(absl::StrCat(
      name, ": dtype ", dtype, " is not supported; convert the model to fp32, fp16 or bf16"));
}

}  // namespace

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
  config.num_layers = options.layers;
  if (!config.sliding_layers.empty()) config.sliding_layers.resize(options.layers);
  // Bytes as they lie in the mapped files: only what is kept is ever read.
  std::map<std::string, TensorView> kept;
  std::string dtype;
  for (const auto& [name, shape] : WeightShapes(config)) {
    ASSIGN_OR_RETURN(kept[name], checkpoint->Find(name, shape));
    ASSIGN_OR_RETURN(dtype, DtypeName(absl::StrCat(options.model, ": ", name), kept[name].dtype));
  }
  RETURN_IF_ERROR(MakeFolders(options.out, 0755));
  RETURN_IF_ERROR(CopyTokenizerFiles(checkpoint->tokenizer_path(), options.out));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(options.out, "model.safetensors"),
                                      SerializeSafetensors(kept, {{"format", "pt"}}), 0644));
  Json written = Json::parse(ModelConfigToJson(config, dtype));
  // What the whole model has seen, its first layers have seen.
  if (!checkpoint->training_data().empty()) {
    written["unlearn_training_data"] = checkpoint->training_data();
  }
  // Last: a folder with a config.json is whole.
  RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(options.out, "config.json"), written.dump(2) + "\n", 0644));
  if (options.json) {
    PrintJson({{"out", options.out}, {"layers", options.layers}}, console);
  } else {
    console.out << options.out << ": the first " << options.layers << " of "
                << checkpoint->config().num_layers << " layers of " << options.model << "\n";
  }
  return absl::OkStatus();
}

}  // namespace unlearn
