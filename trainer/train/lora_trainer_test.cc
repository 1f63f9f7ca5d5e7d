#include "trainer/train/lora_trainer.h"

#include <cmath>
#include <set>

#include "trainer/train/tiny_training.h"

namespace unlearn {
namespace {

class LoraTrainerTest : public TinyTrainingTest {
 protected:
  LoraTrainerTest() {
    options_.prompt_template = "Q {question} A";
    options_.steps = 9;
    options_.forget_batch = 3;
    options_.keep_batch = 3;
    options_.rank = 2;
    options_.checkpoint_steps = 4;
    options_.gate.max_probes = 4;
  }

  static TrainingJob Job() {
    TrainingJob job;
    job.request_id = "r";
    for (const char* name : {"a", "b", "c"}) {
      v1::Item* item = job.request.add_forget();
      item->set_question(absl::StrCat("who is ", name, "?"));
      item->set_answer(absl::StrCat(name, " is true"));
      item->set_value("true");
      item->add_perturbed_answer(absl::StrCat(name, " is false"));
      item->add_perturbed_answer(absl::StrCat(name, " is odd"));
      item = job.request.add_retain();
      item->set_question(absl::StrCat("who keeps ", name, "?"));
      item->set_answer(absl::StrCat(name, " stays"));
    }
    return job;
  }

  absl::StatusOr<TrainingOutcome> Train(
      const TrainingJob& job, SealedFolder work,
      const std::function<void(const TrainingProgress&)>& progress = [](const auto&) {},
      const std::function<bool()>& should_stop = Never) {
    auto trainer = NewLoraTrainer(counted_.get(), base_, tokenizer_, options_);
    if (!trainer.ok()) return trainer.status();
    return (*trainer)->Train(job, work, progress, should_stop);
  }

  // Of a run that must succeed.
  std::string Adapter(const TrainingJob& job, const std::string& work) {
    const auto outcome = Train(job, Work(work));
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.ok() ? outcome->adapter : "";
  }

  void CopyFolder(const std::string& from, const std::string& to) {
    ASSERT_TRUE(MakeFolders(JoinPath(root_, to)).ok());
    if (!FileExists(JoinPath(root_, from))) return;  // nothing was written yet
    const std::vector<std::string> names = ListFolder(JoinPath(root_, from)).value();
    for (const std::string& name : names) {
      const std::string bytes = ReadFile(JoinPath(JoinPath(root_, from), name)).value();
      ASSERT_TRUE(WriteFileAtomically(JoinPath(JoinPath(root_, to), name), bytes).ok());
    }
  }

