#ifndef PROXY_UPSTREAM_OPENAI_UPSTREAM_H_
#define PROXY_UPSTREAM_OPENAI_UPSTREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/upstream/openai_client.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// M behind an HTTP completions server that takes token ids and tells log-probs: vLLM, llama.cpp.
// Each token is one request for the law after the whole prefix; the server's own draw is not used.
// Where the server tells the whole vocabulary, its log-probs are M's logits (up to the shift that
// softmax ignores); else info().top > 0 and steps give TopRows. What the server cannot tell (where
// texts end) comes from the options.
class OpenaiUpstream : public Upstream {
 public:
  // `url` is http://HOST:PORT, https://HOST:PORT or HOST:PORT. Finds out which server it is, what
  // it allows, and whether the law that it tells is M's own: raw log-probs, no BOS put in front.
  // FAILED_PRECONDITION says what to change there.
  static absl::StatusOr<std::unique_ptr<OpenaiUpstream>> Open(const std::string& url,
                                                              const UpstreamOptions& options);

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  // Whether the same model is served.
  absl::StatusOr<UpstreamInfo> Probe() override;
  int64_t connections() const override { return connection_->http->connections(); }
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text) override;

 private:
  OpenaiUpstream(std::shared_ptr<const OpenaiConnection> connection, UpstreamInfo info)
      : connection_(std::move(connection)), info_(std::move(info)) {}

  const std::shared_ptr<const OpenaiConnection> connection_;
  const UpstreamInfo info_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_OPENAI_UPSTREAM_H_
