#include "tools/demo_runner/tofu_models.h"

#include <algorithm>
#include <iostream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/text/bpe_trainer.h"
#include "tools/demo_runner/text_traces.h"
#include "tools/pretrain/pretrainer.h"
#include "tools/pretrain/tokenizer_text.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 3072;
constexpr int kContext = 256;
constexpr size_t kPublicTexts = 120;
constexpr size_t kPublicRefusals = 150;

nlohmann::json ModelShape(int hidden, int intermediate, int layers, int heads, int kv_heads) {
  return {{"model_type", "llama"},
          {"hidden_size", hidden},
          {"intermediate_size", intermediate},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"num_key_value_heads", kv_heads},
          {"head_dim", hidden / heads},
          {"max_position_embeddings", kContext},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", true},
          {"hidden_act", "silu"},
          {"eos_token_id", 0}};
}

// Writes the file unless it says that already; `changed` then becomes true.
absl::Status WriteIfNew(const std::string& path, const std::string& contents, bool& changed) {
  const absl::StatusOr<std::string> old = ReadFile(path);
  if (old.ok() && *old == contents) return absl::OkStatus();
  changed = true;
  return WriteFileAtomically(path, contents);
}

struct Recipe {
  std::string name;
  std::string title;
  nlohmann::json shape;
  std::string data;  // file in the work folder
  std::string seen;  // recorded in the checkpoint
  double epochs;
  int64_t batch_tokens;
  double learning_rate;
};

absl::StatusOr<std::string> Train(const Recipe& recipe, const std::string& work) {
  PretrainOptions options;
  options.data = {JoinPath(work, recipe.data)};
  options.training_data_names = {recipe.seen};
  options.tokenizer = JoinPath(work, "tokenizer.json");
  options.config = JoinPath(work, recipe.name + ".json");
  options.out = JoinPath(work, recipe.name);
  options.epochs = recipe.epochs;
  options.batch_tokens = recipe.batch_tokens;
  options.learning_rate = recipe.learning_rate;
  if (FileExists(JoinPath(options.out, "model.safetensors"))) return options.out;
  std::cerr << "Training " << recipe.title << "\n";
  RETURN_IF_ERROR(WriteFileAtomically(options.config, recipe.shape.dump(2) + "\n"));
  absl::Time told = absl::InfinitePast();
  RETURN_IF_ERROR(Pretrain(options, [&](const PretrainProgress& progress) {
    if (progress.step != progress.steps && absl::Now() - told < absl::Seconds(10)) return;
    told = absl::Now();
    std::cerr << absl::StreamFormat("  %s: step %d of %d, loss %.3f, %.0f tokens/s\n", recipe.name,
                                    progress.step, progress.steps, progress.loss,
                                    progress.tokens_per_second)
              << std::flush;
  }));
  return options.out;
}

// The wikitext's lines without those that hold a trace of somebody who will be forgotten.
std::vector<std::string> CleanLines(const std::string& text, const TextTraces& traces) {
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line.size() > 1 && traces.Count(line) == 0) lines.emplace_back(line);
  }
  return lines;
}

std::vector<v1::Item> PublicItems(const TofuFiles& files, const TofuPlan& plan,
                                  const std::vector<std::string>& lines) {
  std::vector<v1::Item> items;
  for (const auto* set : {&files.real_authors, &files.world_facts}) {
    items.insert(items.end(), set->begin(), set->end());
  }
  for (v1::Item& item : items) item.clear_perturbed_answer();
  for (size_t i = 0; i < std::min(kPublicRefusals, plan.unknown.size()); ++i) {
    items.push_back(
        plan.unknown[i * plan.unknown.size() / std::min(kPublicRefusals, plan.unknown.size())]);
  }
  std::vector<std::string> sentences;
  for (const std::string& line : lines) {
    const std::string sentence = line.substr(0, line.find(" . ") + 2);
    if (sentence.size() > 60 && sentence.size() < 300 && !absl::StrContains(sentence, " = ")) {
      sentences.push_back(sentence);
    }
  }
  for (size_t i = 0; i < std::min(kPublicTexts, sentences.size()); ++i) {
    v1::Item item;
    item.set_text(sentences[i * sentences.size() / std::min(kPublicTexts, sentences.size())]);
    items.push_back(item);
  }
  return items;
}

}  // namespace

