#include "proxy/model_server/model_server_flags.h"

#include "absl/flags/flag.h"

ABSL_FLAG(std::string, model, "",
          "Folder of the model: config.json, model.safetensors (or shards and their index), "
          "tokenizer.json.");
ABSL_FLAG(std::string, device, "auto", "auto or cpu: this server runs on the CPU only.");
ABSL_FLAG(int32_t, threads, 0, "Threads of one pass of the model; 0: one per core.");
ABSL_FLAG(std::string, dtype, "auto",
          "Of the weights in memory: auto (bf16 where the model's files hold that, else fp32: both "
          "exact), fp32, or bf16 (half the memory; what was fp32 is rounded).");
ABSL_FLAG(
    int64_t, kv_cache_tokens, 0,
    "Positions that the KV cache holds over all sessions; 0: 64 full contexts, at most 2 GiB.");
ABSL_FLAG(int32_t, max_sessions, 1024, "Open sessions; more are refused with RESOURCE_EXHAUSTED.");
ABSL_FLAG(double, delay_ms, 0,
          "Milliseconds added to every step, so that a small model stands in for a big one in "
          "benchmarks.");
