#include "proxy/upstream/flags/upstream_flags.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "offset/base/status_macros.h"

ABSL_FLAG(std::string, upstream, "",
          "The large model M: native:HOST:PORT or native:unix:PATH (an unlearn_model_server), "
          "kserve:HOST:PORT/MODEL (a model that gives logits over the Open Inference Protocol: "
          "Triton, KServe), openai:URL (vLLM or llama.cpp's server), or local:DIR (an HF model "
          "folder, run in this process). Required.");
ABSL_FLAG(std::string, upstream_encoding, "fp32",
          "native: how logits travel, fp32 (exact), fp16 (row maximum subtracted) or bf16.");
ABSL_FLAG(std::string, upstream_tls_ca, "", "PEM file that M's server is checked against.");
ABSL_FLAG(std::string, upstream_tls_cert, "", "Our PEM certificate, where M asks for one.");
ABSL_FLAG(std::string, upstream_tls_key, "", "The key of --upstream_tls_cert.");
ABSL_FLAG(std::string, upstream_token_file, "", "File whose token goes with every call.");
ABSL_FLAG(
    std::vector<std::string>, upstream_eos_ids, {},
    "kserve, openai: ids of the tokens that end M's texts, with commas. Required there; the other "
    "kinds tell them.");
ABSL_FLAG(
    int32_t, upstream_max_context, 0,
    "kserve, openai: how many tokens M takes, prompt and completion together. 0: no limit but the "
    "pair's or what an openai server says. The other kinds tell it.");
ABSL_FLAG(
    int32_t, upstream_top, 0,
    "openai: log-probs asked for with each token. 0: the whole vocabulary if it is of 4096 ids "
    "or fewer and the server allows it, else as many as it allows, at most 1000.");
ABSL_FLAG(absl::Duration, upstream_connect_timeout, absl::Seconds(10),
          "How long M may take to answer at start-up before this server gives up.");
ABSL_FLAG(absl::Duration, upstream_step_timeout, absl::Seconds(120),
          "How long one step of M may take before its stream fails with DEADLINE_EXCEEDED.");
ABSL_FLAG(absl::Duration, upstream_first_token_timeout, absl::Seconds(120),
          "openai: where M's server draws tokens by itself, how long it may take for the first.");
ABSL_FLAG(absl::Duration, upstream_idle_timeout, absl::Seconds(30),
          "openai: where M's server draws tokens by itself, how long it may pause between two "
          "answers, each of one token or some.");
ABSL_FLAG(
    double, upstream_noise, -1,
    "How far, in nats, M's log-probs after one prompt may differ from one asking to the next, "
    "where M is compared with the model that the offset was made for: a server may compute "
    "otherwise beside other requests. Negative: 0.35 for openai (seen with quantised models), "
    "0 for the others, which leaves 0.05 for rounding. Too small, and M is taken for another "
    "model: nothing is served.");
ABSL_FLAG(int32_t, upstream_breaker_failures, 5,
          "After so many failures of M in a row (UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL) new "
          "streams are refused at once with UNAVAILABLE, but for one now and then that tries M. "
          "0: never; each stream then waits for M itself.");
ABSL_FLAG(absl::Duration, upstream_breaker_wait, absl::Seconds(1),
          "How long M is spared before one stream tries it again. Each trial that fails doubles "
          "it. Half of it is by chance.");
ABSL_FLAG(absl::Duration, upstream_breaker_longest_wait, absl::Minutes(1),
          "The longest that --upstream_breaker_wait becomes, and the longest that a server's own "
          "wish to be left alone (Retry-After, grpc-retry-pushback-ms) is honoured.");
ABSL_FLAG(absl::Duration, upstream_retry_delay, absl::Milliseconds(100),
          "A step that fails with UNAVAILABLE, and so has given no token, is asked once more after "
          "about this long, in a new session with the whole prefix. Negative: it is not.");
