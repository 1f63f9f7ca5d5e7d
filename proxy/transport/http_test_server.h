#ifndef PROXY_TRANSPORT_HTTP_TEST_SERVER_H_
#define PROXY_TRANSPORT_HTTP_TEST_SERVER_H_

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace unlearn {

class HttpTestConnection;

// An HTTP/1.1 server on 127.0.0.1 for tests: answers as a handler says, right or wrong. One thread
// for each connection. Declare what handlers refer to before the server, whose destructor waits for
// them. Dies where the system refuses a socket.
class HttpTestServer {
 public:
  struct Options {
    // PEM files; empty: plain text. With `tls_ca`, clients must show a certificate.
    std::string tls_cert, tls_key, tls_ca;
    // A connection is closed, unannounced, after this many answers; 0: never.
    int answers_per_connection = 0;
    int port = 0;  // that of a server which is gone, to stand in its place; 0: any
  };

  struct Request {
    std::string method;
    std::string path;  // with the query
    std::string body;
    std::map<std::string, std::string> headers;  // names in lower case
    int connection = 0;                          // which, counted from 0
    int number = 0;                              // of its requests, counted from 0
  };

  using Headers = std::vector<std::pair<std::string, std::string>>;

  // What a handler does with the client. Every bool is false when the client is gone. A handler
  // that returns before its answer is complete closes the connection there. For its thread only.
  class Reply {
   public:
    // The whole answer. Content-Length is added unless `headers` has one (a wrong one, perhaps).
    bool Send(int status, absl::string_view content_type, absl::string_view body,
              const Headers& headers = {});
    bool SendJson(int status, absl::string_view body, const Headers& headers = {}) {
      return Send(status, "application/json", body, headers);
    }

    // An answer in chunks: server-sent events unless another type is given.
    bool StartStream(int status = 200, absl::string_view content_type = "text/event-stream");
    bool Write(absl::string_view piece);      // one chunk, at once
    bool WriteEvent(absl::string_view data);  // `data: …`, data without line ends
    bool EndStream();

    // Bytes as they are, for what is no HTTP.
    bool WriteRaw(absl::string_view bytes);
    // Nothing more is read or written after the handler; `reset`: as if the server had crashed.
    void Close(bool reset = false);
    // The connection stays open and is reset by the first byte of its next request.
    void ResetNextRequest() { reset_next_ = true; }
    // Blocks until the client has closed the connection (true), or for so long.
    bool WaitUntilClientLeaves(absl::Duration timeout = absl::Seconds(30));

   private:
    friend class HttpTestServer;
    explicit Reply(HttpTestConnection* connection) : connection_(connection) {}
    HttpTestConnection* const connection_;
    bool complete_ = false;
    bool close_ = false;
    bool reset_ = false;
    bool reset_next_ = false;
  };

  using Handler = std::function<void(const Request&, Reply&)>;

  HttpTestServer() : HttpTestServer(Options()) {}
  explicit HttpTestServer(Options options);
  // Closes all connections (which ends WaitUntilClientLeaves) and waits for the handlers.
  ~HttpTestServer();

  // Answers `path`, its query not counted; others get 404. Replaces an earlier handler.
  void Handle(const std::string& path, Handler handler);

  int port() const { return port_; }
  std::string url() const;  // "http://127.0.0.1:PORT", https with a certificate

  // What came so far, whole requests only, in the order in which they were read.
  std::vector<Request> requests() const;
  int connections() const;  // accepted so far
  // Waits for events, 30 s at most; false: they did not come.
  bool WaitForRequests(int count) const;
  bool WaitForOpenConnections(int count) const;  // exactly so many, handshakes under way as well

 private:
  void Accept();
  void Serve(HttpTestConnection& connection);

  const Options options_;
  void* tls_context_ = nullptr;  // SSL_CTX
  int listen_socket_ = -1;
  int port_ = 0;
  std::thread accepting_;
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Handler> handlers_ ABSL_GUARDED_BY(mutex_);
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::list<std::unique_ptr<HttpTestConnection>> connections_ ABSL_GUARDED_BY(mutex_);
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_HTTP_TEST_SERVER_H_
