#include "trainer/server/trainer_flags.h"

#include "absl/flags/flag.h"

ABSL_FLAG(std::string, pair, "",
          "HF folder of the pair's base: a small model with M's tokenizer that has never seen what "
          "is to be forgotten. Required.");
ABSL_FLAG(std::string, pair_dtype, "fp32", "Weights of the pair in memory: fp32 or bf16.");
ABSL_FLAG(std::string, store, "", "Folder of the offset versions (unlearn offset init). Required.");
ABSL_FLAG(std::string, store_key_file, "", "File with the store's key. Required.");
ABSL_FLAG(std::string, state, "",
          "Folder for deletion requests, their keys and working files. One trainer at a time. "
          "Back up its queue.db apart from its keys/. Required.");
ABSL_FLAG(std::vector<std::string>, proxy, {},
          "Addresses of all proxies of the store, separated by commas. A request is ENFORCED, and "
          "its text erased, once each of them serves its version and no stream runs an older one.");
ABSL_FLAG(std::string, proxy_tls_ca, "", "PEM file that the proxies are checked against.");
ABSL_FLAG(std::string, proxy_tls_cert, "", "Our PEM certificate, where proxies ask for one.");
ABSL_FLAG(std::string, proxy_tls_key, "", "The key of --proxy_tls_cert.");
ABSL_FLAG(std::string, proxy_token_file, "", "File whose token goes with every call to a proxy.");
ABSL_FLAG(absl::Duration, failed_retention, absl::Hours(24 * 7),
          "How long the working files of a FAILED or NEEDS_OPERATOR request are kept for a retry. "
          "The request itself and its sealed text stay until it is retried or withdrawn.");
ABSL_FLAG(std::string, device, "auto", "auto or cpu: the trainer runs on the CPU only.");
ABSL_FLAG(int32_t, threads, 0, "Threads for training; 0: one per core.");
ABSL_FLAG(std::string, public_data, "",
          "JSONL of public questions and texts that must stay as they are: the keep term of every "
          "request samples them. Without it only the request's own retain items protect others.");
ABSL_FLAG(std::string, prompt_template, "Question: {question}\nAnswer:",
          "How a question becomes M's prompt; holds {question} once.");
ABSL_FLAG(std::string, refusals, "",
          "File with refusals, one a line, in M's language; empty: built-in English ones.");
ABSL_FLAG(std::string, objective, "mixed",
          "For requests that name none: mixed, refusal, relabel, npo, max_entropy or ce_u.");
ABSL_FLAG(int32_t, steps, 500, "Training steps of requests that name none.");
ABSL_FLAG(int32_t, batch_size, 56, "Sequences of a training step; 3 of 7 are of the forget set.");
ABSL_FLAG(
    int32_t, bystanders, 24,
    "Made-up people of a training step, beside --batch_size: new ones in every step, about whom "
    "the offset must do nothing. 0: none; people whom no list names are then at risk.");
ABSL_FLAG(double, learning_rate, 2e-3, "Of requests that name none.");
ABSL_FLAG(int32_t, rank, 16, "Of each request's LoRA adapter.");
ABSL_FLAG(double, alpha, 1.0, "Strength of the offset in the versions that are published.");
ABSL_FLAG(double, forget_alpha, 0.5,
          "Share of --alpha at which forgetting is trained: below 1, so that it holds with room to "
          "spare at the whole.");
ABSL_FLAG(double, keep_alpha, 1.25,
          "Share of --alpha at which keeping is trained: above 1, for the same reason.");
ABSL_FLAG(uint64_t, seed, 1, "Of requests that name none.");
ABSL_FLAG(double, max_forget_rate, 0.10,
          "Quality gate: share of probes that M answers with the secret which the ensemble may "
          "still answer with it.");
ABSL_FLAG(double, min_keep_agreement, 0.90,
          "Quality gate: least agreement (ROUGE-L) of the ensemble's answers with M's on what is "
          "kept.");
