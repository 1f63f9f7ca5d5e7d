#ifndef PROXY_UPSTREAM_VLLM_DIALECT_H_
#define PROXY_UPSTREAM_VLLM_DIALECT_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/upstream/completion_dialect.h"

namespace unlearn {

// vLLM and what imitates it: /v1/completions with tokens as ids.
std::unique_ptr<CompletionDialect> NewVllmDialect();

// vLLM's refusal of more log-probs than it allows: "Requested sample logprobs of 1000, which is
// greater than max allowed: 20". Both numbers, or NOT_FOUND for another error.
struct TopRefusal {
  int64_t requested = 0;
  int64_t allowed = 0;
};
absl::StatusOr<TopRefusal> ReadTopRefusal(absl::string_view body);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_VLLM_DIALECT_H_
