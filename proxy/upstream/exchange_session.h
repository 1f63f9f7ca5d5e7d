#ifndef PROXY_UPSTREAM_EXCHANGE_SESSION_H_
#define PROXY_UPSTREAM_EXCHANGE_SESSION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "proxy/upstream/upstream.h"

namespace unlearn {

// One request to a server that answers requests, and not a stream of steps.
struct Exchange {
  std::vector<int32_t> token_ids;  // the session's, all up to the last that is asked about
  // So many of them the server has from the exchanges before; 0: it is to begin anew. A server
  // without a memory ignores it.
  int32_t known = 0;
  int32_t rows = 1;  // logits after the last `rows` tokens, of token_ids.size() - known at most
  int32_t top = 0;   // UpstreamStep::top
};

// A Sample of such a server.
struct ExchangeSampling {
  std::vector<int32_t> token_ids;  // the session's
  double temperature = 0;
  int32_t max_tokens = 1;
  int32_t top = 0;  // UpstreamSampling::top
};

// A session's way to such a server.
class ExchangeClient {
 public:
  using Callback = UpstreamSession::Callback;
  using SampleCallback = UpstreamSession::SampleCallback;

  // Nothing runs any more that would touch the client.
  virtual ~ExchangeClient() = default;

  // Returns at once. `done` runs exactly once, on a thread of the client's own, or perhaps never
  // after Cancel; then it is destroyed. The next exchange
  // starts only after it, perhaps inside it. INVALID_ARGUMENT: the server would have none of these
  // tokens, and holds none of the session's now.
  virtual void Start(Exchange exchange, Callback done) = 0;

  // Where ExchangeOptions::samples. Returns at once. `rows` is called as UpstreamSession::Sample
  // says, on a thread of the client's own, or not any more after StopSampling or Cancel. No
  // exchange starts before the last call of it, or StopSampling.
  virtual void Sample(ExchangeSampling sampling, SampleCallback rows);
  // The Sample under way ends, and is over for the server soon. `rows` may be called once more by
  // then, which counts for nothing. Not from inside `rows`.
  virtual void StopSampling() {}

  // The exchange or the Sample under way ends soon. Thread-safe.
  virtual void Cancel() = 0;
};

struct ExchangeOptions {
  int32_t vocab_size = 0;
  int32_t max_context = 0;
  // The server tells the logits after an exchange's last token only: a step that wants more is
  // asked for token by token.
  bool last_row_only = false;
  bool tells_tops = false;  // rows are TopRows
  bool samples = false;
  double least_temperature = 0;  // of a Sample that does not take the most likely tokens
};

// The contract of UpstreamSession over single requests: order, rollback, refusals, the end. Tokens
// that nobody wants logits of wait for the next exchange.
std::unique_ptr<UpstreamSession> NewExchangeSession(const ExchangeOptions& options,
                                                    std::unique_ptr<ExchangeClient> client);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_EXCHANGE_SESSION_H_
