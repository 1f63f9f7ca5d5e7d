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

// Tokens that a server drew by itself: of one event of its stream, or of its whole answer.
struct DrawnTokens {
  std::vector<SampledRow> rows;  // `top` is empty for a token that came without its law
  bool ended = false;            // the server adds no more
  // As the server counted them in this answer so far; 0: it did not say.
  int32_t prompt_tokens = 0;
  int32_t drawn_tokens = 0;
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

  // How M goes on by itself after a prompt.
  struct Draw {
    absl::Span<const int32_t> prompt;
    int32_t max_tokens = 1;
    int32_t top = 1;
    double temperature = 0;  // 0: the most likely token
    uint32_t seed = 0;
    std::string model;  // CompletionModel::id
  };
  // Above 0 the server draws at no lower temperature than that, whatever it is told.
  virtual double least_temperature() const = 0;
  // Whether it answers with server-sent events, the last of them "[DONE]". Else with all tokens at
  // once.
  virtual bool streams_draws() const = 0;
  virtual std::string DrawBody(const Draw& draw) const = 0;
  // Of one event, or the whole answer. INTERNAL for one of another form, or where it cannot be
  // told which row belongs to which token; the server's own error where it is one.
  virtual absl::StatusOr<DrawnTokens> ReadDrawn(absl::string_view text, const Draw& draw) const = 0;

  // Of GET /v1/models.
  virtual absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const = 0;

  // Of POST /tokenize.
  virtual std::string TokenizeBody(absl::string_view text, const std::string& model) const = 0;
  absl::StatusOr<std::vector<int32_t>> ReadTokens(absl::string_view body) const;

  // An error the server answered with: what it means to us, with what it says of itself. The
  // messages of servers may quote the prompt, so only their kind and numbers are kept.
  absl::Status ReadError(int http_status, absl::string_view body) const;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_COMPLETION_DIALECT_H_
