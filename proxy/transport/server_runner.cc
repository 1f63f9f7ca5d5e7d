#include "proxy/transport/server_runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpc/grpc.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "offset/base/file.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "proxy/transport/grpc_library.h"
#include "proxy/transport/listen_address.h"
#include "proxy/transport/tls_files.h"

namespace unlearn {
namespace {

constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// Our clients ping every 30 s; a client that pings more often than this is disconnected by gRPC.
constexpr int kMinPingIntervalMs = 10'000;

// After the last of our own calls: what it sent leaves before health watchers are cut off.
constexpr absl::Duration kFlushTime = absl::Milliseconds(100);

// The eventfd of the runner that takes the process's signals; a handler may only write(2).
std::atomic<int> signal_fd{-1};

void WakeUp(int fd) {
  const uint64_t one = 1;
  // Fails only when the counter is full: then somebody is awake already.
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof(one));
}

void OnSignal(int) {
  const int saved = errno;
  const int fd = signal_fd.load();
  if (fd >= 0) WakeUp(fd);
  errno = saved;
}

void Consume(int fd) {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(fd, &count, sizeof(count));
}

absl::Status TakeSignals(int fd) {
  int nobody = -1;
  if (!signal_fd.compare_exchange_strong(nobody, fd)) {
    return absl::FailedPreconditionError(
        "another ServerRunner of this process handles the signals already; set handle_signals "
        "to false");
  }
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  return absl::OkStatus();
}

void GiveSignalsBack() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal_fd.store(-1);
}

// EnableDefaultHealthCheckService is a global of gRPC and not thread-safe.
void PrepareGrpcOnce() {
  static const bool done = [] {
    KeepGrpcRunning();
    grpc::EnableDefaultHealthCheckService(true);
    // Named, so that no linker drops the library whose static objects would do it.
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)done;
}

}  // namespace

struct ServerRunner::Thread {
  std::thread thread;
};

absl::StatusOr<std::unique_ptr<ServerRunner>> ServerRunner::Start(
    ServerOptions options, std::vector<ServedService> services) {
  if (options.listen.empty()) {
    return absl::InvalidArgumentError(
        "--listen: give at least one address, HOST:PORT or unix:PATH");
  }
  if (options.drain_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--drain_timeout: ", absl::FormatDuration(options.drain_timeout),
                     " is negative; 0 cancels running calls at once"));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                   MakeServerCredentials({options.tls_ca, options.tls_cert, options.tls_key, ""}));
  PrepareGrpcOnce();

  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(-1);
  // Made first, since the interceptors below count into it; from here on the destructor cleans up.
  std::unique_ptr<ServerRunner> runner(new ServerRunner());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(runner->running_calls_.NewFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < options.listen.size(); ++i) {
    const std::string& address = options.listen[i];
    RETURN_IF_ERROR(CheckListenAddress(address));
    if (options.tls_cert.empty() && !IsLocalAddress(address)) {
      LogWarning("--listen ", address,
                 " is reachable from other machines in plain text; consider --tls_cert, --tls_key");
    }
    builder.AddListeningPort(address, credentials, &ports[i]);
  }
  for (const ServedService& service : services) builder.RegisterService(service.service);
  if (!options.port_file.empty() && unlink(options.port_file.c_str()) != 0 && errno != ENOENT) {
    return absl::InvalidArgumentError(
        absl::StrCat("--port_file: cannot replace ", options.port_file, ": ", strerror(errno)));
  }

  runner->options_ = std::move(options);
  const ServerOptions& kept = runner->options_;
  runner->server_ = builder.BuildAndStart();
  if (runner->server_ == nullptr) {
    // Somebody was faster after the check, or two of our own addresses clash.
    for (const std::string& address : kept.listen) RETURN_IF_ERROR(CheckListenAddress(address));
    return absl::AlreadyExistsError(absl::StrCat("--listen: cannot listen on ",
                                                 absl::StrJoin(kept.listen, ","),
                                                 "; is an address there twice, or just taken?"));
  }
  std::string lines;
  for (size_t i = 0; i < kept.listen.size(); ++i) {
    const bool is_unix = IsUnixAddress(kept.listen[i]);
    runner->addresses_.push_back(WithPort(kept.listen[i], ports[i]));
    if (!is_unix && runner->port_ == 0) runner->port_ = ports[i];
    absl::StrAppend(&lines, is_unix ? kept.listen[i] : absl::StrCat(ports[i]), "\n");
  }
  {
    absl::MutexLock lock(&runner->mutex_);
    for (const ServedService& service : services) {
      runner->serving_[service.name] = service.serving;
    }
    runner->PublishHealth();
  }
  runner->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (runner->wake_fd_ < 0) {
    return absl::InternalError(absl::StrCat("cannot make an eventfd: ", strerror(errno)));
  }
  if (kept.handle_signals) {
    RETURN_IF_ERROR(TakeSignals(runner->wake_fd_));
    runner->owns_signals_ = true;
  }
  runner->thread_ = std::make_unique<Thread>();
  runner->thread_->thread = std::thread([raw = runner.get()] { raw->RunUntilShutdown(); });
  if (!kept.port_file.empty()) {
    const absl::Status written = WriteFileAtomically(kept.port_file, lines, 0644);
    if (!written.ok()) {
      return absl::Status(written.code(), absl::StrCat("--port_file: ", written.message()));
    }
  }
  LogInfo("serving on ", absl::StrJoin(runner->addresses_, ", "),
          kept.tls_cert.empty() ? " (plain text)" : (kept.tls_ca.empty() ? " (TLS)" : " (mTLS)"));
  return runner;
}

