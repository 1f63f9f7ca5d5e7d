#include "tools/cli/pretrain_command.h"

#include <memory>

namespace unlearn {

void AddPretrainCommand(CLI::App* root, Action* chosen, const ModelHandlers& handlers) {
  CLI::App* command = root->add_subcommand(
      "pretrain", "Trains a small model from scratch or further; interrupted, it goes on");
  auto options = std::make_shared<PretrainFlags>();
  command
      ->add_option("--data", options->data,
                   "Files: JSON lines (question and answer, or text) or plain .txt")
      ->required();
  command->add_option("--tokenizer", options->tokenizer, "tokenizer.json; copied into --out")
      ->required();
  command
      ->add_option("--config", options->config,
                   "config.json of a new model, or a folder whose weights to go on from")
      ->required();
  command->add_option("--out", options->out, "HF folder to write")->required();
  command->add_option("--prompt_template", options->prompt_template,
                      "How a question becomes a prompt; holds {question} once");
  command->add_option("--epochs", options->epochs, "Passes over the data")->capture_default_str();
  command->add_option("--batch_tokens", options->batch_tokens, "Padded tokens of a step")
      ->capture_default_str();
  command->add_option("--learning_rate", options->learning_rate, "The highest, after warm-up")
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "Share of the steps")->capture_default_str();
  command->add_option("--weight_decay", options->weight_decay, "Of the matrices")
      ->capture_default_str();
  command
      ->add_option("--question_weight", options->question_weight,
                   "Of the loss on question tokens, beside 1 on answers")
      ->capture_default_str();
  command->add_option("--compute", options->compute, "auto, fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--save_dtype", options->save_dtype, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the weights and the order")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "0: one a core")->capture_default_str();
  command
      ->add_option("--checkpoint_seconds", options->checkpoint_seconds,
                   "Between saves of what an interrupted run goes on from")
      ->capture_default_str();
  AddRepeated(command, "--training_data_name", &options->training_data_names,
              "Recorded in the folder as what the model has seen; may be given several times");
  AddJsonFlag(command, &options->json);
  SetAction<PretrainFlags>(command, options, chosen, handlers.pretrain);
}

}  // namespace unlearn
