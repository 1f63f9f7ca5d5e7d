#ifndef PROXY_TRANSPORT_HTTP_LOOP_H_
#define PROXY_TRANSPORT_HTTP_LOOP_H_

#include <curl/curl.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proxy/transport/http_transfer.h"

namespace unlearn {

// The thread of an HttpClient and all that curl does on it. Thread-safe; Calls keep it after the
// client's end, when every method does nothing.
class HttpLoop {
 public:
  // INTERNAL where curl cannot begin.
  static absl::StatusOr<std::shared_ptr<HttpLoop>> Create(std::shared_ptr<const HttpOrigin> origin);
  ~HttpLoop();

  const std::shared_ptr<const HttpOrigin>& origin() const { return origin_; }
  bool OnThread() const { return std::this_thread::get_id() == thread_id_; }

  void Start(std::shared_ptr<HttpTransfer> transfer);
  // The transfer was cancelled or resumed.
  void Look(std::shared_ptr<HttpTransfer> transfer);
  // HttpClient::connections.
  int64_t connections() const { return connections_; }
  // Ends all transfers with CANCELLED and joins the thread. Once, not on the thread.
  void Stop();

 private:
  HttpLoop(std::shared_ptr<const HttpOrigin> origin, CURLM* multi);

  static curl_socket_t OpenSocket(void* loop, curlsocktype type, curl_sockaddr* address);
  static int CloseSocket(void* loop, curl_socket_t socket);
  void Run();
  void Begin(std::shared_ptr<HttpTransfer> transfer);
  void LookAt(const std::shared_ptr<HttpTransfer>& transfer);
  void TakeFinished();
  // Ends those that are late; the time until the next is, in milliseconds.
  int EndLate();
  void End(HttpTransfer* transfer, absl::StatusOr<HttpResponse> response);

  const std::shared_ptr<const HttpOrigin> origin_;
  CURLM* const multi_;
  // For the thread only.
  std::map<HttpTransfer*, std::shared_ptr<HttpTransfer>> running_;
  int open_sockets_ = 0;
  std::atomic<int64_t> connections_ = 0;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<HttpTransfer>> new_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<HttpTransfer>> changed_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
  std::thread::id thread_id_;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_HTTP_LOOP_H_
