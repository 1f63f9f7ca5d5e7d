#include "proxy/transport/http_transfer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;  // of all header lines of an answer
// Servers close idle connections after 5 s or more; a firewall on the way may forget them silently.
constexpr long kMaxIdleSeconds = 30;

HttpTransfer::Clock::time_point After(HttpTransfer::Clock::time_point begin,
                                      absl::Duration duration) {
  // The sum must not overflow.
  if (duration > absl::Hours(24 * 365)) return HttpTransfer::Clock::time_point::max();
  return begin + absl::ToChronoNanoseconds(duration);
}

bool IsSuccess(long status) { return status >= 200 && status < 300; }

curl_blob BlobOf(const std::string& pem) {
  return {const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_NOCOPY};
}

absl::Status LateError(const HttpTimeout& timeout, absl::string_view waited_for,
                       const std::string& what) {
  return absl::DeadlineExceededError(absl::StrCat(
      waited_for, " to ", what, " did not come within ", absl::FormatDuration(timeout.limit),
      timeout.flag.empty() ? ""
                           : absl::StrCat("; if the server is only slow, raise --", timeout.flag)));
}

}  // namespace

HttpTransfer::HttpTransfer(std::shared_ptr<const HttpOrigin> origin, HttpRequest request,
                           HttpClient::OnData on_data, HttpClient::OnDone on_done)
    : origin_(std::move(origin)),
      request_(std::move(request)),
      streamed_(on_data != nullptr),
      on_data_(std::move(on_data)),
      on_done_(std::move(on_done)),
      url_(absl::StrCat(origin_->url, request_.path)) {}

HttpTransfer::~HttpTransfer() {
  curl_easy_cleanup(handle_);
  curl_slist_free_all(headers_);
}

bool HttpTransfer::Cancel(bool on_client_thread) {
  // Destroyed after the lock is released: they may own anything, another Call as well.
  HttpClient::OnData on_data;
  HttpClient::OnDone on_done;
  if (on_client_thread && in_callback_) {
    cancelled_ = true;  // by its own callback, which holds the lock; the client drops the rest
    return on_done_ != nullptr;
  }
  absl::MutexLock lock(&running_);
  cancelled_ = true;
  on_data.swap(on_data_);
  on_done.swap(on_done_);
  return on_done != nullptr;
}

absl::StatusOr<CURL*> HttpTransfer::Prepare() {
  const bool is_get = request_.method == "GET";
  if (!is_get && request_.method != "POST") {
    return absl::InvalidArgumentError(
        absl::StrCat("an HTTP request is GET or POST, not \"", request_.method, "\""));
  }
  if (is_get && !request_.body.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("GET ", request_.path, " has a body"));
  }
  if (request_.path.empty() || request_.path[0] != '/' ||
      std::any_of(request_.path.begin(), request_.path.end(),
                  [](unsigned char c) { return c <= ' ' || c >= 0x7F; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("the path of an HTTP request, \"", request_.path,
                     "\", must begin with / and hold neither spaces nor control characters"));
  }
  handle_ = curl_easy_init();
  if (handle_ == nullptr) return absl::ResourceExhaustedError("no memory for an HTTP request");
  CURLcode refused = CURLE_OK;
  const auto set = [&](CURLoption option, auto value) {
    const CURLcode code = curl_easy_setopt(handle_, option, value);
    if (refused == CURLE_OK) refused = code;
  };
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_ERRORBUFFER, curl_error_);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PROXY, "");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  // Cancelling must not wait for a name server.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, 30L);
  set(CURLOPT_TCP_KEEPINTVL, 10L);
  set(CURLOPT_MAXAGE_CONN, kMaxIdleSeconds);
  set(CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(std::clamp<int64_t>(absl::ToInt64Milliseconds(origin_->connect_timeout), 1,
                                            int64_t{24} * 3600 * 1000)));
  if (!origin_->tls.ca.empty()) {
    curl_blob blob = BlobOf(origin_->tls.ca);
    set(CURLOPT_CAINFO_BLOB, &blob);
  }
  if (!origin_->tls.cert.empty()) {
    curl_blob cert = BlobOf(origin_->tls.cert), key = BlobOf(origin_->tls.key);
    set(CURLOPT_SSLCERT_BLOB, &cert);
    set(CURLOPT_SSLKEY_BLOB, &key);
  }
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));

  set(CURLOPT_URL, url_.c_str());
  std::vector<std::string> headers = {"Accept: application/json, text/event-stream"};
  if (is_get) {
    set(CURLOPT_HTTPGET, 1L);
  } else {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDS, request_.body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    headers.push_back("Content-Type: application/json");
    headers.push_back("Expect:");  // not waiting for "100 Continue" before a large body
  }
  if (!origin_->authorization.empty()) headers.push_back(origin_->authorization);
  for (const std::string& header : headers) {
    curl_slist* const longer = curl_slist_append(headers_, header.c_str());
    if (longer == nullptr) return absl::ResourceExhaustedError("no memory for an HTTP request");
    headers_ = longer;
  }
  set(CURLOPT_HTTPHEADER, headers_);

  set(CURLOPT_SOCKOPTFUNCTION, &OnSocket);
  set(CURLOPT_SOCKOPTDATA, this);
  set(CURLOPT_PREREQFUNCTION, &OnConnected);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_HEADERFUNCTION, &OnHeader);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &OnBody);
  set(CURLOPT_WRITEDATA, this);
  if (refused != CURLE_OK) {
    return absl::InternalError(absl::StrCat("this libcurl (", curl_version(),
                                            ") is not fit: ", curl_easy_strerror(refused)));
  }
  return handle_;
}

