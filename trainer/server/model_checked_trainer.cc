#include "trainer/server/model_checked_trainer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"

namespace unlearn {

ModelCheckedTrainer::ModelCheckedTrainer(OffsetTrainer* trainer, Upstream* upstream,
                                         const VersionStore* store, PairIdentity pair)
    : trainer_(trainer), upstream_(upstream), store_(store), pair_(std::move(pair)) {}

absl::Status ModelCheckedTrainer::Check() {
  ASSIGN_OR_RETURN(const uint64_t active, store_->ActiveVersion());
  ASSIGN_OR_RETURN(const v1::Manifest manifest, store_->ReadManifest(active));
  const auto differs = [&](const char* what, const std::string& is, const std::string& was) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, " has the fingerprint ", is.substr(0, 12), ", but version ", active,
                     " of the store ", store_->folder(), " was made for ", was.substr(0, 12),
                     "; start the trainer with the pair and the model of its store"));
  };
  if (manifest.pair_fingerprint() != pair_.pair_fingerprint) {
    return differs("--pair", pair_.pair_fingerprint, manifest.pair_fingerprint());
  }
  if (manifest.tokenizer_fingerprint() != pair_.tokenizer_fingerprint) {
    return differs("the tokenizer of --pair", pair_.tokenizer_fingerprint,
                   manifest.tokenizer_fingerprint());
  }
  ASSIGN_OR_RETURN(const v1::ModelFingerprint seen, TakeModelFingerprint(*upstream_));
  return CompareModelFingerprints(manifest.model_fingerprint(), seen, upstream_->info().noise);
}

absl::StatusOr<TrainingOutcome> ModelCheckedTrainer::Train(
    const TrainingJob& job, SealedFolder& work,
    const std::function<void(const TrainingProgress&)>& progress,
    const std::function<bool()>& should_stop) {
  RETURN_IF_ERROR(Check());
  return trainer_->Train(job, work, progress, should_stop);
}

}  // namespace unlearn
