#ifndef PROXY_UPSTREAM_COMPLETION_DIALECT_H_
#define PROXY_UPSTREAM_COMPLETION_DIALECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// What a completions server says of itself.
struct CompletionModel {
  std::string id;
  int32_t vocab_size = 0;   // 0: the server does not say
  int32_t max_context = 0;  // prompt and completion together
};

// M's law after a prompt, as one answer tells it.
struct CompletionRow {
  TopRow top;
  int32_t sampled = 0;  // what the server drew; perhaps not among the top
  double sampled_logprob = 0;
  int32_t prompt_tokens = 0;  // as the server counted them; 0: it did not say
};

// How one kind of server wants to be asked for the law after a prompt of token ids, and what its
// answers mean. Text in, text out: no network. What a server adds to a prompt or takes from the law
// by default (a BOS, samplers, penalties) is sent explicitly. Stateless and thread-safe.
class CompletionDialect {
 public:
  virtual ~CompletionDialect() = default;

  virtual absl::string_view name() const = 0;  // "vLLM", "llama.cpp"
  virtual absl::string_view path() const = 0;  // of a completion

  struct Query {
    absl::Span<const int32_t> prompt;
    int32_t top = 1;          // so many log-probs
    double temperature = 0;   // the law told must not depend on it; 0: greedily
    std::string model;        // CompletionModel::id
    std::string cache_group;  // prompts of one group may share the server's cache; empty: all
    // A token that stands for whole characters, for servers that say nothing where a text ends
    // within one. Negative: none is known.
    int32_t whole_character = -1;
  };
  // The body of a request for one token after the prompt.
  virtual std::string Body(const Query& query) const = 0;
  // `top`: how many were asked for. INTERNAL for an answer of another form; whether the ids and the
  // masses can be is left to who knows the vocabulary.
  virtual absl::StatusOr<CompletionRow> ReadRow(absl::string_view body, int32_t top) const = 0;

  // Of GET /v1/models.
  virtual absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const = 0;

  // Of POST /tokenize.
  virtual std::string TokenizeBody(absl::string_view text, const std::string& model) const = 0;
  absl::StatusOr<std::vector<int32_t>> ReadTokens(absl::string_view body) const;

  // An error the server answered with: what it means to us, with what it says of itself. The
  // messages of servers may quote the prompt, so only their kind and numbers are kept.
  absl::Status ReadError(int http_status, absl::string_view body) const;
};

// vLLM and what imitates it: /v1/completions with tokens as ids.
std::unique_ptr<CompletionDialect> NewVllmDialect();
// llama.cpp's own /completion.
std::unique_ptr<CompletionDialect> NewLlamaCppDialect();

// vLLM's refusal of more log-probs than it allows: "Requested sample logprobs of 1000, which is
// greater than max allowed: 20". Both numbers, or NOT_FOUND for another error.
struct TopRefusal {
  int64_t requested = 0;
  int64_t allowed = 0;
};
absl::StatusOr<TopRefusal> ReadTopRefusal(absl::string_view body);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_COMPLETION_DIALECT_H_