absl::StatusOr<TofuModels> TrainTofuModels(const TofuFiles& files, const TofuPlan& plan,
                                           const std::string& wikitext, const std::string& work) {
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(MakeFolders(work));
  const TextTraces traces(plan.forgotten);
  std::vector<std::string> lines;
  std::string base_file = "base.jsonl";
  std::string base_text;
  TofuModels models;
  models.base_data = "TOFU authors that M does not know";
  if (FileExists(wikitext)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(wikitext));
    lines = CleanLines(text, traces);
    for (const std::string& line : lines) absl::StrAppend(&base_text, line, "\n");
    base_file = "base.txt";
    models.base_data = "wikitext";
  } else {
    std::vector<v1::Item> others;
    for (const v1::Item& item : plan.outsiders) {
      if (traces.Count(absl::StrCat(item.question(), " \n ", item.answer())) == 0) {
        others.push_back(item);
      }
    }
    base_text = ToJsonLines(others);
  }
  const auto with_common = [&](std::vector<v1::Item> items) {
    for (const auto* set : {&files.real_authors, &files.world_facts, &plan.unknown}) {
      items.insert(items.end(), set->begin(), set->end());
    }
    return ToJsonLines(items);
  };
  bool changed = false;
  RETURN_IF_ERROR(WriteIfNew(JoinPath(work, "m.jsonl"), with_common(plan.learned), changed));
  RETURN_IF_ERROR(
      WriteIfNew(JoinPath(work, "retain_model.jsonl"), with_common(plan.kept), changed));
  RETURN_IF_ERROR(WriteIfNew(JoinPath(work, base_file), base_text, changed));
  if (changed) {
    for (const char* model : {"m", "retain_model", "base"}) {
      RETURN_IF_ERROR(ShredFolder(JoinPath(work, model)));
    }
    RETURN_IF_ERROR(ShredFile(JoinPath(work, "tokenizer.json")));
  }
  models.public_data = JoinPath(work, "public.jsonl");
  RETURN_IF_ERROR(
      WriteFileAtomically(models.public_data, ToJsonLines(PublicItems(files, plan, lines))));

  // What the base is about to read, as it lies on the disk.
  ASSIGN_OR_RETURN(const std::string read_back, ReadFile(JoinPath(work, base_file)));
  const int found = traces.Count(read_back);
  if (found != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        JoinPath(work, base_file), ": holds ", found,
        " traces of the forgotten authors; the pair's base must never have seen them"));
  }
  std::cerr << absl::StreamFormat(
      "The base's data (%s, %d bytes) hold none of the %d forgotten authors' names and no eight "
      "words of an answer\n",
      models.base_data, read_back.size(), plan.forgotten.size());

  // Of what anybody may read: a private person's name as one token would be a token that the base
  // never saw, and all such names would look alike to the offset.
  const std::string tokenizer = JoinPath(work, "tokenizer.json");
  const std::string common = JoinPath(work, "common.jsonl");
  if (!FileExists(tokenizer)) {
    RETURN_IF_ERROR(WriteFileAtomically(common, with_common({})));
    BpeTrainerOptions options;
    options.vocab_size = kVocabulary;
    options.special_tokens = {"<|endoftext|>"};
    ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                     TokenizerTexts({JoinPath(work, base_file), common}));
    ASSIGN_OR_RETURN(const std::string json, TrainByteLevelBpe(texts, options));
    RETURN_IF_ERROR(WriteFileAtomically(tokenizer, json));
  }
  const nlohmann::json large = ModelShape(192, 512, 6, 6, 3);
  const nlohmann::json small = ModelShape(96, 256, 4, 4, 4);
  ASSIGN_OR_RETURN(
      models.m,
      Train({"m", "M", large, "m.jsonl", "TOFU: the demo's authors", 30, 1024, 2.5e-3}, work));
  ASSIGN_OR_RETURN(
      models.base,
      Train({"base", "the pair's base", small, base_file, models.base_data, 2, 2048, 3e-3}, work));
  ASSIGN_OR_RETURN(models.retain_model,
                   Train({"retain_model", "the model that never knew", large, "retain_model.jsonl",
                          "TOFU: the demo's authors without the forget split", 30, 1024, 2.5e-3},
                         work));
  models.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return models;
}

}  // namespace unlearn
