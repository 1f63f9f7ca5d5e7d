#ifndef PROXY_UPSTREAM_OPENAI_CONNECTION_H_
#define PROXY_UPSTREAM_OPENAI_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proxy/transport/http_client.h"
#include "proxy/upstream/completion_dialect.h"

namespace unlearn {

// A completions server, as it was found. Shared by all sessions.
struct OpenaiConnection {
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<CompletionDialect> dialect;
  std::string url;
  std::string model;
  absl::Duration timeout;              // of a request for one law
  absl::Duration first_token_timeout;  // of a Sample
  absl::Duration idle_timeout;         // between its tokens
  int32_t vocab_size = 0;
  int32_t top = 0;          // asked for with each token
  bool whole_rows = false;  // these are the whole vocabulary
  int32_t whole_character = -1;
};

// The request for M's law after a prompt, and what was answered. INTERNAL, with the URL, for an
// answer that is no law after this prompt: other than as many tokens as were sent (an extra BOS),
// ids twice or outside the vocabulary, log-probs above 0.
HttpRequest LawRequest(const OpenaiConnection& connection, absl::Span<const int32_t> prompt,
                       int32_t top, double temperature);
absl::StatusOr<CompletionRow> ReadLaw(const OpenaiConnection& connection, int64_t prompt_tokens,
                                      int32_t top, absl::StatusOr<HttpResponse> response);

// INTERNAL, with the URL, where these cannot be M's law (see ReadLaw), or the law of the token that
// was drawn from it. A row without a law passes.
absl::Status CheckDrawn(const OpenaiConnection& connection, const SampledRow& row);

// The same error, with the URL in front.
absl::Status NamedError(const OpenaiConnection& connection, const absl::Status& status);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_OPENAI_CONNECTION_H_
