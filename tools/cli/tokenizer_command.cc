#include "tools/cli/tokenizer_command.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/text/bpe_trainer.h"
#include "offset/text/tokenizer.h"
#include "trainer/data/item_reader.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {
namespace {

struct TrainOptions {
  std::vector<std::string> data;
  int vocab_size = 0;
  std::string out;
  std::vector<std::string> special_tokens;
  int min_frequency = 2;
  std::string prompt_template = kDefaultPromptTemplate;
  bool json = false;
};

struct CodeOptions {
  std::string tokenizer;
  std::string text;
  std::string file;
  std::vector<int32_t> token_ids;
  bool special_tokens = false;
  bool json = false;
};

// What a model will read: prompts and answers apart, as they are tokenised, or whole texts.
absl::Status AppendTexts(const std::string& file, const PromptTemplate& format,
                         std::vector<std::string>& texts) {
  if (absl::EndsWith(file, ".txt")) {
    ASSIGN_OR_RETURN(std::string contents, ReadFile(file));
    texts.push_back(std::move(contents));
    return absl::OkStatus();
  }
  ItemReaderLimits limits;
  limits.max_file_bytes = size_t{4} << 30;
  limits.max_items = 50'000'000;
  ASSIGN_OR_RETURN(const std::vector<v1::Item> items, ReadItems(file, limits));
  for (const v1::Item& item : items) {
    if (!item.text().empty()) {
      texts.push_back(item.text());
      continue;
    }
    texts.push_back(format.Prompt(item.question()));
    if (!item.answer().empty()) texts.push_back(absl::StrCat(" ", item.answer()));
  }
  return absl::OkStatus();
}

absl::Status RunTrain(const TrainOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const PromptTemplate format, PromptTemplate::Parse(options.prompt_template));
  std::vector<std::string> texts;
  for (const std::string& file : options.data) {
    RETURN_IF_ERROR(AppendTexts(file, format, texts));
  }
  BpeTrainerOptions trainer;
  trainer.vocab_size = options.vocab_size;
  trainer.min_frequency = options.min_frequency;
  trainer.special_tokens = options.special_tokens;
  if (trainer.special_tokens.empty()) trainer.special_tokens = {"<|endoftext|>"};
  ASSIGN_OR_RETURN(const std::string json, TrainByteLevelBpe(texts, trainer));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromJson(json, options.out));
  RETURN_IF_ERROR(WriteFileAtomically(options.out, json, 0644));
  if (options.json) {
    PrintJson({{"out", options.out},
               {"vocab_size", tokenizer->vocab_size()},
               {"fingerprint", tokenizer->fingerprint()}},
              console);
  } else {
    console.out << options.out << ": " << tokenizer->vocab_size() << " tokens, fingerprint "
                << tokenizer->fingerprint() << '\n';
  }
  return absl::OkStatus();
}

absl::Status RunEncode(const CodeOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.tokenizer));
  std::string text = options.text;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(text, ReadFile(options.file));
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer->Encode(text, options.special_tokens));
  if (options.json) {
    PrintJson({{"token_ids", ids}}, console);
  } else {
    console.out << absl::StrJoin(ids, ",") << '\n';
  }
  return absl::OkStatus();
}

absl::Status RunDecode(const CodeOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.tokenizer));
  ASSIGN_OR_RETURN(const std::string text,
                   tokenizer->Decode(options.token_ids, !options.special_tokens));
  if (options.json) {
    PrintJson({{"text", text}}, console);
  } else {
    PrintText(absl::StrCat(text, "\n"), console);
  }
  return absl::OkStatus();
}

CLI::App* AddCodeCommand(CLI::App* parent, const std::string& name, const std::string& help,
                         const std::shared_ptr<CodeOptions>& options) {
  CLI::App* command = parent->add_subcommand(name, help);
  command
      ->add_option("--tokenizer", options->tokenizer,
                   "tokenizer.json, a SentencePiece .model, or the folder that holds one")
      ->required();
  AddJsonFlag(command, &options->json);
  return command;
}

}  // namespace

void AddTokenizerCommands(CLI::App* root, Action* chosen) {
  CLI::App* parent = root->add_subcommand("tokenizer", "Byte-level BPE tokenizers");

  CLI::App* train = parent->add_subcommand("train", "Trains a tokenizer and writes it");
  auto options = std::make_shared<TrainOptions>();
  train
      ->add_option("--data", options->data,
                   "Files: JSON lines (question and answer, or text) or plain .txt")
      ->required();
  train
      ->add_option("--vocab_size", options->vocab_size,
                   "Special tokens, the 256 bytes and merged tokens together")
      ->required();
  train->add_option("--out", options->out, "The tokenizer.json to write")->required();
  AddRepeated(train, "--special_token", &options->special_tokens,
              "Gets the next id from 0 on; may be given several times; default <|endoftext|>");
  train
      ->add_option("--min_frequency", options->min_frequency,
                   "Pairs that occur less often are not merged")
      ->capture_default_str();
  train->add_option("--prompt_template", options->prompt_template,
                    "How a question becomes a prompt; holds {question} once");
  AddJsonFlag(train, &options->json);
  SetAction<TrainOptions>(train, options, chosen, RunTrain);

  auto encode_options = std::make_shared<CodeOptions>();
  CLI::App* encode =
      AddCodeCommand(parent, "encode", "Prints the token ids of a text", encode_options);
  CLI::Option_group* text = encode->add_option_group("Text", "one of");
  text->add_option("--text", encode_options->text, "The text");
  text->add_option("--file", encode_options->file, "The file with the text");
  text->require_option(1);
  encode->add_flag("--add_special_tokens", encode_options->special_tokens,
                   "Adds what the tokenizer puts around a text, such as a BOS");
  SetAction<CodeOptions>(encode, encode_options, chosen, RunEncode);

  auto decode_options = std::make_shared<CodeOptions>();
  CLI::App* decode =
      AddCodeCommand(parent, "decode", "Prints the text of token ids", decode_options);
  AddList(decode, "--token_ids", &decode_options->token_ids, "The ids: 5,6,7")->required();
  decode->add_flag("--keep_special_tokens", decode_options->special_tokens,
                   "Prints special tokens too");
  SetAction<CodeOptions>(decode, decode_options, chosen, RunDecode);
}

}  // namespace unlearn
