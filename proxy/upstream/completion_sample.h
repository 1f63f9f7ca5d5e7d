#ifndef PROXY_UPSTREAM_COMPLETION_SAMPLE_H_
#define PROXY_UPSTREAM_COMPLETION_SAMPLE_H_

#include <memory>

#include "proxy/upstream/exchange_session.h"
#include "proxy/upstream/openai_connection.h"

namespace unlearn {

// The tokens that a completions server draws by itself after a prompt: one stream of server-sent
// events, or where the server's stream leaves tokens out, a request for each window of some tokens,
// its prompt being all that came before. Windows grow as long as they come quickly.
class CompletionSample {
 public:
  // `rows` is called as UpstreamSession::Sample says, on the thread of the HTTP client. Errors:
  //   UNAVAILABLE        the connection or the stream broke, or the server broke it off
  //   DEADLINE_EXCEEDED  no first or no next token, with the flag that gives more time
  //   INTERNAL           what came is no answer to this prompt, or its tokens are not M's
  //   others             as the server answers
  static std::shared_ptr<CompletionSample> Start(std::shared_ptr<const OpenaiConnection> connection,
                                                 ExchangeSampling sampling,
                                                 ExchangeClient::SampleCallback rows);
  virtual ~CompletionSample() = default;

  // To be called before the last reference goes, however it ended. Closes the connection, by which
  // the server learns to stop. Waits for a call of `rows` that is under way, so not from inside
  // one; afterwards it is not called.
  virtual void Stop() = 0;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_COMPLETION_SAMPLE_H_
