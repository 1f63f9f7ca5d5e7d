#ifndef PROXY_TRANSPORT_HTTP_TRANSFER_H_
#define PROXY_TRANSPORT_HTTP_TRANSFER_H_

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proxy/transport/http_client.h"
#include "proxy/transport/tls_files.h"

namespace unlearn {

// What all requests of one HttpClient share.
struct HttpOrigin {
  std::string url;  // without a slash at the end
  std::string url_flag;
  std::string tls_flag_prefix;
  TlsPems tls;
  std::string authorization;  // the header; empty: none
  absl::Duration connect_timeout;
};

// One request of an HttpClient: libcurl's handle, what came so far, its deadlines. Everything that
// is not said to be for any thread is for the client's.
class HttpTransfer {
 public:
  using Clock = std::chrono::steady_clock;

  HttpTransfer(std::shared_ptr<const HttpOrigin> origin, HttpRequest request,
               HttpClient::OnData on_data, HttpClient::OnDone on_done);
  ~HttpTransfer();

  // Any thread. After Cancel no callback runs. `on_client_thread`: whether the caller is that one.
  // True when the client's thread has to look, as below: the request was not done.
  bool Cancel(bool on_client_thread);
  bool cancelled() const { return cancelled_; }
  // Any thread. True when the client's thread has to look.
  bool SetPaused(bool paused) { return paused_.exchange(paused) != paused && !paused; }

  // The handle for curl_multi_add_handle, its CURLOPT_PRIVATE this; or INVALID_ARGUMENT.
  absl::StatusOr<CURL*> Prepare();
  // Lets the data of a resumed transfer come; it may call on_data.
  void Resume();
  // When Late has to be asked; time_point::max() for never.
  Clock::time_point NextDeadline() const;
  // DEADLINE_EXCEEDED when a deadline has passed.
  absl::Status Late(Clock::time_point now) const;

  // After curl's end with `code`: true where the handle has to be added once more.
  bool PrepareAgain(CURLcode code);
  absl::StatusOr<HttpResponse> Outcome(CURLcode code);
  // Calls on_done unless cancelled, and drops both callbacks.
  void Done(absl::StatusOr<HttpResponse> response);

  CURL* handle() const { return handle_; }

 private:
  // What curl calls; `self` is this.
  static int OnSocket(void* self, curl_socket_t socket, curlsocktype purpose);
  static int OnConnected(void* self, char*, char*, int, int);
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);

  void ResetAnswer();
  long Status() const;
  std::string What() const;    // "POST http://…/v1/completions (--upstream)"
  std::string Server() const;  // "http://… (--upstream)"
  absl::Status ErrorOf(CURLcode code) const;

  const std::shared_ptr<const HttpOrigin> origin_;
  const HttpRequest request_;
  const bool streamed_;

  absl::Mutex running_;  // held while a callback runs
  std::atomic<bool> in_callback_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> paused_ = false;
  HttpClient::OnData on_data_;
  HttpClient::OnDone on_done_;

  CURL* handle_ = nullptr;
  curl_slist* headers_ = nullptr;
  std::string url_;
  char curl_error_[CURL_ERROR_SIZE] = "";
  const Clock::time_point begun_ = Clock::now();
  std::optional<Clock::time_point> sent_;
  std::optional<Clock::time_point> last_piece_;
  int attempts_ = 0;          // requests that went out, or tried to
  bool opened_ = false;       // a socket, since the last attempt
  bool reused_ = false;       // the last attempt went over a kept connection
  size_t header_bytes_ = 0;   // 0: no line of an answer came
  bool headers_end_ = false;  // of the answer itself, not of a 1xx
  bool too_large_ = false;
  std::string body_;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_HTTP_TRANSFER_H_
