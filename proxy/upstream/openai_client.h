#ifndef PROXY_UPSTREAM_OPENAI_CLIENT_H_
#define PROXY_UPSTREAM_OPENAI_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proxy/transport/http_client.h"
#include "proxy/upstream/completion_dialect.h"
#include "proxy/upstream/exchange_session.h"

namespace unlearn {

// A completions server, as it was found. Shared by all sessions.
struct OpenaiConnection {
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<CompletionDialect> dialect;
  std::string url;
  std::string model;
  absl::Duration timeout;
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

// One session's exchanges: each asks for one token after the whole prefix, and for its law.
std::unique_ptr<ExchangeClient> NewOpenaiClient(std::shared_ptr<const OpenaiConnection> connection);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_OPENAI_CLIENT_H_
