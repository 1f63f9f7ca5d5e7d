#include "proxy/transport/http_test_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace unlearn {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

void Require(bool fine, const char* what) {
  if (fine) return;
  fprintf(stderr, "HTTP test server: %s failed\n", what);
  abort();
}

}  // namespace

// One accepted socket, with TLS or without. Shut() may be called by any thread, the rest by one.
class HttpTestConnection {
 public:
  HttpTestConnection(int number, int socket, SSL_CTX* context) : number_(number), socket_(socket) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (context == nullptr) return;
    tls_ = SSL_new(context);
    Require(tls_ != nullptr && SSL_set_fd(tls_, socket) == 1, "TLS");
  }
  ~HttpTestConnection() {
    if (thread_.joinable()) thread_.join();
    SSL_free(tls_);
  }

  int number() const { return number_; }
  std::thread& thread() { return thread_; }

  bool Handshake() { return tls_ == nullptr || SSL_accept(tls_) == 1; }

  // 0: the client closed; negative: an error.
  ssize_t Read(char* buffer, size_t size) {
    return tls_ != nullptr ? SSL_read(tls_, buffer, size) : recv(socket_, buffer, size, 0);
  }

  bool Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = tls_ != nullptr
                               ? SSL_write(tls_, bytes.data(), bytes.size())
                               : send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(sent);
    }
    return true;
  }

  bool WaitUntilPeerLeaves(absl::Duration timeout) {
    pollfd waited = {socket_, POLLRDHUP, 0};
    return poll(&waited, 1, absl::ToInt64Milliseconds(timeout)) == 1;
  }

  void Shut() {
    absl::MutexLock lock(&mutex_);
    if (!closed_) shutdown(socket_, SHUT_RDWR);
  }

  void Close(bool reset) {
    absl::MutexLock lock(&mutex_);
    if (reset) {
      const linger at_once = {1, 0};
      setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    } else if (tls_ != nullptr) {
      SSL_shutdown(tls_);
    }
    closed_ = true;
    close(socket_);
  }

 private:
  const int number_;
  const int socket_;
  SSL* tls_ = nullptr;
  std::thread thread_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

bool HttpTestServer::Reply::Send(int status, absl::string_view content_type, absl::string_view body,
                                 const Headers& headers) {
  std::string text = absl::StrCat("HTTP/1.1 ", status, " Status\r\n");
  if (!content_type.empty()) absl::StrAppend(&text, "Content-Type: ", content_type, "\r\n");
  bool has_length = false;
  for (const auto& [name, value] : headers) {
    has_length |= absl::EqualsIgnoreCase(name, "content-length");
    absl::StrAppend(&text, name, ": ", value, "\r\n");
  }
  if (!has_length) absl::StrAppend(&text, "Content-Length: ", body.size(), "\r\n");
  complete_ = true;
  return WriteRaw(absl::StrCat(text, "\r\n", body));
}

bool HttpTestServer::Reply::StartStream(int status, absl::string_view content_type) {
  return WriteRaw(absl::StrCat("HTTP/1.1 ", status, " Status\r\nContent-Type: ", content_type,
                               "\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

bool HttpTestServer::Reply::Write(absl::string_view piece) {
  if (piece.empty()) return true;  // an empty chunk would be the end
  return WriteRaw(absl::StrCat(absl::StrFormat("%x", piece.size()), "\r\n", piece, "\r\n"));
}

bool HttpTestServer::Reply::WriteEvent(absl::string_view data) {
  return Write(absl::StrCat("data: ", data, "\n\n"));
}

bool HttpTestServer::Reply::EndStream() {
  complete_ = true;
  return WriteRaw("0\r\n\r\n");
}

bool HttpTestServer::Reply::WriteRaw(absl::string_view bytes) { return connection_->Write(bytes); }

void HttpTestServer::Reply::Close(bool reset) {
  close_ = true;
  reset_ = reset;
}

bool HttpTestServer::Reply::WaitUntilClientLeaves(absl::Duration timeout) {
  return connection_->WaitUntilPeerLeaves(timeout);
}

HttpTestServer::HttpTestServer(Options options) : options_(std::move(options)) {
  if (!options_.tls_cert.empty()) {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    Require(context != nullptr, "TLS");
    Require(
        SSL_CTX_use_certificate_chain_file(context, options_.tls_cert.c_str()) == 1 &&
            SSL_CTX_use_PrivateKey_file(context, options_.tls_key.c_str(), SSL_FILETYPE_PEM) == 1,
        "reading certificate and key");
    if (!options_.tls_ca.empty()) {
      Require(SSL_CTX_load_verify_locations(context, options_.tls_ca.c_str(), nullptr) == 1,
              "reading the authority");
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    tls_context_ = context;
  }
  listen_socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(options_.port));
  socklen_t size = sizeof(address);
  const int reuse = 1;
  Require(listen_socket_ >= 0 &&
              setsockopt(listen_socket_, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) == 0 &&
              bind(listen_socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
              listen(listen_socket_, 128) == 0 &&
              getsockname(listen_socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "listening on 127.0.0.1");
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { Accept(); });
}

HttpTestServer::~HttpTestServer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    shutdown(listen_socket_, SHUT_RDWR);
    for (const auto& connection : connections_) connection->Shut();
  }
  accepting_.join();
  // No thread adds any more; each ends by itself, and locks the mutex for that.
  std::list<std::unique_ptr<HttpTestConnection>> connections;
  {
    absl::MutexLock lock(&mutex_);
    connections.swap(connections_);
  }
  connections.clear();
  close(listen_socket_);
  SSL_CTX_free(static_cast<SSL_CTX*>(tls_context_));
}

void HttpTestServer::Handle(const std::string& path, Handler handler) {
  absl::MutexLock lock(&mutex_);
  handlers_[path] = std::move(handler);
}

std::string HttpTestServer::url() const {
  return absl::StrCat(tls_context_ == nullptr ? "http" : "https", "://127.0.0.1:", port_);
}

std::vector<HttpTestServer::Request> HttpTestServer::requests() const {
  absl::MutexLock lock(&mutex_);
  return requests_;
}

int HttpTestServer::connections() const {
  absl::MutexLock lock(&mutex_);
  return connections_.size();
}

bool HttpTestServer::WaitForRequests(int count) const {
  const auto enough = [&]()
                          ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return requests_.size() >= count; };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience);
}

