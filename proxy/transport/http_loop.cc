#include "proxy/transport/http_loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

using Clock = HttpTransfer::Clock;

constexpr long kMaxKeptConnections = 256;

}  // namespace

absl::StatusOr<std::shared_ptr<HttpLoop>> HttpLoop::Create(
    std::shared_ptr<const HttpOrigin> origin) {
  static const CURLcode begun = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (begun != CURLE_OK) {
    return absl::InternalError(absl::StrCat("curl cannot begin: ", curl_easy_strerror(begun)));
  }
  CURLM* const multi = curl_multi_init();
  if (multi == nullptr) return absl::InternalError("curl cannot begin: no memory or no sockets");
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kMaxKeptConnections);
  return std::shared_ptr<HttpLoop>(new HttpLoop(std::move(origin), multi));
}

HttpLoop::HttpLoop(std::shared_ptr<const HttpOrigin> origin, CURLM* multi)
    : origin_(std::move(origin)), multi_(multi) {
  // The thread waits for this lock, so that it sees thread_id_.
  absl::MutexLock lock(&mutex_);
  thread_ = std::thread([this] { Run(); });
  thread_id_ = thread_.get_id();
}

HttpLoop::~HttpLoop() { curl_multi_cleanup(multi_); }

void HttpLoop::Start(std::shared_ptr<HttpTransfer> transfer) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  new_.push_back(std::move(transfer));
  curl_multi_wakeup(multi_);
}

void HttpLoop::Look(std::shared_ptr<HttpTransfer> transfer) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  changed_.push_back(std::move(transfer));
  curl_multi_wakeup(multi_);
}

void HttpLoop::Stop() {
  if (OnThread()) {
    fprintf(stderr, "HttpClient: destroyed by one of its own callbacks\n");
    abort();
  }
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    curl_multi_wakeup(multi_);
  }
  thread_.join();
}

void HttpLoop::Run() {
  // A server that goes away must not end the process; OpenSSL writes without MSG_NOSIGNAL.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    std::vector<std::shared_ptr<HttpTransfer>> begin, changed;
    bool stopping;
    {
      absl::MutexLock lock(&mutex_);
      begin.swap(new_);
      changed.swap(changed_);
      stopping = stopping_;
    }
    for (auto& transfer : begin) Begin(std::move(transfer));
    for (const auto& transfer : changed) LookAt(transfer);
    if (stopping) break;
    int count = 0;
    curl_multi_perform(multi_, &count);
    TakeFinished();
    curl_multi_poll(multi_, nullptr, 0, EndLate(), nullptr);
  }
  while (!running_.empty()) {
    End(running_.begin()->first,
        absl::CancelledError(absl::StrCat("the client of ", origin_->url, " was closed")));
  }
}

// While one connection stays open, the server at its other end lives; a connection that follows the
// end of the last one may reach another.
curl_socket_t HttpLoop::OpenSocket(void* loop, curlsocktype, curl_sockaddr* address) {
  auto& self = *static_cast<HttpLoop*>(loop);
  const curl_socket_t opened =
      socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (opened != CURL_SOCKET_BAD && self.open_sockets_++ == 0) ++self.connections_;
  return opened;
}

int HttpLoop::CloseSocket(void* loop, curl_socket_t socket) {
  --static_cast<HttpLoop*>(loop)->open_sockets_;
  return close(socket);
}

void HttpLoop::Begin(std::shared_ptr<HttpTransfer> transfer) {
  if (transfer->cancelled()) return;
  HttpTransfer* const key = transfer.get();
  running_[key] = std::move(transfer);
  const absl::StatusOr<CURL*> handle = key->Prepare();
  if (!handle.ok()) return End(key, handle.status());
  curl_easy_setopt(*handle, CURLOPT_OPENSOCKETFUNCTION, &HttpLoop::OpenSocket);
  curl_easy_setopt(*handle, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(*handle, CURLOPT_CLOSESOCKETFUNCTION, &HttpLoop::CloseSocket);
  curl_easy_setopt(*handle, CURLOPT_CLOSESOCKETDATA, this);
  if (const CURLMcode code = curl_multi_add_handle(multi_, *handle); code != CURLM_OK) {
    End(key, absl::InternalError(absl::StrCat("curl: ", curl_multi_strerror(code))));
  }
}

void HttpLoop::LookAt(const std::shared_ptr<HttpTransfer>& transfer) {
  if (running_.count(transfer.get()) == 0) return;
  if (!transfer->cancelled()) transfer->Resume();
  // Perhaps only now, by its own callback.
  if (transfer->cancelled()) End(transfer.get(), absl::CancelledError());
}

void HttpLoop::TakeFinished() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    char* found = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &found);
    HttpTransfer* const transfer = reinterpret_cast<HttpTransfer*>(found);
    if (transfer->PrepareAgain(code)) {
      curl_multi_remove_handle(multi_, transfer->handle());
      if (curl_multi_add_handle(multi_, transfer->handle()) == CURLM_OK) continue;
    }
    End(transfer, transfer->Outcome(code));
  }
}

int HttpLoop::EndLate() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = now + std::chrono::hours(1);
  std::vector<std::pair<HttpTransfer*, absl::Status>> late;
  for (const auto& [transfer, unused] : running_) {
    absl::Status status = transfer->Late(now);
    if (status.ok()) {
      next = std::min(next, std::max(now, transfer->NextDeadline()));
    } else {
      late.emplace_back(transfer, std::move(status));
    }
  }
  for (auto& [transfer, status] : late) End(transfer, std::move(status));
  return std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
}

void HttpLoop::End(HttpTransfer* transfer, absl::StatusOr<HttpResponse> response) {
  const std::shared_ptr<HttpTransfer> kept = std::move(running_[transfer]);
  running_.erase(transfer);
  // Before the word gets round: whoever answers next may be another.
  if (absl::IsUnavailable(response.status())) ++connections_;
  // Closes the connection of a transfer that has not finished.
  if (kept->handle() != nullptr) curl_multi_remove_handle(multi_, kept->handle());
  kept->Done(std::move(response));
}

}  // namespace unlearn
