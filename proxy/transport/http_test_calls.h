#ifndef PROXY_TRANSPORT_HTTP_TEST_CALLS_H_
#define PROXY_TRANSPORT_HTTP_TEST_CALLS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proxy/transport/http_client.h"

namespace unlearn {

inline std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

// A client of `url` with nothing but this timeout.
inline std::unique_ptr<HttpClient> Connect(const std::string& url,
                                           absl::Duration connect_timeout = absl::Seconds(30)) {
  HttpClientOptions options;
  options.url = url;
  options.connect_timeout = connect_timeout;
  auto client = HttpClient::Create(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

inline HttpRequest Post(const std::string& path, const std::string& body = "{}") {
  HttpRequest request;
  request.path = path;
  request.body = body;
  return request;
}
inline HttpRequest Get(const std::string& path) {
  HttpRequest request;
  request.method = "GET";
  request.path = path;
  return request;
}

// A call and what comes of it. Destroying it cancels the call.
class TestCall {
 public:
  TestCall(HttpClient& client, HttpRequest request, bool streamed = true) {
    HttpClient::OnData on_data;
    if (streamed) {
      on_data = [this](absl::string_view piece) {
        absl::MutexLock lock(&mutex_);
        data_.append(piece.data(), piece.size());
      };
    }
    call_ = client.Start(std::move(request), std::move(on_data),
                         [this](absl::StatusOr<HttpResponse> response) {
                           EXPECT_FALSE(done()) << "done twice";
                           response_ = std::move(response);
                           done_.Notify();
                         });
  }

  absl::StatusOr<HttpResponse> Wait() {
    done_.WaitForNotification();
    return response_;
  }
  bool done() const { return done_.HasBeenNotified(); }
  std::string data() {
    absl::MutexLock lock(&mutex_);
    return data_;
  }
  void WaitForData(size_t bytes) {
    const auto enough = [&] { return data_.size() >= bytes; };
    absl::MutexLock lock(&mutex_, absl::Condition(&enough));
  }
  HttpClient::Call& call() { return *call_; }
  void Destroy() { call_.reset(); }

 private:
  absl::Mutex mutex_;
  std::string data_;
  absl::StatusOr<HttpResponse> response_;
  absl::Notification done_;
  std::unique_ptr<HttpClient::Call> call_;  // destroyed before what it uses
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_HTTP_TEST_CALLS_H_