bool HttpTestServer::WaitForOpenConnections(int count) const {
  const auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return open_ == count; };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), kPatience);
}

void HttpTestServer::Accept() {
  // OpenSSL writes without MSG_NOSIGNAL; the threads of the connections inherit this.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    const int accepted = accept4(listen_socket_, nullptr, nullptr, SOCK_CLOEXEC);
    absl::MutexLock lock(&mutex_);
    if (stopping_ || accepted < 0) {
      Require(stopping_, "accepting");
      if (accepted >= 0) close(accepted);
      return;
    }
    connections_.push_back(std::make_unique<HttpTestConnection>(
        connections_.size(), accepted, static_cast<SSL_CTX*>(tls_context_)));
    ++open_;
    HttpTestConnection* const connection = connections_.back().get();
    connection->thread() = std::thread([this, connection] { Serve(*connection); });
  }
}

void HttpTestServer::Serve(HttpTestConnection& connection) {
  bool reset = false;
  std::string input;
  int number = 0;
  // Reads until `enough` says so; false when the client is gone.
  const auto read_until = [&](const auto& enough) {
    char buffer[16384];
    while (!enough()) {
      const ssize_t got = connection.Read(buffer, sizeof(buffer));
      if (got <= 0) return false;
      input.append(buffer, got);
    }
    return true;
  };
  bool open = connection.Handshake();
  while (open) {
    size_t end;
    if (!read_until([&] { return (end = input.find("\r\n\r\n")) != std::string::npos; })) break;
    Request request;
    request.connection = connection.number();
    request.number = number++;
    const std::vector<std::string> lines = absl::StrSplit(input.substr(0, end), "\r\n");
    const std::vector<std::string> words = absl::StrSplit(lines[0], ' ');
    if (words.size() != 3) break;
    request.method = words[0];
    request.path = words[1];
    for (size_t i = 1; i < lines.size(); ++i) {
      const std::pair<std::string, std::string> parts =
          absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
      request.headers[absl::AsciiStrToLower(parts.first)] = parts.second;
    }
    size_t length = 0;
    if (const auto found = request.headers.find("content-length");
        found != request.headers.end() && !absl::SimpleAtoi(found->second, &length)) {
      break;
    }
    input.erase(0, end + 4);
    if (!read_until([&] { return input.size() >= length; })) break;
    request.body = input.substr(0, length);
    input.erase(0, length);

    Handler handler;
    {
      absl::MutexLock lock(&mutex_);
      requests_.push_back(request);
      const auto found = handlers_.find(request.path.substr(0, request.path.find('?')));
      if (found != handlers_.end()) handler = found->second;
    }
    Reply reply(&connection);
    if (handler == nullptr) {
      reply.Send(404, "text/plain", "no handler");
    } else {
      handler(request, reply);
    }
    reset = reply.reset_;
    if (reply.reset_next_) {
      char first;
      reset = connection.Read(&first, 1) == 1;
      break;
    }
    open = reply.complete_ && !reply.close_ && number != options_.answers_per_connection;
  }
  connection.Close(reset);
  absl::MutexLock lock(&mutex_);
  --open_;
}

}  // namespace unlearn
