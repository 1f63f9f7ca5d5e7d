#include "tools/cli/offset_init_handler.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/store/seal.h"
#include "offset/store/version_store.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"
#include "proxy/upstream/shared_vocabulary.h"
#include "proxy/upstream/upstream.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

// `*noise`: UpstreamInfo::noise of M.
absl::StatusOr<v1::Manifest> MakeDraft(const OffsetInitOptions& options, double* noise) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.pair));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(checkpoint->tokenizer_path()));
  UpstreamOptions upstream_options;
  upstream_options.tls_ca = options.upstream_tls_ca;
  upstream_options.tls_cert = options.upstream_tls_cert;
  upstream_options.tls_key = options.upstream_tls_key;
  upstream_options.token_file = options.upstream_token_file;
  upstream_options.dtype = options.upstream_dtype;
  upstream_options.eos_token_ids = options.upstream_eos_ids;
  upstream_options.max_context = options.upstream_max_context;
  ASSIGN_OR_RETURN(const auto upstream, OpenUpstream(options.upstream, upstream_options));
  const UpstreamInfo& model = upstream->info();
  *noise = model.noise;
  RETURN_IF_ERROR(CheckSharedVocabulary(model, options.pair, tokenizer->fingerprint(),
                                        checkpoint->config().vocab_size));
  RETURN_IF_ERROR(CompareTokenizers(*upstream, options.pair, *tokenizer));
  v1::Manifest draft;
  ASSIGN_OR_RETURN(*draft.mutable_model_fingerprint(), TakeModelFingerprint(*upstream));
  draft.set_model_id(model.model_id);
  draft.set_tokenizer_fingerprint(tokenizer->fingerprint());
  draft.set_pair_fingerprint(checkpoint->Fingerprint());
  draft.set_vocab_size(model.vocab_size);
  draft.set_alpha(options.alpha);
  draft.set_combiner("delta");
  return draft;
}

absl::StatusOr<SealingKey> LoadOrGenerateKey(const OffsetInitOptions& options, bool* generated) {
  *generated = false;
  if (FileExists(options.store_key_file)) return SealingKey::Load(options.store_key_file);
  if (FileExists(JoinPath(options.store, "STORE"))) {
    return absl::NotFoundError(absl::StrCat(
        "--store ", options.store, " exists, but its key does not lie at --store_key_file ",
        options.store_key_file, "; name the key that it was made with, or another folder"));
  }
  SealingKey key = SealingKey::Generate();
  RETURN_IF_ERROR(key.Save(options.store_key_file));
  *generated = true;
  return key;
}

}  // namespace

absl::Status RunOffsetInit(const OffsetInitOptions& options, Console& console) {
  // Before anything is made: the flag's own check lets NaN through.
  if (!std::isfinite(options.alpha) || options.alpha < 0) {
    return UsageError(
        absl::StrCat("--alpha ", options.alpha, ": must be a finite number from 0 up"));
  }
  double noise = 0;
  ASSIGN_OR_RETURN(const v1::Manifest draft, MakeDraft(options, &noise));
  bool key_generated = false;
  ASSIGN_OR_RETURN(SealingKey key, LoadOrGenerateKey(options, &key_generated));
  ASSIGN_OR_RETURN(const auto store, VersionStore::Create(options.store, std::move(key)));
  const absl::StatusOr<uint64_t> active = store->ActiveVersion();
  if (active.ok()) {
    return absl::AlreadyExistsError(absl::StrCat("--store ", options.store,
                                                 " is set up already and serves version ", *active,
                                                 "; look with `unlearn offset list`"));
  }
  if (active.status().code() != absl::StatusCode::kNotFound) return active.status();
  const absl::Status published = store->InitVersionZero(draft);
  if (absl::IsAlreadyExists(published)) {
    // Of an earlier run that was killed before it was activated. It must be about the same models.
    ASSIGN_OR_RETURN(const v1::Manifest earlier, store->ReadManifest(0));
    if (earlier.pair_fingerprint() != draft.pair_fingerprint() ||
        earlier.tokenizer_fingerprint() != draft.tokenizer_fingerprint() ||
        earlier.vocab_size() != draft.vocab_size() || earlier.alpha() != draft.alpha()) {
      return absl::AlreadyExistsError(
          absl::StrCat("--store ", options.store,
                       " holds a version 0 of another pair, M or alpha, "
                       "which was never activated; take another folder"));
    }
    RETURN_IF_ERROR(
        CompareModelFingerprints(earlier.model_fingerprint(), draft.model_fingerprint(), noise));
  } else {
    RETURN_IF_ERROR(published);
  }
  RETURN_IF_ERROR(store->Activate(0, {}, "unlearn offset init"));
  if (options.json) {
    PrintJson({{"version", 0},
               {"store", options.store},
               {"store_key_file", options.store_key_file},
               {"key_generated", key_generated},
               {"model_id", draft.model_id()},
               {"tokenizer_fingerprint", draft.tokenizer_fingerprint()},
               {"pair_fingerprint", draft.pair_fingerprint()},
               {"alpha", draft.alpha()}},
              console);
    return absl::OkStatus();
  }
  console.out << options.store << ": version 0 is active, for M = " << ForTerminal(draft.model_id())
              << "\n";
  if (key_generated) {
    console.out << "a new key lies at " << options.store_key_file
                << "; without it the versions are lost, so keep it, apart from their backups\n";
  }
  return absl::OkStatus();
}

}  // namespace unlearn