ABSL_FLAG(absl::Duration, upstream_longest_retry_delay, absl::Seconds(5),
          "A step is asked once more after the time that M's server names (Retry-After), if that "
          "is no longer than this; else its stream fails.");

namespace unlearn {

namespace {

absl::StatusOr<std::unique_ptr<Upstream>> OpenBare() {
  const std::string spec = absl::GetFlag(FLAGS_upstream);
  if (spec.empty()) {
    return absl::InvalidArgumentError(
        "--upstream is empty: name the large model, for example --upstream native:127.0.0.1:8700");
  }
  UpstreamOptions options;
  options.connect_timeout_seconds =
      absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_connect_timeout));
  options.step_timeout_seconds = absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_step_timeout));
  options.first_token_timeout_seconds =
      absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_first_token_timeout));
  options.idle_timeout_seconds = absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_idle_timeout));
  options.encoding = absl::GetFlag(FLAGS_upstream_encoding);
  options.tls_ca = absl::GetFlag(FLAGS_upstream_tls_ca);
  options.tls_cert = absl::GetFlag(FLAGS_upstream_tls_cert);
  options.tls_key = absl::GetFlag(FLAGS_upstream_tls_key);
  options.token_file = absl::GetFlag(FLAGS_upstream_token_file);
  for (const std::string& text : absl::GetFlag(FLAGS_upstream_eos_ids)) {
    int32_t id;
    if (!absl::SimpleAtoi(text, &id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--upstream_eos_ids: ", text, " is not a token id"));
    }
    options.eos_token_ids.push_back(id);
  }
  options.max_context = absl::GetFlag(FLAGS_upstream_max_context);
  if (options.max_context < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_max_context: ", options.max_context, " is negative"));
  }
  options.top = absl::GetFlag(FLAGS_upstream_top);
  if (options.top < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_top: ", options.top, " is negative"));
  }
  options.noise = absl::GetFlag(FLAGS_upstream_noise);
  if (!(options.noise < 100)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_noise: ", options.noise, " is no number of nats"));
  }
  return OpenUpstream(spec, options);
}

absl::Status CheckDuration(absl::string_view flag, absl::Duration value, absl::Duration least) {
  if (value >= least && value < absl::InfiniteDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", absl::FormatDuration(value),
                                                 " is not ", absl::FormatDuration(least),
                                                 " or more"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GuardedUpstream>> OpenUpstreamFromFlags(
    absl::Duration check_every, std::shared_ptr<prometheus::Registry> registry) {
  GuardOptions guard;
  guard.breaker.failures = absl::GetFlag(FLAGS_upstream_breaker_failures);
  if (guard.breaker.failures < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_breaker_failures: ", guard.breaker.failures, " is negative"));
  }
  guard.breaker.first_wait = absl::GetFlag(FLAGS_upstream_breaker_wait);
  RETURN_IF_ERROR(
      CheckDuration("upstream_breaker_wait", guard.breaker.first_wait, absl::Milliseconds(1)));
  guard.breaker.longest_wait = absl::GetFlag(FLAGS_upstream_breaker_longest_wait);
  RETURN_IF_ERROR(CheckDuration("upstream_breaker_longest_wait", guard.breaker.longest_wait,
                                guard.breaker.first_wait));
  guard.breaker.longest_retry_after = guard.breaker.longest_wait;
  guard.retry_delay = absl::GetFlag(FLAGS_upstream_retry_delay);
  guard.longest_retry_delay = absl::GetFlag(FLAGS_upstream_longest_retry_delay);
  RETURN_IF_ERROR(CheckDuration("upstream_longest_retry_delay", guard.longest_retry_delay,
                                absl::ZeroDuration()));
  guard.watch.every = check_every;
  guard.watch.timeout = absl::GetFlag(FLAGS_upstream_step_timeout);
  ASSIGN_OR_RETURN(std::unique_ptr<Upstream> upstream, OpenBare());
  return std::make_unique<GuardedUpstream>(std::move(upstream), guard, std::move(registry));
}

}  // namespace unlearn