int HttpTransfer::OnSocket(void* self, curl_socket_t, curlsocktype) {
  static_cast<HttpTransfer*>(self)->opened_ = true;
  return CURL_SOCKOPT_OK;
}

int HttpTransfer::OnConnected(void* self, char*, char*, int, int) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  ++transfer.attempts_;
  transfer.reused_ = !transfer.opened_;
  transfer.opened_ = false;
  transfer.sent_ = Clock::now();
  // curl itself sends a request again, up to five times, when a kept connection turns out to be
  // closed. The first of these shall be on a fresh connection, on which curl never does it.
  curl_easy_setopt(transfer.handle_, CURLOPT_FRESH_CONNECT, 1L);
  return CURL_PREREQFUNC_OK;
}

size_t HttpTransfer::OnHeader(char* data, size_t size, size_t count, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const size_t bytes = size * count;
  transfer.header_bytes_ += bytes;
  if (transfer.header_bytes_ > kMaxHeaderBytes) return 0;
  const absl::string_view line(data, bytes);
  if (line == "\r\n" || line == "\n") transfer.headers_end_ = transfer.Status() >= 200;
  return bytes;
}

size_t HttpTransfer::OnBody(char* data, size_t size, size_t count, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const size_t bytes = size * count;
  if (transfer.cancelled_) return 0;
  const bool success = IsSuccess(transfer.Status());
  if (success && transfer.streamed_) {
    if (transfer.paused_) return CURL_WRITEFUNC_PAUSE;
    transfer.last_piece_ = Clock::now();
    absl::MutexLock lock(&transfer.running_);
    if (transfer.cancelled_) return 0;
    transfer.in_callback_ = true;
    transfer.on_data_(absl::string_view(data, bytes));
    transfer.in_callback_ = false;
    return bytes;
  }
  transfer.last_piece_ = Clock::now();
  const size_t room = transfer.request_.max_body_bytes - transfer.body_.size();
  if (bytes > room) {
    transfer.too_large_ = true;
    if (!success) transfer.body_.append(data, room);
    return 0;
  }
  transfer.body_.append(data, bytes);
  return bytes;
}

void HttpTransfer::Resume() {
  if (paused_ || handle_ == nullptr) return;
  if (last_piece_.has_value()) {
    last_piece_ = Clock::now();
  } else if (sent_.has_value()) {
    sent_ = Clock::now();
  }
  curl_easy_pause(handle_, CURLPAUSE_CONT);
}

HttpTransfer::Clock::time_point HttpTransfer::NextDeadline() const {
  Clock::time_point next = After(begun_, request_.total.limit);
  if (paused_ && streamed_) return next;
  if (last_piece_.has_value()) {
    next = std::min(next, After(*last_piece_, request_.idle.limit));
  } else if (sent_.has_value()) {
    next = std::min(next, After(*sent_, request_.first_byte.limit));
  }
  return next;
}

absl::Status HttpTransfer::Late(Clock::time_point now) const {
  if (now < NextDeadline()) return absl::OkStatus();
  if (now >= After(begun_, request_.total.limit)) {
    return LateError(request_.total, "the end of the answer", What());
  }
  if (last_piece_.has_value()) {
    return LateError(request_.idle, "the next piece of the answer", What());
  }
  return LateError(request_.first_byte, headers_end_ ? "the body of the answer" : "the answer",
                   What());
}

