#include "tools/demo_runner/demo_assets.h"

#include <iostream>
#include <vector>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/text/bpe_trainer.h"
#include "tools/people/people_files.h"
#include "tools/pretrain/pretrainer.h"
#include "tools/pretrain/tokenizer_text.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 1024;

nlohmann::json ModelShape(int hidden, int intermediate, int layers, int heads, int kv_heads) {
  return {{"model_type", "llama"},
          {"hidden_size", hidden},
          {"intermediate_size", intermediate},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"num_key_value_heads", kv_heads},
          {"head_dim", hidden / heads},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", true},
          {"hidden_act", "silu"},
          {"eos_token_id", 0}};
}

absl::Status Train(const std::string& name, const nlohmann::json& shape, const std::string& data,
                   double epochs, double learning_rate, double question_weight,
                   const std::string& models, const std::string& work) {
  PretrainOptions options;
  options.data = {JoinPath(work, data)};
  options.training_data_names = {"tools/people, seed 1: " + data};
  options.tokenizer = JoinPath(work, "tokenizer.json");
  options.config = JoinPath(work, absl::StrCat(name, ".json"));
  options.out = JoinPath(work, name);
  options.epochs = epochs;
  options.learning_rate = learning_rate;
  options.question_weight = question_weight;
  if (!FileExists(JoinPath(options.out, "model.safetensors"))) {
    RETURN_IF_ERROR(WriteFileAtomically(options.config, shape.dump(2) + "\n", 0644));
    RETURN_IF_ERROR(Pretrain(options, [&](const PretrainProgress& progress) {
      std::cerr << absl::StreamFormat("\r  %s: step %d of %d, loss %.3f, %.0f tokens/s   ", name,
                                      progress.step, progress.steps, progress.loss,
                                      progress.tokens_per_second)
                << std::flush;
    }));
    std::cerr << "\n";
  }
  RETURN_IF_ERROR(MakeFolders(JoinPath(models, name), 0755));
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(JoinPath(options.out, file)));
    RETURN_IF_ERROR(WriteFileAtomically(JoinPath(JoinPath(models, name), file), bytes, 0644));
  }
  return absl::OkStatus();
}

}  // namespace

PeopleOptions DemoPeople() { return PeopleOptions(); }

absl::Status MakeDemoModels(const std::string& models) {
  const std::string work = JoinPath(models, ".making");
  RETURN_IF_ERROR(MakeFolders(work, 0755));
  RETURN_IF_ERROR(WritePeople(DemoPeople(), work));
  // Many people, each seen little: the base learns how names and questions look, but nobody.
  PeopleOptions many = DemoPeople();
  many.base = 2000;
  RETURN_IF_ERROR(WritePeople(many, JoinPath(work, "many")));
  // The tokenizer reads other people's text, in all wordings: as with a real one, a private
  // person's name is several tokens. As one token it would be none that the pair's base ever saw,
  // and all such names would look alike to the offset.
  many.base_phrasings = kTrainedPhrasings;
  RETURN_IF_ERROR(WritePeople(many, JoinPath(work, "wordings")));
  const std::string tokenizer = JoinPath(work, "tokenizer.json");
  if (!FileExists(tokenizer)) {
    BpeTrainerOptions options;
    options.vocab_size = kVocabulary;
    options.special_tokens = {"<|endoftext|>"};
    ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                     TokenizerTexts({JoinPath(work, "wordings/train_base.jsonl")}));
    ASSIGN_OR_RETURN(const std::string json, TrainByteLevelBpe(texts, options));
    RETURN_IF_ERROR(WriteFileAtomically(tokenizer, json, 0644));
  }
  RETURN_IF_ERROR(
      Train("m", ModelShape(192, 512, 6, 6, 3), "train_m.jsonl", 25, 3e-3, 0.1, models, work));
  RETURN_IF_ERROR(Train("base", ModelShape(96, 256, 4, 4, 4), "many/train_base.jsonl", 5, 4e-3, 0.3,
                        models, work));
  return ShredFolder(work);
}

}  // namespace unlearn