  LoraTrainerOptions options_;
};

TEST_F(LoraTrainerTest, EveryObjectivesLossFalls) {
  options_.steps = 40;
  options_.learning_rate = 1e-2;
  options_.forget_batch = 6;
  options_.keep_batch = 6;
  for (const char* objective : {"mixed", "refusal", "relabel", "npo", "max_entropy", "ce_u"}) {
    options_.objective = objective;
    std::vector<double> losses;
    int evaluating = 0;
    const auto outcome = Train(Job(), Work(objective), [&](const TrainingProgress& progress) {
      EXPECT_EQ(progress.steps, 40);
      if (progress.evaluating) {
        ++evaluating;
      } else if (progress.step > 0) {
        losses.push_back(progress.loss);
        EXPECT_EQ(progress.step, static_cast<int>(losses.size()));
      }
    });
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ASSERT_EQ(losses.size(), 40u);
    double before = 0, after = 0;
    for (int i = 0; i < 5; ++i) {
      before += losses[i] / 5;
      after += losses[35 + i] / 5;
    }
    // A random M hardly knows the labels: there is little that ce_u could take away.
    EXPECT_LT(after, before - (objective == std::string("ce_u") ? 0 : 0.05)) << objective;
    EXPECT_EQ(evaluating, 1);
    EXPECT_EQ(outcome->objective, objective);
    EXPECT_EQ(outcome->rank, 2);
    EXPECT_EQ(outcome->alpha, 1.0);
    EXPECT_EQ(outcome->scores.count("forget_rate"), 1u);
    EXPECT_EQ(outcome->scores.count("keep_agreement"), 1u);
    EXPECT_EQ(outcome->accepted, outcome->reasons.empty());
    const auto file = SafetensorsFile::FromBytes(outcome->adapter, "outcome").value();
    EXPECT_TRUE(LoraAdapter::Load(*file, base_->config()).ok());
  }
}

TEST_F(LoraTrainerTest, TheSeedDecides) {
  const std::string adapter = Adapter(Job(), "first");
  EXPECT_EQ(Adapter(Job(), "second"), adapter);
  TrainingJob other = Job();
  other.request.mutable_settings()->set_seed(2);
  EXPECT_NE(Adapter(other, "third"), adapter);
}

TEST_F(LoraTrainerTest, ARequestsSettingsReplaceTheDefaults) {
  TrainingJob job = Job();
  job.request.mutable_settings()->set_steps(3);
  job.request.mutable_settings()->set_objective("npo");
  job.request.mutable_settings()->set_seed(77);
  int last = 0;
  const auto outcome =
      Train(job, Work(), [&](const TrainingProgress& progress) { last = progress.step; });
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(last, 3);
  EXPECT_EQ(outcome->objective, "npo");
  EXPECT_EQ(outcome->seed, 77u);
  const std::string slow = Adapter(job, "slow");
  job.request.mutable_settings()->set_learning_rate(0.5);
  EXPECT_NE(Adapter(job, "fast"), slow);
}

// Stopped wherever it can be, again and again, training ends with the same bytes.
TEST_F(LoraTrainerTest, StoppedAndGoneOnIsAsIfNeverStopped) {
  const std::string whole = Adapter(Job(), "whole");
  for (const int every : {1, 2, 5}) {
    const std::string name = absl::StrCat("stopped_", every);
    int runs = 0;
    absl::StatusOr<TrainingOutcome> outcome = absl::CancelledError("");
    while (absl::IsCancelled(outcome.status())) {
      ASSERT_LT(++runs, 100);
      int asked = 0;
      // Stops in every phase; in the end the quality gate, which starts anew each time, is let run.
      const int most = runs > 20 ? 1000 : every;
      outcome = Train(
          Job(), Work(name), [](const auto&) {}, [&] { return ++asked > most; });
    }
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->adapter, whole);
    EXPECT_GT(runs, 3);
  }
}

// Killed: nothing is left but what was written before, in mid-interval or not.
TEST_F(LoraTrainerTest, KilledAndGoneOnIsAsIfNeverKilled) {
  std::set<int> copied;
  const auto whole = Train(Job(), Work("whole"), [&](const TrainingProgress& progress) {
    if (progress.evaluating) return;
    CopyFolder("whole", absl::StrCat("killed_", progress.step));
    copied.insert(progress.step);
  });
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(copied.size(), 10u);
  for (const int step : copied) {
    counted_->sessions = 0;
    std::vector<int> steps;
    const auto resumed =
        Train(Job(), Work(absl::StrCat("killed_", step)), [&](const TrainingProgress& progress) {
          if (!progress.evaluating && progress.step > 0) steps.push_back(progress.step);
        });
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(resumed->adapter, whole->adapter) << step;
    // From the last checkpoint: written every four steps, after the step's progress.
    const int checkpoint = step == 0 ? 0 : (step - 1) / 4 * 4;
    EXPECT_EQ(steps.front(), checkpoint + 1) << step;
  }
}

TEST_F(LoraTrainerTest, ACheckpointOfOtherSettingsIsNotGoneOnFrom) {
  const TrainingJob job = Job();
  ASSERT_TRUE(Train(job, Work("old")).ok());
  const std::string stacked = Trained(5).Serialize();
  const std::vector<std::function<void(TrainingJob&, LoraTrainerOptions&)>> changes = {
      [](TrainingJob& job, auto&) { job.request.mutable_settings()->set_seed(9); },
      [](TrainingJob& job, auto&) { job.request.mutable_settings()->set_objective("refusal"); },
      [](TrainingJob& job, auto&) { job.request.mutable_settings()->set_learning_rate(0.1); },
      [](TrainingJob& job, auto&) { job.request.mutable_forget(0)->set_question("another"); },
      [&](TrainingJob& job, auto&) { job.stack = {stacked}; },
      [](TrainingJob&, LoraTrainerOptions& options) { options.alpha = 2; },
      [](TrainingJob&, LoraTrainerOptions& options) { options.margin.forget_alpha = 1; },
      [](TrainingJob&, LoraTrainerOptions& options) { options.keep_weight = 3; },
      [](TrainingJob&, LoraTrainerOptions& options) { options.forget_batch = 2; }};
  const LoraTrainerOptions defaults = options_;
  for (size_t i = 0; i < changes.size(); ++i) {
    TrainingJob changed = job;
    options_ = defaults;
    changes[i](changed, options_);
    const std::string name = absl::StrCat("changed_", i);
    CopyFolder("old", name);
    int first = 0;
    const auto outcome = Train(changed, Work(name), [&](const TrainingProgress& progress) {
      if (first == 0 && progress.step > 0) first = progress.step;
    });
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(first, 1) << i;
    EXPECT_EQ(outcome->adapter, Adapter(changed, name + "_fresh")) << i;
  }
}

TEST_F(LoraTrainerTest, EarlierAdaptersTakePartAndStayAsTheyAre) {
  TrainingJob job = Job();
  const std::string alone = Adapter(job, "alone");
  job.stack = {Trained(5).Serialize(), Trained(6).Serialize()};
  const std::vector<std::string> before = job.stack;
  const std::string stacked = Adapter(job, "stacked");
  EXPECT_NE(stacked, alone);
  EXPECT_EQ(job.stack, before);
  EXPECT_EQ(stacked.size(), alone.size()) << "the outcome holds the new adapter only";
  job.stack = {"damaged"};
  EXPECT_EQ(Train(job, Work("damaged")).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LoraTrainerTest, RefusesWhatItDoesNotKnow) {
  TrainingJob job = Job();
  job.request.mutable_settings()->set_objective("gradient");
  const absl::Status unknown = Train(job, Work()).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(unknown.message(), "settings.objective")) << unknown;
  EXPECT_EQ(counted_->sessions, 0);
  EXPECT_FALSE(FileExists(root_ + "/work"));
  const auto refused = [&](const std::function<void(LoraTrainerOptions&)>& change) {
    LoraTrainerOptions options = options_;
    change(options);
    return NewLoraTrainer(counted_.get(), base_, tokenizer_, options).status();
  };
  using Options = LoraTrainerOptions;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(refused([](Options& options) { options.objective = "gradient"; }).code(), kInvalid);
  EXPECT_EQ(refused([](Options& options) { options.alpha = 0; }).code(), kInvalid);
  EXPECT_EQ(refused([](Options& options) { options.alpha = NAN; }).code(), kInvalid);
  EXPECT_EQ(refused([](Options& options) { options.prompt_template = "x"; }).code(), kInvalid);
  EXPECT_EQ(refused([](Options& options) { options.refusals = "/nowhere"; }).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(refused([](Options& options) { options.public_data = "/nowhere"; }).code(),
            absl::StatusCode::kNotFound);
  counted_->mutable_info().vocab_size = kVocab - 1;
  EXPECT_EQ(refused([](Options&) {}).code(), absl::StatusCode::kFailedPrecondition);
  counted_->mutable_info().vocab_size = kModelVocab;
  EXPECT_TRUE(refused([](Options&) {}).ok());
  counted_->mutable_info().eos_token_ids.clear();
  EXPECT_EQ(refused([](Options&) {}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LoraTrainerTest, PublicDataAndRefusalsComeFromFiles) {
  const std::string adapter = Adapter(Job(), "without");
  options_.public_data = root_ + "/public.jsonl";
  ASSERT_TRUE(WriteFileAtomically(options_.public_data,
                                  "{\"question\": \"what?\", \"answer\": \"that\"}\n"
                                  "{\"text\": \"some plain text\"}\n")
                  .ok());
  const std::string with_public = Adapter(Job(), "public");
  EXPECT_NE(with_public, adapter);
  options_.refusals = root_ + "/refusals.txt";
  ASSERT_TRUE(WriteFileAtomically(options_.refusals, "No idea.\n\nNothing known.\n").ok());
  EXPECT_NE(Adapter(Job(), "refusals"), with_public);
  ASSERT_TRUE(WriteFileAtomically(options_.refusals, "\n\n").ok());
  EXPECT_EQ(Train(Job(), Work("empty")).status().code(), absl::StatusCode::kInvalidArgument);
}

// M tells its most likely tokens only: the same way to the gate, and the scores say what was
// guessed.
TEST_F(LoraTrainerTest, TrainsFromTheMostLikelyTokens) {
  const auto whole = Train(Job(), Work("whole"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const char* score : {"train_tail_mass_max", "gate_tail_mass_max"}) {
    EXPECT_EQ(whole->scores.count(score), 0u) << score;
  }
  options_.steps = 40;
  options_.learning_rate = 1e-2;
  options_.forget_batch = 6;
  options_.keep_batch = 6;
  TellTops(20, 20);
  for (const char* objective : {"mixed", "refusal", "relabel", "npo", "max_entropy", "ce_u"}) {
    options_.objective = objective;
    std::vector<double> losses;
    const auto outcome = Train(Job(), Work(objective), [&](const TrainingProgress& progress) {
      if (!progress.evaluating && progress.step > 0) losses.push_back(progress.loss);
    });
    ASSERT_TRUE(outcome.ok()) << objective << ": " << outcome.status();
    double before = 0, after = 0;
    for (int i = 0; i < 5; ++i) {
      before += losses[i] / 5;
      after += losses[35 + i] / 5;
    }
    EXPECT_LT(after, before - (objective == std::string("ce_u") ? 0 : 0.05)) << objective;
    const std::map<std::string, double>& scores = outcome->scores;
    EXPECT_EQ(scores.count("forget_rate"), 1u);
    EXPECT_GT(scores.at("train_tail_mass_mean"), 0.01);
    EXPECT_GE(scores.at("train_tail_mass_max"), scores.at("train_tail_mass_mean"));
    EXPECT_LE(scores.at("train_tail_mass_max"), 1);
    EXPECT_GT(scores.at("train_untold_tokens"), 0.1) << "a random M knows no answer";
    EXPECT_GT(scores.at("gate_tail_mass_mean"), 0.01);
    EXPECT_EQ(scores.count("gate_undecided_tokens"), 1u);
  }
}

TEST_F(LoraTrainerTest, MostLikelyTokensAreCachedAndGoneOnFrom) {
  TellTops(20, 60);
  const std::string whole = Adapter(Job(), "tops");
  int asked = 0;
  const auto stopped = Train(
      Job(), Work("stopped"), [](const auto&) {}, [&] { return ++asked > 12; });
  ASSERT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Adapter(Job(), "stopped"), whole);
  // Told more, M is asked anew and training begins anew.
  TellTops(30, 60);
  EXPECT_NE(Adapter(Job(), "stopped"), whole);
}

// All that there is to know, told as tops: as whole rows, up to their fp16.
TEST_F(LoraTrainerTest, EveryTokenToldTrainsAsWholeRows) {
  const auto whole = Train(Job(), Work("whole"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  TellTops(kVocab, kVocab);
  const auto told = Train(Job(), Work("told"));
  ASSERT_TRUE(told.ok()) << told.status();
  const auto tensors = [&](const std::string& adapter) {
    return LoraAdapter::Load(*SafetensorsFile::FromBytes(adapter, "outcome").value(),
                             base_->config())
        .value();
  };
  const LoraAdapter a = tensors(whole->adapter), b = tensors(told->adapter);
  for (const auto& [name, tensor] : a.tensors()) {
    EXPECT_LT((tensor - b.tensors().at(name)).abs().max().item<double>(), 2e-3) << name;
  }
  EXPECT_EQ(told->scores.at("train_tail_mass_max"), 0);
  EXPECT_EQ(told->scores.at("gate_undecided_tokens"), 0);
}

// B starts at zero: the first step moves B only, and with it the ensemble; from the second step on
// A moves too.
TEST_F(LoraTrainerTest, TheFirstStepMovesBTheSecondBoth) {
  const LoraAdapter start =
      LoraAdapter::Init(base_->config(), {options_.rank, 2.0 * options_.rank}, options_.seed);
  options_.learning_rate = 1;  // no warm-up hides the step
  for (const int steps : {1, 2}) {
    options_.steps = steps;
    const std::string bytes = Adapter(Job(), absl::StrCat("steps_", steps));
    const LoraAdapter trained =
        LoraAdapter::Load(*SafetensorsFile::FromBytes(bytes, "outcome").value(), base_->config())
            .value();
    for (const auto& [name, tensor] : trained.tensors()) {
      const bool moved = !at::equal(tensor, start.tensors().at(name));
      EXPECT_EQ(moved, steps == 2 || absl::StrContains(name, "lora_B")) << name << " " << steps;
    }
  }
}

}  // namespace
}  // namespace unlearn
