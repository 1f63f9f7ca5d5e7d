#ifndef PROXY_UPSTREAM_KSERVE_CLIENT_H_
#define PROXY_UPSTREAM_KSERVE_CLIENT_H_

#include <memory>

#include "proxy/upstream/exchange_session.h"
#include "proxy/upstream/kserve_connection.h"

namespace unlearn {

// One session's exchanges with a KServe model: whole prefixes, or what is new of a sequence that
// the server keeps. A sequence that the server has forgotten (idle for too long, restarted) is
// begun again with the whole prefix; at the session's end the server is told.
std::unique_ptr<ExchangeClient> NewKserveClient(std::shared_ptr<const KserveConnection> connection);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_KSERVE_CLIENT_H_
