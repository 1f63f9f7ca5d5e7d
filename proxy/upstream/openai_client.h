#ifndef PROXY_UPSTREAM_OPENAI_CLIENT_H_
#define PROXY_UPSTREAM_OPENAI_CLIENT_H_

#include <memory>

#include "proxy/upstream/exchange_session.h"
#include "proxy/upstream/openai_connection.h"

namespace unlearn {

// One session's exchanges: each asks for one token after the whole prefix, and for its law. A
// Sample takes the tokens that the server draws.
std::unique_ptr<ExchangeClient> NewOpenaiClient(std::shared_ptr<const OpenaiConnection> connection);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_OPENAI_CLIENT_H_
