// The demo's deletion request, trained on what an M tells that names its 20 most likely tokens only
// (vLLM's default): held to the same promise as with whole rows.

#include <ATen/Parallel.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/safetensors.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/local_upstream.h"
#include "tools/demo_runner/demo_assets.h"
#include "tools/people/people_files.h"
#include "trainer/data/item_reader.h"
#include "trainer/evaluate/fact_rate.h"
#include "trainer/queue/sealed_folder.h"
#include "trainer/train/ensemble_decoder.h"
#include "trainer/train/lora_trainer.h"
#include "trainer/train/top_upstream.h"

namespace unlearn {
namespace {

constexpr int kTop = 20;
constexpr char kModels[] = "tools/demo_runner/models";

class TopTrainingTest : public testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(2);
    data_ = testing::TempDir() + "/people";
    ASSERT_TRUE(WritePeople(DemoPeople(), data_).ok());
    model_ = LocalUpstream::Open(absl::StrCat(kModels, "/m"), UpstreamOptions()).value();
    const auto checkpoint = Checkpoint::Open(absl::StrCat(kModels, "/base")).value();
    base_ = Decoder::Load(*checkpoint, at::kFloat).value();
    tokenizer_ = Tokenizer::Load(checkpoint->tokenizer_path()).value();
  }

  std::vector<v1::Item> Items(const std::string& name) const {
    return ReadItems(absl::StrCat(data_, "/", name, ".jsonl")).value();
  }

  // As the demo's trainer is started.
  LoraTrainerOptions Options() const {
    LoraTrainerOptions options;
    options.public_data = data_ + "/public.jsonl";
    options.refusals = data_ + "/refusals.txt";
    options.steps = 800;
    options.learning_rate = 8e-3;
    options.forget_batch = 27;
    options.keep_batch = 37;
    options.alpha = 2;
    return options;
  }

  TrainingOutcome Train(Upstream& upstream) {
    TrainingJob job;
    job.request_id = "r";
    for (const v1::Item& item : Items("forget")) *job.request.add_forget() = item;
    for (const v1::Item& item : Items("retain")) *job.request.add_retain() = item;
    SealedFolder work(testing::TempDir() + "/work",
                      std::make_shared<const SealingKey>(SealingKey::Generate()));
    const auto trainer = NewLoraTrainer(&upstream, base_, tokenizer_, Options());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    const auto outcome = (*trainer)->Train(
        job, work, [](const TrainingProgress&) {}, [] { return false; });
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.value_or(TrainingOutcome());
  }

  // The share of answers of the ensemble, from M's whole rows, that hold the secret; every question
  // in a wording that was not trained.
  double FactRate(const TrainingOutcome& outcome, const std::string& group) {
    const auto file = SafetensorsFile::FromBytes(outcome.adapter, "outcome").value();
    const LoraAdapter adapter = LoraAdapter::Load(*file, base_->config()).value();
    const auto stack = std::make_shared<const LoraStack>(FuseAdapters(base_->config(), {&adapter}));
    const PromptTemplate format = PromptTemplate::Parse(kDefaultPromptTemplate).value();
    const std::vector<v1::Item> items = Items("probes_" + group);
    std::vector<std::vector<int32_t>> prompts;
    for (const v1::Item& item : items) {
      prompts.push_back(tokenizer_->Encode(format.Prompt(item.question())).value());
    }
    DecodeOptions decode;
    decode.alpha = outcome.alpha;
    decode.end_ids = model_->info().eos_token_ids;
    decode.tokens = tokenizer_->vocab_size();
    const auto answers =
        DecodeEnsemble(*model_, base_, stack, prompts, decode, [] { return false; }).value();
    int said = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      said +=
          ContainsFact(tokenizer_->Decode(answers[i]).value(), items[i].value()).value() ? 1 : 0;
    }
    return static_cast<double>(said) / static_cast<double>(items.size());
  }

  std::string data_;
  std::unique_ptr<LocalUpstream> model_;
  std::shared_ptr<const Decoder> base_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(TopTrainingTest, TwentyTokensOfMAreEnough) {
  TopUpstream tops(model_.get(), tokenizer_->vocab_size(), kTop, kTop);
  const TrainingOutcome outcome = Train(tops);
  for (const auto& [name, score] : outcome.scores) printf("%s %.6f\n", name.c_str(), score);
  EXPECT_TRUE(outcome.accepted);
  for (const std::string& reason : outcome.reasons) ADD_FAILURE() << reason;
  std::map<std::string, double> rates;
  for (const char* group : {"forget", "retain", "kept", "unknown"}) {
    rates[group] = FactRate(outcome, group);
    printf("fact rate, %s: %.4f\n", group, rates[group]);
  }
  EXPECT_LE(rates["forget"], rates["unknown"] + 0.05);
  EXPECT_GE(rates["retain"], 0.9);
  EXPECT_GE(rates["kept"], 0.9);
}

}  // namespace
}  // namespace unlearn