bool HttpTransfer::PrepareAgain(CURLcode code) {
  // Mostly curl has done it by itself already, but not when sending failed.
  if (code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR && code != CURLE_GOT_NOTHING) {
    return false;
  }
  if (attempts_ != 1 || !reused_ || header_bytes_ != 0 || cancelled_) return false;
  sent_.reset();
  curl_error_[0] = '\0';
  return true;
}

absl::StatusOr<HttpResponse> HttpTransfer::Outcome(CURLcode code) {
  const bool success = IsSuccess(Status());
  const bool cut = code == CURLE_WRITE_ERROR && too_large_;
  if (cut && success) {
    return absl::ResourceExhaustedError(absl::StrCat("the answer to ", What(),
                                                     " has more than the ", request_.max_body_bytes,
                                                     " bytes that are taken"));
  }
  if (code != CURLE_OK && !cut) return ErrorOf(code);
  // curl takes the end of a connection for the end of the headers.
  if (!headers_end_) return ErrorOf(CURLE_PARTIAL_FILE);
  HttpResponse response;
  response.status = Status();
  const char* type = nullptr;
  if (curl_easy_getinfo(handle_, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != nullptr) {
    response.content_type = type;
  }
  curl_off_t retry_after = 0;
  if (curl_easy_getinfo(handle_, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK &&
      retry_after > 0) {
    response.retry_after = absl::Seconds(retry_after);
  }
  response.body = std::move(body_);
  return response;
}

void HttpTransfer::Done(absl::StatusOr<HttpResponse> response) {
  absl::MutexLock lock(&running_);
  // Destroyed before the lock is released, so that who destroys the Call finds nothing alive that
  // they captured.
  HttpClient::OnData on_data;
  HttpClient::OnDone on_done;
  on_data.swap(on_data_);
  on_done.swap(on_done_);
  if (cancelled_) return;
  in_callback_ = true;
  on_done(std::move(response));
  on_done = nullptr;
  on_data = nullptr;
  in_callback_ = false;
}

long HttpTransfer::Status() const {
  long status = 0;
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

std::string HttpTransfer::What() const {
  return absl::StrCat(request_.method, " ", url_, " (--", origin_->url_flag, ")");
}

std::string HttpTransfer::Server() const {
  return absl::StrCat(origin_->url, " (--", origin_->url_flag, ")");
}

absl::Status HttpTransfer::ErrorOf(CURLcode code) const {
  const std::string said =
      absl::StrCat(": ", curl_error_[0] != '\0' ? curl_error_ : curl_easy_strerror(code));
  const std::string tls_flags = absl::StrCat("--", origin_->tls_flag_prefix, "tls_");
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return absl::UnavailableError(
          absl::StrCat("cannot find the host of ", Server(), said, "; check the name"));
    case CURLE_COULDNT_CONNECT:
      return absl::UnavailableError(
          absl::StrCat("cannot connect to ", Server(), said, "; check that the server runs there"));
    case CURLE_OPERATION_TIMEDOUT:
      return absl::UnavailableError(absl::StrCat(
          "cannot connect to ", Server(), " within ",
          absl::FormatDuration(origin_->connect_timeout), " (--", origin_->url_flag,
          "_connect_timeout)", said,
          "; check that the server runs there and that both sides agree on http or https"));
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
      return absl::UnavailableError(absl::StrCat(
          "no TLS connection to ", Server(), said, "; check that the server speaks https and ",
          tls_flags, "ca, ", tls_flags, "cert, ", tls_flags, "key"));
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return absl::UnavailableError(absl::StrCat(
          Server(), " does not answer in HTTP/1.1", said,
          "; check that it is an HTTP server and that both sides agree on http or https"));
    default:
      break;
  }
  // For one endless line. Later versions of curl have a code for it, CURLE_TOO_LARGE.
  const bool endless_line = !headers_end_ && (code == CURLE_OUT_OF_MEMORY || code == 100);
  if (header_bytes_ > kMaxHeaderBytes || endless_line) {
    return absl::ResourceExhaustedError(absl::StrCat("the headers of the answer to ", What(),
                                                     " have more than the ", kMaxHeaderBytes,
                                                     " bytes that are taken"));
  }
  return absl::UnavailableError(
      absl::StrCat("the connection ended ",
                   header_bytes_ == 0 ? "without an answer to " : "in the middle of the answer to ",
                   What(), said, "; the server's log may tell the reason"));
}

}  // namespace unlearn
