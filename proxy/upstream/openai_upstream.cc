#include "proxy/upstream/openai_upstream.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/exchange_session.h"
#include "proxy/upstream/llama_cpp_dialect.h"
#include "proxy/upstream/sampling_probe.h"
#include "proxy/upstream/upstream_options.h"
#include "proxy/upstream/vllm_dialect.h"

namespace unlearn {
namespace {

// Up to so many ids a whole row is asked for with each token: 150 KB of JSON.
constexpr int32_t kWholeRows = 4096;
constexpr int32_t kMostTop = 1000;
// How long the server's own draws may be tried at the start.
constexpr absl::Duration kProbe = absl::Seconds(30);

// What is off in log-probs: the digits of the JSON, and the sum of an fp32 softmax. llama.cpp's
// probabilities were seen to sum to 1.0006 for a vocabulary of 262,144.
constexpr double kVllmError = 2e-6;
constexpr double kVllmNormaliserError = 2e-5;
constexpr double kLlamaCppError = 1e-5;
constexpr double kLlamaCppNormaliserError = 1e-3;

HttpRequest Get(const OpenaiConnection& connection, const std::string& path) {
  HttpRequest request;
  request.method = "GET";
  request.path = path;
  request.total.limit = connection.timeout;
  request.total.flag = "upstream_step_timeout";
  return request;
}

absl::Status Unfit(const OpenaiConnection& connection, absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("the upstream ", connection.url, " ", what));
}

// Which server answers there.
absl::Status FindDialect(OpenaiConnection& connection) {
  ASSIGN_OR_RETURN(const HttpResponse version, connection.http->Fetch(Get(connection, "/version")));
  if (version.status == 200) {
    connection.dialect = NewVllmDialect();
    return absl::OkStatus();
  }
  connection.dialect = NewLlamaCppDialect();
  ASSIGN_OR_RETURN(const HttpResponse props, connection.http->Fetch(Get(connection, "/props")));
  if (props.status == 200) return absl::OkStatus();
  if (props.status == 401 || props.status == 403 || props.status >= 500) {
    return NamedError(connection, connection.dialect->ReadError(props.status, props.body));
  }
  return Unfit(connection,
               absl::StrCat("is neither vLLM (GET /version: HTTP ", version.status,
                            ") nor llama.cpp's server (GET /props: HTTP ", props.status, ")"));
}

absl::StatusOr<CompletionModel> GetModel(const OpenaiConnection& connection) {
  ASSIGN_OR_RETURN(const HttpResponse response,
                   connection.http->Fetch(Get(connection, "/v1/models")));
  if (response.status != 200) {
    return NamedError(connection, connection.dialect->ReadError(response.status, response.body));
  }
  absl::StatusOr<CompletionModel> model = connection.dialect->ReadModels(response.body);
  if (!model.ok()) return NamedError(connection, model.status());
  return model;
}

// What vLLM tells only by refusing: its vocabulary and how many log-probs it allows.
absl::Status FindLimits(OpenaiConnection& connection, int32_t token, int32_t* allowed) {
  const auto refused = [&](int32_t top) -> absl::StatusOr<TopRefusal> {
    ASSIGN_OR_RETURN(const HttpResponse response,
                     connection.http->Fetch(LawRequest(connection, {token}, top, 0)));
    if (response.status != 200 && response.status != 400) {
      return NamedError(connection, connection.dialect->ReadError(response.status, response.body));
    }
    return ReadTopRefusal(response.body);
  };
  const auto is_size = [](int64_t size) {
    return size > 0 && size <= std::numeric_limits<int32_t>::max();
  };
  const absl::StatusOr<TopRefusal> most = refused(1000000000);
  if (!most.ok() || !is_size(most->allowed)) {
    if (!most.ok() && !absl::IsNotFound(most.status())) return most.status();
    return Unfit(connection,
                 "does not say how many log-probs it allows; is it vLLM 0.32 or newer?");
  }
  *allowed = static_cast<int32_t>(most->allowed);
  // -1 is the whole vocabulary: refused with its size, or allowed (and perhaps too long an answer
  // for us), and then the limit is that size.
  const absl::StatusOr<TopRefusal> whole = refused(-1);
  if (whole.ok() && is_size(whole->requested)) {
    connection.vocab_size = static_cast<int32_t>(whole->requested);
  } else if (absl::IsNotFound(whole.status()) || absl::IsResourceExhausted(whole.status())) {
    connection.vocab_size = *allowed;
  } else {
    return whole.ok() ? Unfit(connection, "does not tell its vocabulary") : whole.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<CompletionRow> GetLaw(const OpenaiConnection& connection,
                                     const std::vector<int32_t>& prompt, int32_t top,
                                     double temperature) {
  return ReadLaw(connection, static_cast<int64_t>(prompt.size()), top,
                 connection.http->Fetch(LawRequest(connection, prompt, top, temperature)));
}

// Log-probs at T = 1, whatever T the server draws at; else bounds of them would be wrong.
absl::Status CheckRaw(const OpenaiConnection& connection, int32_t token, int32_t allowed) {
  const int32_t top = std::min({allowed, connection.vocab_size, 20});
  if (top < 2) return absl::OkStatus();
  ASSIGN_OR_RETURN(const CompletionRow at_one, GetLaw(connection, {token, token}, top, 1.0));
  ASSIGN_OR_RETURN(const CompletionRow at_half, GetLaw(connection, {token, token}, top, 0.5));
  const auto spread = [](const CompletionRow& row) {
    return row.top.logprobs.front() - row.top.logprobs.back();
  };
  // At T = 0.5 differences of logits are twice as large; a server's noise moves them by far less.
  if (spread(at_half) > 1.5 * spread(at_one) && spread(at_one) > 1e-3) {
    return Unfit(connection,
                 "tells log-probs after the temperature, not M's own; start vLLM with "
                 "--logprobs-mode raw_logprobs");
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> ChooseTop(const OpenaiConnection& connection, int32_t wanted,
                                  int32_t allowed) {
  if (wanted > allowed) {
    return absl::InvalidArgumentError(
        absl::StrCat("--upstream_top: ", wanted, " log-probs with each token, but ", connection.url,
                     " allows ", allowed, "; start vLLM with a larger --max-logprobs"));
  }
  if (wanted > 0) return std::min(wanted, connection.vocab_size);
  if (connection.vocab_size <= std::min(allowed, kWholeRows)) return connection.vocab_size;
  return std::min({allowed, connection.vocab_size, kMostTop});
}

ExchangeOptions SessionOptions(const OpenaiConnection& connection, const UpstreamInfo& info) {
  ExchangeOptions options;
  options.vocab_size = info.vocab_size;
  options.max_context = info.max_context;
  options.last_row_only = true;
  options.tells_tops = info.top > 0;
  options.samples = info.samples;
  options.least_temperature = connection.dialect->least_temperature();
  return options;
}

// Whether the server draws from the law that it tells. What it does not, it may still tell.
void FindWhetherItSamples(const std::shared_ptr<const OpenaiConnection>& connection,
                          int32_t end_token, UpstreamInfo& info) {
  // A letter is followed by many things, an end by few.
  const std::vector<int32_t> prompt(
      2, connection->whole_character >= 0 ? connection->whole_character : end_token);
  info.samples = true;
  const absl::Status trusted = ProbeSampling(
      [&] {
        return NewExchangeSession(SessionOptions(*connection, info), NewOpenaiClient(connection));
      },
      prompt, kProbe);
  if (trusted.ok()) return;
  info.samples = false;
  info.samples_refused = std::string(trusted.message());
}

absl::StatusOr<std::vector<int32_t>> TokensOf(const OpenaiConnection& connection,
                                              absl::string_view text) {
  HttpRequest request;
  request.path = "/tokenize";
  request.body = connection.dialect->TokenizeBody(text, connection.model);
  request.total.limit = connection.timeout;
  request.total.flag = "upstream_step_timeout";
  ASSIGN_OR_RETURN(const HttpResponse response, connection.http->Fetch(std::move(request)));
  if (response.status == 404) {
    return absl::UnimplementedError(absl::StrCat(connection.url, " has no /tokenize"));
  }
  if (response.status != 200) {
    return NamedError(connection, connection.dialect->ReadError(response.status, response.body));
  }
  absl::StatusOr<std::vector<int32_t>> ids = connection.dialect->ReadTokens(response.body);
  if (!ids.ok()) return NamedError(connection, ids.status());
  return ids;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OpenaiUpstream>> OpenaiUpstream::Open(
    const std::string& url, const UpstreamOptions& options) {
  RETURN_IF_ERROR(RequireEosIds(options, "a completions server"));
  auto connection = std::make_shared<OpenaiConnection>();
  HttpClientOptions client;
  client.url = absl::StrContains(url, "://")
                   ? url
                   : absl::StrCat(options.tls_ca.empty() ? "http://" : "https://", url);
  client.tls = TlsOf(options);
  client.token_file = options.token_file;
  ASSIGN_OR_RETURN(client.connect_timeout, PositiveSeconds(options.connect_timeout_seconds,
                                                           "the upstream's connect timeout"));
  ASSIGN_OR_RETURN(connection->timeout,
                   PositiveSeconds(options.step_timeout_seconds, "the upstream's step timeout"));
  ASSIGN_OR_RETURN(
      connection->first_token_timeout,
      PositiveSeconds(options.first_token_timeout_seconds, "the upstream's first token timeout"));
  ASSIGN_OR_RETURN(connection->idle_timeout,
                   PositiveSeconds(options.idle_timeout_seconds, "the upstream's idle timeout"));
  connection->url = client.url;
  ASSIGN_OR_RETURN(connection->http, HttpClient::Create(client));
  RETURN_IF_ERROR(FindDialect(*connection));
  ASSIGN_OR_RETURN(const CompletionModel model, GetModel(*connection));
  connection->model = model.id;
  connection->vocab_size = model.vocab_size;
  const int32_t token = options.eos_token_ids.front();
  int32_t allowed = model.vocab_size;
  if (connection->vocab_size == 0) RETURN_IF_ERROR(FindLimits(*connection, token, &allowed));
  RETURN_IF_ERROR(CheckEosIds(options, connection->vocab_size));
  const absl::StatusOr<std::vector<int32_t>> letter = TokensOf(*connection, "a");
  if (letter.ok() && letter->size() == 1) connection->whole_character = letter->front();
  RETURN_IF_ERROR(CheckRaw(*connection, token, allowed));
  ASSIGN_OR_RETURN(connection->top, ChooseTop(*connection, options.top, allowed));
  connection->whole_rows = connection->top == connection->vocab_size;
  UpstreamInfo info;
  info.kind = "openai";
  info.model_id = model.id;
  info.vocab_size = connection->vocab_size;
  // The prompt leaves room for the one token that is asked for.
  info.max_context =
      model.max_context > 1 ? model.max_context - 1 : std::numeric_limits<int32_t>::max();
  if (options.max_context > 0) info.max_context = std::min(info.max_context, options.max_context);
  info.eos_token_ids = options.eos_token_ids;
  info.top = connection->whole_rows ? 0 : connection->top;
  info.most_top = allowed;
  const bool is_vllm = connection->dialect->name() == "vLLM";
  info.logprob_error = is_vllm ? kVllmError : kLlamaCppError;
  info.normaliser_error = is_vllm ? kVllmNormaliserError : kLlamaCppNormaliserError;
  FindWhetherItSamples(connection, token, info);
  // Other requests beside ours change how a batch is computed: 0.34 was seen among the likeliest
  // twenty tokens of a quantised model in llama.cpp.
  info.noise = options.noise < 0 ? 0.35 : options.noise;
  return std::unique_ptr<OpenaiUpstream>(
      new OpenaiUpstream(std::move(connection), std::move(info)));
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> OpenaiUpstream::NewSession() {
  return NewExchangeSession(SessionOptions(*connection_, info_), NewOpenaiClient(connection_));
}

absl::StatusOr<UpstreamInfo> OpenaiUpstream::Probe() {
  ASSIGN_OR_RETURN(const CompletionModel model, GetModel(*connection_));
  if (model.id != info_.model_id ||
      (model.vocab_size > 0 && model.vocab_size != info_.vocab_size)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upstream ", connection_->url, " serves another model now (", model.id,
                     ") than when it was opened (", info_.model_id,
                     "); start that model again, or restart this process to use the new one"));
  }
  return info_;
}

absl::StatusOr<std::vector<int32_t>> OpenaiUpstream::Tokenize(absl::string_view text) {
  return TokensOf(*connection_, text);
}

}  // namespace unlearn
