#ifndef PROXY_TRANSPORT_SERVER_RUNNER_H_
#define PROXY_TRANSPORT_SERVER_RUNNER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "proxy/transport/running_calls.h"

namespace unlearn {

// How a server listens and ends; ServerOptionsFromFlags() fills it from the flags of the same
// names.
struct ServerOptions {
  // Each `HOST:PORT` (port 0: any free one) or `unix:PATH`.
  std::vector<std::string> listen = {"127.0.0.1:0"};
  // Written in one step once the server answers: one line per listen address, the port of TCP
  // addresses and `unix:PATH` of sockets. Removed before the start and at the end. Empty: no file.
  std::string port_file;
  // For MetricsEndpoint::Start, which the binary calls before ServerRunner::Start. Empty: none.
  std::string metrics_listen;
  // PEM files. Plain text without them; with a tls_ca, clients must show a certificate it signed.
  std::string tls_cert, tls_key, tls_ca;
  std::string token_file;  // for Authenticator::Load
  // Largest message taken from a client; what is sent is not limited. Bytes.
  int max_receive_bytes = 64 << 20;
  // How long running calls may go on after SIGTERM, SIGINT or Shutdown() before they are cancelled.
  absl::Duration drain_timeout = absl::Seconds(30);
  // At most one runner of a process can take the signals; tests with several turn this off.
  bool handle_signals = true;
  // Called once on the runner's thread when draining begins: ends what would never end by itself
  // (watch streams, a training loop). Health says NOT_SERVING already. Must not block. May be
  // empty.
  std::function<void()> on_drain;
};

struct ServedService {
  grpc::Service* service = nullptr;  // outlives the runner
  std::string name;                  // unlearn::v1::X::service_full_name()
  // What grpc.health.v1 says until SetServing.
  bool serving = true;
};

// A gRPC server with health, reflection and keepalive, which a SIGTERM drains instead of kills.
// Handlers must notice cancellation (ServerContext::IsCancelled, OnCancel): the end waits for them.
// Thread-safe.
class ServerRunner {
 public:
  // Binds and serves; on return the addresses answer and the port file is there. Errors:
  // INVALID_ARGUMENT (an address, a certificate: the flag is named), ALREADY_EXISTS (address in
  // use), NOT_FOUND, PERMISSION_DENIED.
  static absl::StatusOr<std::unique_ptr<ServerRunner>> Start(ServerOptions options,
                                                             std::vector<ServedService> services);
  // Shuts down and waits.
  ~ServerRunner();
  ServerRunner(const ServerRunner&) = delete;
  ServerRunner& operator=(const ServerRunner&) = delete;

  // The first TCP port; 0 when only unix sockets are listened on.
  int port() const { return port_; }
  // The addresses with their real ports, as clients dial them.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // What grpc.health.v1 answers for the service. The server as a whole ("") serves when all its
  // services do. No effect once draining has begun. NOT_FOUND for a name that is not served.
  absl::Status SetServing(absl::string_view service, bool serving);
  bool draining() const;

  // Begins to drain and returns at once.
  void Shutdown();
  // Blocks until a signal or Shutdown() has ended the server: OK, or DEADLINE_EXCEEDED with the
  // number of calls that had to be cancelled. Any number of callers.
  absl::Status Wait();

  // A channel inside the process, without sockets, TLS or tokens.
  std::shared_ptr<grpc::Channel> InProcessChannel();

 private:
  ServerRunner() = default;
  void RunUntilShutdown();  // the runner's thread
  void PublishHealth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Thread;
  ServerOptions options_;
  RunningCalls running_calls_;  // outlives server_
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::vector<std::string> addresses_;
  int wake_fd_ = -1;  // eventfd: one more for each signal or Shutdown()
  bool owns_signals_ = false;
  std::unique_ptr<Thread> thread_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, bool> serving_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_SERVER_RUNNER_H_
