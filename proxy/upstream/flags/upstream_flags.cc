#include "proxy/upstream/flags/upstream_flags.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

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

namespace unlearn {

absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstreamFromFlags() {
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
  return OpenUpstream(spec, options);
}

}  // namespace unlearn
