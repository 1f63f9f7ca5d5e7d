#include "proxy/transport/http_client.h"

#include <curl/curl.h>

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "proxy/transport/http_loop.h"
#include "proxy/transport/http_transfer.h"
#include "proxy/transport/token_file.h"

namespace unlearn {
namespace {

struct ParsedUrl {
  std::string url;  // without a slash at the end
  std::string host_and_port;
  bool tls = false;
};

absl::StatusOr<ParsedUrl> ParseUrl(const HttpClientOptions& options) {
  const auto error = [&options](absl::string_view why) {
    // Not the URL itself: somebody may have put a password into it.
    return absl::InvalidArgumentError(absl::StrCat(
        "--", options.url_flag, ": ", why, "; expected http://HOST:PORT or https://HOST:PORT"));
  };
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parser(curl_url(), &curl_url_cleanup);
  if (parser == nullptr) return absl::ResourceExhaustedError("no memory for a URL");
  if (!absl::StartsWith(options.url, "http://") && !absl::StartsWith(options.url, "https://")) {
    return error("the address begins neither with http:// nor with https://");
  }
  if (const CURLUcode code = curl_url_set(parser.get(), CURLUPART_URL, options.url.c_str(), 0);
      code != CURLUE_OK) {
    return error(absl::StrCat("not a URL (", curl_url_strerror(code), ")"));
  }
  const auto part = [&parser](CURLUPart which, unsigned flags = 0) {
    char* text = nullptr;
    if (curl_url_get(parser.get(), which, &text, flags) != CURLUE_OK) return std::string();
    std::string copy = text;
    curl_free(text);
    return copy;
  };
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) {
    return error("a URL must not hold a user or password; use --token_file");
  }
  if (!part(CURLUPART_QUERY).empty() || !part(CURLUPART_FRAGMENT).empty()) {
    return error("the URL must end with the path");
  }
  ParsedUrl parsed;
  parsed.url = part(CURLUPART_URL);
  while (absl::EndsWith(parsed.url, "/")) parsed.url.pop_back();
  parsed.host_and_port =
      absl::StrCat(part(CURLUPART_HOST), ":", part(CURLUPART_PORT, CURLU_DEFAULT_PORT));
  parsed.tls = part(CURLUPART_SCHEME) == "https";
  return parsed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(const HttpClientOptions& options) {
  ASSIGN_OR_RETURN(const ParsedUrl parsed, ParseUrl(options));
  if (options.connect_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("--", options.url_flag,
                                                   "_connect_timeout must be more than 0, not ",
                                                   absl::FormatDuration(options.connect_timeout)));
  }
  auto origin = std::make_shared<HttpOrigin>();
  ASSIGN_OR_RETURN(origin->tls, ReadTlsFiles(options.tls));
  if (!parsed.tls && (!origin->tls.ca.empty() || !origin->tls.cert.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", options.tls.flag_prefix, "tls_", origin->tls.ca.empty() ? "cert" : "ca",
                     " is given, but --", options.url_flag, " ", parsed.url, " is not https://"));
  }
  if (!options.token_file.empty()) {
    ASSIGN_OR_RETURN(const std::string token, ReadClientToken(options.token_file));
    if (!parsed.tls && !IsLocalAddress(parsed.host_and_port)) {
      LogWarning("the token of ", options.token_file, " goes to ", parsed.url,
                 " in plain text; consider https://");
    }
    origin->authorization = absl::StrCat("Authorization: Bearer ", token);
  }
  origin->url = parsed.url;
  origin->url_flag = options.url_flag;
  origin->tls_flag_prefix = options.tls.flag_prefix;
  origin->connect_timeout = options.connect_timeout;
  ASSIGN_OR_RETURN(std::shared_ptr<HttpLoop> loop, HttpLoop::Create(std::move(origin)));
  return std::unique_ptr<HttpClient>(new HttpClient(parsed.url, std::move(loop)));
}

HttpClient::HttpClient(std::string url, std::shared_ptr<HttpLoop> loop)
    : url_(std::move(url)), loop_(std::move(loop)) {}

int64_t HttpClient::connections() const { return loop_->connections(); }

HttpClient::~HttpClient() { loop_->Stop(); }

std::unique_ptr<HttpClient::Call> HttpClient::Start(HttpRequest request, OnData on_data,
                                                    OnDone on_done) {
  auto transfer = std::make_shared<HttpTransfer>(loop_->origin(), std::move(request),
                                                 std::move(on_data), std::move(on_done));
  std::unique_ptr<Call> call(new Call(loop_, transfer));
  loop_->Start(std::move(transfer));
  return call;
}

absl::StatusOr<HttpResponse> HttpClient::Fetch(HttpRequest request) {
  if (loop_->OnThread()) {
    return absl::FailedPreconditionError("Fetch would wait for the thread that it runs on");
  }
  absl::StatusOr<HttpResponse> result;
  absl::Notification done;
  const auto call = Start(std::move(request), nullptr, [&](absl::StatusOr<HttpResponse> response) {
    result = std::move(response);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

HttpClient::Call::Call(std::shared_ptr<HttpLoop> loop, std::shared_ptr<HttpTransfer> transfer)
    : loop_(std::move(loop)), transfer_(std::move(transfer)) {}

HttpClient::Call::~Call() {
  if (transfer_->Cancel(loop_->OnThread())) loop_->Look(transfer_);
}

void HttpClient::Call::Pause() { transfer_->SetPaused(true); }

void HttpClient::Call::Resume() {
  if (transfer_->SetPaused(false)) loop_->Look(transfer_);
}

}  // namespace unlearn
