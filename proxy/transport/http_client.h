#ifndef PROXY_TRANSPORT_HTTP_CLIENT_H_
#define PROXY_TRANSPORT_HTTP_CLIENT_H_

#include <stddef.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proxy/transport/tls_files.h"

namespace unlearn {

class HttpLoop;
class HttpTransfer;

struct HttpClientOptions {
  std::string url;  // http://HOST[:PORT][/BASE] or https://…; paths of requests come behind it
  // The flag that gave the URL, for errors; so is --<url_flag>_connect_timeout.
  std::string url_flag = "upstream";
  TlsFiles tls;            // for https; an empty `ca`: the system's authorities
  std::string token_file;  // its token goes with every request; read once; empty: none
  // For name, connection and TLS handshake together.
  absl::Duration connect_timeout = absl::Seconds(10);
};

struct HttpTimeout {
  absl::Duration limit = absl::InfiniteDuration();
  std::string flag;  // that raises it, for the error; may be empty
};

struct HttpRequest {
  std::string method = "POST";  // or GET, without a body
  std::string path;             // "/v1/completions"
  std::string body;             // JSON
  HttpTimeout first_byte;       // of the answer's body, from when the request is sent
  HttpTimeout idle;             // between two pieces of the body; a paused call is not idle
  HttpTimeout total;            // from Start on
  // Of a body that is collected. A larger one of a 2xx answer is an error, that of another answer
  // is cut: what fails there is told by its status.
  size_t max_body_bytes = 16 << 20;
};

struct HttpResponse {
  int status = 0;
  std::string content_type;                   // empty where the server names none
  std::string body;                           // empty where on_data took it
  std::optional<absl::Duration> retry_after;  // more than 0
};

// An HTTP/1.1 client of one server, for JSON and streams of server-sent events. Connections are
// kept and used again. Redirects, cookies and the environment's proxies are not followed.
//
// Nothing is sent twice, with one exception: a request that went out on a kept connection which
// the server closed without one line of an answer (servers close idle ones at any time) is sent
// once more, on a fresh connection.
//
// Callbacks run on the client's own thread, one at a time; they must not block or throw. They may
// Start calls and destroy any Call, their own as well. Thread-safe.
class HttpClient {
 public:
  // A piece of the body of a 2xx answer, as it came. Whoever queues pieces bounds them by
  // Call::Pause; the client itself holds no more than some kB for a call.
  using OnData = std::function<void(absl::string_view piece)>;
  // The end. An answer with any status is a response. Otherwise
  //   UNAVAILABLE         no connection, or it broke, or what came is no HTTP
  //   DEADLINE_EXCEEDED   one of the request's timeouts
  //   RESOURCE_EXHAUSTED  a body above max_body_bytes, or headers without end
  //   INVALID_ARGUMENT    the request's method or path
  //   CANCELLED           the client is being destroyed
  // with the address, what was waited for and the flag that helps. Pieces may have come before.
  using OnDone = std::function<void(absl::StatusOr<HttpResponse> response)>;

  // One request under way. Thread-safe, but for the destructor.
  class Call {
   public:
    // Cancels: afterwards no callback runs, and what they captured is destroyed, or will be when
    // the callback that is destroying its own call returns. Waits for a callback of this call that
    // is running on the client's thread, so hold no lock that it takes. The connection of an
    // unfinished request is closed soon: by that a server learns to stop.
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // Holds the pieces back, so that the server's sending is slowed down by TCP, until Resume. A
    // piece that is under way may still come, and so may on_done where no more pieces do.
    void Pause();
    void Resume();

   private:
    friend class HttpClient;
    Call(std::shared_ptr<HttpLoop> loop, std::shared_ptr<HttpTransfer> transfer);
    const std::shared_ptr<HttpLoop> loop_;
    const std::shared_ptr<HttpTransfer> transfer_;
  };

  // Does not connect. INVALID_ARGUMENT for the URL or for TLS files with http://, or what is wrong
  // with the files.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(const HttpClientOptions& options);

  // Ends all calls with CANCELLED (a call started by these last callbacks ends without a word)
  // and joins the thread; dies when that is the thread it runs on. Calls may outlive the client.
  ~HttpClient();

  // `on_done` runs exactly once unless the call is destroyed before, perhaps before Start returns.
  // Without `on_data` the body of a 2xx answer is collected.
  std::unique_ptr<Call> Start(HttpRequest request, OnData on_data, OnDone on_done);

  // Starts a request and waits for its end. Not for the client's thread: FAILED_PRECONDITION.
  absl::StatusOr<HttpResponse> Fetch(HttpRequest request);

  // Grows when the server may have been restarted: a connection broke or could not be made, or one
  // was made while there was none. What is answered over the next connection comes after that.
  int64_t connections() const;

  const std::string& url() const { return url_; }

 private:
  HttpClient(std::string url, std::shared_ptr<HttpLoop> loop);
  const std::string url_;
  const std::shared_ptr<HttpLoop> loop_;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_HTTP_CLIENT_H_
