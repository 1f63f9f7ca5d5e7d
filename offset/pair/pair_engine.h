#ifndef OFFSET_PAIR_PAIR_ENGINE_H_
#define OFFSET_PAIR_PAIR_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "offset/model/lora.h"
#include "offset/pair/pair_backend.h"
#include "offset/pair/prefix_cache.h"

namespace unlearn {

// Tokens of one stream to run: they follow position `base_position`, and what the stream held at or
// after it is rolled back.
struct PairStep {
  int stream = 0;
  int32_t base_position = 0;
  absl::Span<const int32_t> tokens;
  // How many of the step's last tokens need their row of delta (0: prefill only).
  int32_t wanted = 1;
  // StepInto: the reference's own logits of these take M's place, for drafts. Not under an empty
  // stack, which runs no reference.
  bool draft = false;
};

// The two small models of the ensemble as one engine: the reference and the offset of every stream
// are rows of one batch over one base, whose weights are read once a step. Streams may use
// different adapter stacks. On the CPU a row's result depends on its own stream alone, bit for bit,
// whatever shares the batch and however a prompt was cut or found. Not thread-safe: one thread owns
// it.
class PairEngine {
 public:
  // `kv_cache_tokens`: positions over all streams; each stream takes two per token.
  // On the CPU.
  PairEngine(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens);
  explicit PairEngine(std::unique_ptr<PairBackend> backend);

  // Gets the backend ready for a version's stack, before the version goes live. Where warming is
  // not needed there is nothing to do; needs_warming may be asked by any thread.
  bool needs_warming() const { return backend_->needs_warming(); }
  absl::Status Warm(const std::shared_ptr<const LoraStack>& stack);

  // A stream under an adapter stack. An empty stack (version 0) costs nothing: its delta is exactly
  // zero without running a model.
  int AddStream(std::shared_ptr<const LoraStack> stack);

  // The same for a prompt that may begin as another of this tenant did: what the cache still holds
  // of it is not run again. The stream's first step may begin at known_tokens(stream), which
  // is at most the last position of the prompt.
  int AddStream(std::shared_ptr<const LoraStack> stack, const std::string& tenant,
                absl::Span<const int32_t> prompt);
  int32_t known_tokens(int stream) const;

  void RemoveStream(int stream);

  // Runs all steps in one pass. Returns delta = z_o - z_r = W (h_o - h_r) of the wanted tokens,
  // fp32 [wanted rows in step order, vocab]. The head is linear and shared (an adapter on it is
  // refused at load), so that one product of the difference of hidden states gives delta.
  // RESOURCE_EXHAUSTED when the cache is full, INVALID_ARGUMENT for a token or position outside the
  // base; no stream has changed then.
  absl::StatusOr<at::Tensor> Step(absl::Span<const PairStep> steps);

  // The same without the product: h_o - h_r, fp32 [wanted rows in step order, hidden], for callers
  // that need delta of few tokens only (SelectiveHead).
  absl::StatusOr<at::Tensor> StepDifferences(absl::Span<const PairStep> steps);

  // The same as Step, but delta goes where it is drawn from: row i to slots[i] of `drawer`, which
  // is of this engine's MakeDrawer. On a GPU nothing is waited for. After an error of the drawer
  // itself, which is a device's, the streams may have advanced.
  absl::Status StepInto(absl::Span<const PairStep> steps, absl::Span<const int> slots,
                        EnsembleDrawer& drawer);

  // See PairBackend::MakeDrawer. Must not outlive the engine.
  absl::StatusOr<std::unique_ptr<EnsembleDrawer>> MakeDrawer(int64_t tokens, int slots) {
    return backend_->MakeDrawer(tokens, slots);
  }

  const ModelConfig& config() const { return backend_->config(); }
  // What streams can take: free room and what is kept for later prompts only.
  int64_t free_tokens() const {
    return (pages_.free_tokens() + prefixes_.reclaimable_pages() * KvPages::kPageTokens) / 2;
  }
  int64_t total_tokens() const { return pages_.total_tokens() / 2; }

 private:
  struct Stream {
    std::shared_ptr<const LoraStack> stack;
    int reference = -1;  // sequences of the pages
    int offset = -1;
    int32_t length = 0;  // positions that both hold
    // Positions that the reference holds: ahead of `length` where the cache knew more of a prompt
    // under the reference than under this stack.
    int32_t reference_length = 0;
    // Where prefixes are kept: whose, how many positions of each are kept, and the tokens of all
    // positions that the reference holds.
    bool keeps_prefixes = false;
    std::string tenant;
    int32_t reference_kept = 0;
    int32_t offset_kept = 0;
    std::vector<int32_t> tokens;
  };

  // The first position that the reference must run for a step: it skips what it is ahead, as long
  // as the step brings the same tokens and wants no rows of them.
  static int32_t FirstOfReference(const Stream& stream, const PairStep& step);
  // Notes what a step has run, forgets what it has rolled back.
  void Advance(const PairStep& step);
  void KeepPrefixes(Stream& stream);
  // Which of the wanted rows, in step order, the backend's rows are. The others belong to streams
  // under an empty stack.
  struct Ran {
    std::vector<int64_t> places;
    std::vector<int64_t> zeros;
    std::vector<int64_t> drafting;  // of places, by index
  };
  // Of the backend. Not called where nothing is to run.
  using RunBatch =
      absl::FunctionRef<absl::Status(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                     absl::Span<const int64_t> drafting)>;
  absl::StatusOr<Ran> Run(absl::Span<const PairStep> steps, RunBatch run);
  // Rows of the backend for all wanted tokens, [wanted, columns].
  using RowsOfBatch = absl::StatusOr<at::Tensor> (PairBackend::*)(const TokenBatch&,
                                                                  absl::Span<const RowPair>);
  absl::StatusOr<at::Tensor> RunAll(absl::Span<const PairStep> steps, RowsOfBatch rows_of,
                                    int64_t columns);

  const std::unique_ptr<PairBackend> backend_;
  KvPages& pages_;
  PrefixCache prefixes_;
  std::vector<Stream> streams_;
  std::vector<int> free_streams_;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_PAIR_ENGINE_H_