ServerRunner::~ServerRunner() {
  if (thread_ != nullptr) {
    Shutdown();
    thread_->thread.join();
  } else if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now());
  }
  if (owns_signals_) GiveSignalsBack();
  server_.reset();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void ServerRunner::PublishHealth() {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  bool all = true;
  for (const auto& [name, serving] : serving_) {
    health->SetServingStatus(name, serving);
    all = all && serving;
  }
  health->SetServingStatus("", all);
}

absl::Status ServerRunner::SetServing(absl::string_view service, bool serving) {
  absl::MutexLock lock(&mutex_);
  const auto found = serving_.find(service);
  if (found == serving_.end()) {
    return absl::NotFoundError(absl::StrCat("this server has no service \"", service, "\""));
  }
  found->second = serving;
  if (!draining_) PublishHealth();
  return absl::OkStatus();
}

bool ServerRunner::draining() const {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

void ServerRunner::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    if (draining_) return;
  }
  WakeUp(wake_fd_);
}

void ServerRunner::RunUntilShutdown() {
  pollfd wake = {wake_fd_, POLLIN, 0};
  while (poll(&wake, 1, -1) < 0 && errno == EINTR) {
  }
  Consume(wake_fd_);
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
  }
  LogInfo("draining for at most ", absl::FormatDuration(options_.drain_timeout));
  if (!options_.port_file.empty()) unlink(options_.port_file.c_str());
  server_->GetHealthCheckService()->Shutdown();  // NOT_SERVING for all, also for those who watch

  // Shutdown() below blocks; a second signal or the timeout cancels what still runs from here.
  absl::Notification drained;
  std::thread shutdown([this, &drained] {
    server_->Shutdown();
    drained.Notify();
  });
  if (options_.on_drain) options_.on_drain();
  const absl::Time deadline = absl::Now() + options_.drain_timeout;
  absl::Time idle_since = absl::InfiniteFuture();
  absl::Status result;
  // Short rounds, since poll() cannot wait for the notification.
  while (!drained.WaitForNotificationWithTimeout(absl::Milliseconds(20))) {
    const absl::Time now = absl::Now();
    const int running = running_calls_.count();
    idle_since = running > 0 ? absl::InfiniteFuture() : std::min(idle_since, now);
    const bool again = poll(&wake, 1, 0) > 0;
    if (!again && now < deadline && now - idle_since < kFlushTime) continue;
    if (running > 0 && result.ok()) {
      result = absl::DeadlineExceededError(absl::StrCat(
          again ? "asked again to end"
                : absl::StrCat("--drain_timeout ", absl::FormatDuration(options_.drain_timeout),
                               " is over"),
          ": ", running, " running call(s) cancelled"));
      LogWarning(result.message());
    }
    // Each round: a call may have come in while Shutdown() was only beginning.
    grpc_server_cancel_all_calls(server_->c_server());
  }
  shutdown.join();
  server_->Wait();
  LogInfo("server ended");
  absl::MutexLock lock(&mutex_);
  result_ = result;
  ended_ = true;
}

absl::Status ServerRunner::Wait() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&ended_));
  return result_;
}

std::shared_ptr<grpc::Channel> ServerRunner::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace unlearn
