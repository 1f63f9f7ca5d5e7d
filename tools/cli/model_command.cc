#include "tools/cli/model_command.h"

#include <memory>

namespace unlearn {

void AddModelCommands(CLI::App* root, Action* chosen, const ModelHandlers& handlers) {
  CLI::App* parent = root->add_subcommand("model", "Runs a model folder directly");
  CLI::App* logits = parent->add_subcommand(
      "logits", "Prints the logits of each position, one row of the vocabulary each");
  auto options = std::make_shared<LogitsOptions>();
  logits->add_option("--model", options->model, "HF folder: config.json and safetensors")
      ->required();
  AddList(logits, "--token_ids", &options->token_ids, "The sequence: 5,6,7")->required();
  logits->add_option("--dtype", options->dtype, "Of the matrices: fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  logits->add_option("--last", options->last, "Only so many positions at the end; 0: all of them")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddJsonFlag(logits, &options->json);
  SetAction<LogitsOptions>(logits, options, chosen, handlers.logits);

  CLI::App* truncate = parent->add_subcommand(
      "truncate",
      "Writes a folder with the first layers of a model, its norm and its head: a pair's base "
      "where the large model has no small sibling. `unlearn pretrain --config OUT` heals it");
  auto cut = std::make_shared<TruncateOptions>();
  truncate->add_option("--model", cut->model, "HF folder to take from")->required();
  truncate->add_option("--layers", cut->layers, "How many of its layers are kept")->required();
  truncate->add_option("--out", cut->out, "HF folder to write; must not hold a model")->required();
  AddJsonFlag(truncate, &cut->json);
  SetAction<TruncateOptions>(truncate, cut, chosen, handlers.truncate);
}

}  // namespace unlearn
