#include "tools/cli/pretrain_handler.h"

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/base/status_macros.h"
#include "tools/pretrain/pretrainer.h"

namespace unlearn {
namespace {

constexpr absl::Duration kBetweenLines = absl::Seconds(10);
constexpr absl::Duration kBetweenRedraws = absl::Milliseconds(200);

PretrainOptions ToOptions(const PretrainFlags& flags) {
  PretrainOptions options;
  options.data = flags.data;
  options.tokenizer = flags.tokenizer;
  options.config = flags.config;
  options.out = flags.out;
  options.prompt_template = flags.prompt_template;
  options.epochs = flags.epochs;
  options.batch_tokens = flags.batch_tokens;
  options.learning_rate = flags.learning_rate;
  options.warmup = flags.warmup;
  options.weight_decay = flags.weight_decay;
  options.question_weight = flags.question_weight;
  options.compute = flags.compute;
  options.save_dtype = flags.save_dtype;
  options.seed = flags.seed;
  options.threads = flags.threads;
  options.checkpoint_seconds = flags.checkpoint_seconds;
  options.training_data_names = flags.training_data_names;
  return options;
}

}  // namespace

absl::Status RunPretrain(const PretrainFlags& flags, Console& console) {
  PretrainProgress last;
  absl::Time shown = absl::InfinitePast();
  const auto show = [&](const PretrainProgress& progress) {
    last = progress;
    const absl::Time now = absl::Now();
    const bool end = progress.step == progress.steps;
    if (!end && now - shown < (console.err_is_terminal ? kBetweenRedraws : kBetweenLines)) return;
    shown = now;
    console.err << absl::StrFormat("%sstep %d of %d  loss %.4f  %.0f tokens/s%s",
                                   console.err_is_terminal ? "\r\033[K" : "", progress.step,
                                   progress.steps, progress.loss, progress.tokens_per_second,
                                   console.err_is_terminal && !end ? "" : "\n")
                << std::flush;
  };
  RETURN_IF_ERROR(Pretrain(ToOptions(flags), show));
  if (flags.json) {
    PrintJson({{"out", flags.out}, {"steps", last.steps}, {"loss", last.loss}}, console);
  } else {
    console.out << flags.out << '\n';
  }
  return absl::OkStatus();
}

}  // namespace unlearn
