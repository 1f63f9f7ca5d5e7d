#include "proxy/server/proxy_flags.h"

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/device_flag.h"

ABSL_FLAG(std::string, pair, "",
          "HF folder of the pair's base: a small model with M's tokenizer that has never seen what "
          "is to be forgotten. Required.");
ABSL_FLAG(
    std::string, pair_dtype, "auto",
    "Weights of the pair in memory: fp32, bf16 (half the memory and nearly half the time; what "
    "was fp32 is rounded), or auto: bf16 where that is what the pair's files hold.");
ABSL_FLAG(std::string, store, "", "Folder of the offset versions (unlearn offset init). Required.");
ABSL_FLAG(std::string, store_key_file, "", "File with the store's key. Required.");
ABSL_FLAG(int64_t, kv_cache_tokens, 0,
          "Tokens over all streams that the pair's cache holds; a request that does not fit is "
          "refused with RESOURCE_EXHAUSTED. 0: 64 full contexts, at most 2 GiB.");
ABSL_FLAG(int32_t, max_streams, 256,
          "Most streams at once; more are refused. On a GPU, each and 128 more for drafts and "
          "scoring take 12 "
          "bytes of its memory for every id of the vocabulary (and 4 of the CPU's, pinned): 0.7 GB "
          "for 256 streams over 152,000 ids.");
ABSL_FLAG(double, max_truncated_mass, 0,
          "Where M tells its most likely tokens only and these cannot decide a token: draw it from "
          "the ensemble over them if at most this probability of M's law is missing, 0 to 1. 0: "
          "end the stream with an error instead. Requests may refuse it (the field exact).");
ABSL_FLAG(int32_t, threads, 0,
          "Threads for the pair's matrix products; 0: one per core. Beside other servers on the "
          "same cores set OMP_WAIT_POLICY=PASSIVE, or each thread that waits holds its core for a "
          "millisecond.");
ABSL_FLAG(std::string, device, "auto",
          "Where the pair runs: cpu, cuda, cuda:N (the GPU of that number), or auto: the first GPU "
          "where there is one, else the CPU. On a GPU the pair is held in bf16 unless --pair_dtype "
          "is fp32.");
ABSL_FLAG(absl::Duration, store_poll, absl::Milliseconds(50), "How often the store is looked at.");
ABSL_FLAG(absl::Duration, fingerprint_every, absl::Hours(1),
          "How often M is asked whether it is still the model that the offset was made for.");

namespace unlearn {
namespace {

absl::Status Require(const std::string& value, absl::string_view flag) {
  if (!value.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, " is required; see --help"));
}

absl::Status Wrong(absl::string_view flag, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, what));
}

}  // namespace

absl::Status CheckProxyFlags() {
  RETURN_IF_ERROR(Require(absl::GetFlag(FLAGS_pair), "pair"));
  RETURN_IF_ERROR(Require(absl::GetFlag(FLAGS_store), "store"));
  RETURN_IF_ERROR(Require(absl::GetFlag(FLAGS_store_key_file), "store_key_file"));
  RETURN_IF_ERROR(ParseDeviceFlag(absl::GetFlag(FLAGS_device)).status());
  const std::string dtype = absl::GetFlag(FLAGS_pair_dtype);
  if (dtype != "auto" && dtype != "fp32" && dtype != "bf16") {
    return Wrong("pair_dtype", absl::StrCat(" ", dtype, ": auto, fp32 or bf16"));
  }
  const double truncated = absl::GetFlag(FLAGS_max_truncated_mass);
  if (!(truncated >= 0 && truncated <= 1)) {
    return Wrong("max_truncated_mass", absl::StrCat(" is ", truncated, ", must be from 0 to 1"));
  }
  if (absl::GetFlag(FLAGS_threads) < 0) return Wrong("threads", " is negative");
  if (absl::GetFlag(FLAGS_max_streams) < 1) return Wrong("max_streams", " must be 1 or more");
  if (absl::GetFlag(FLAGS_kv_cache_tokens) < 0) return Wrong("kv_cache_tokens", " is negative");
  if (absl::GetFlag(FLAGS_store_poll) < absl::Milliseconds(1)) {
    return Wrong("store_poll", " must be 1ms or more");
  }
  if (absl::GetFlag(FLAGS_fingerprint_every) < absl::Milliseconds(1)) {
    return Wrong("fingerprint_every", " must be 1ms or more");
  }
  return absl::OkStatus();
}

}  // namespace unlearn
