#include "proxy/upstream/completion_dialect.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

using nlohmann::json;

// vLLM writes minus infinity as -9999.
constexpr double kNothing = -9998;

absl::Status Malformed(absl::string_view dialect, absl::string_view what) {
  return absl::InternalError(absl::StrCat("the answer is not one of ", dialect, "'s: ", what));
}

absl::StatusOr<json> ParseObject(absl::string_view dialect, absl::string_view body) {
  absl::StatusOr<json> parsed = ParseJson(body);
  // The parser's message may quote the body.
  if (!parsed.ok() || !parsed->is_object()) return Malformed(dialect, "no JSON object");
  return parsed;
}

// The value at `path`, or null.
const json* Find(const json& object, std::initializer_list<const char*> path) {
  const json* at = &object;
  for (const char* const name : path) {
    if (!at->is_object()) return nullptr;
    const auto it = at->find(name);
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at;
}

absl::StatusOr<int32_t> ReadId(absl::string_view dialect, const json* value) {
  if (value != nullptr && value->is_number_integer()) {
    const int64_t id = value->get<int64_t>();
    if (id >= 0 && id <= std::numeric_limits<int32_t>::max()) return static_cast<int32_t>(id);
  }
  return Malformed(dialect, "a token without its id");
}

absl::StatusOr<double> ReadLogprob(absl::string_view dialect, const json* value) {
  if (value != nullptr && value->is_number() && std::isfinite(value->get<double>())) {
    return value->get<double>();
  }
  return Malformed(dialect, "a token without its log-prob");
}

void Sort(TopRow& row) {
  std::vector<size_t> order(row.ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return row.logprobs[a] != row.logprobs[b] ? row.logprobs[a] > row.logprobs[b]
                                              : row.ids[a] < row.ids[b];
  });
  TopRow sorted;
  for (const size_t i : order) {
    sorted.ids.push_back(row.ids[i]);
    sorted.logprobs.push_back(row.logprobs[i]);
  }
  row = std::move(sorted);
}

int32_t ReadSize(const json* value) {
  if (value == nullptr || !value->is_number_integer()) return 0;
  const int64_t size = value->get<int64_t>();
  return size > 0 && size <= std::numeric_limits<int32_t>::max() ? static_cast<int32_t>(size) : 0;
}

// Of the list that GET /v1/models answers with.
absl::StatusOr<json> FirstModel(absl::string_view dialect, absl::string_view body) {
  ASSIGN_OR_RETURN(const json answer, ParseObject(dialect, body));
  const json* const data = Find(answer, {"data"});
  if (data == nullptr || !data->is_array() || data->empty()) {
    return Malformed(dialect, "no models");
  }
  return data->front();
}

class VllmDialect : public CompletionDialect {
 public:
  absl::string_view name() const override { return "vLLM"; }
  absl::string_view path() const override { return "/v1/completions"; }

  std::string Body(const Query& query) const override {
    json body = {
        {"model", query.model},
        {"prompt", std::vector<int32_t>(query.prompt.begin(), query.prompt.end())},
        {"max_tokens", 1},
        {"logprobs", query.top},
        {"return_tokens_as_token_ids", true},
        {"temperature", query.temperature},
        {"top_p", 1},
        {"top_k", 0},
        {"min_p", 0},
        {"presence_penalty", 0},
        {"frequency_penalty", 0},
        {"repetition_penalty", 1},
        {"n", 1},
        {"echo", false},
        {"stream", false},
        {"ignore_eos", true},
        {"add_special_tokens", false},
        {"skip_special_tokens", false},
    };
    if (!query.cache_group.empty()) body["cache_salt"] = query.cache_group;
    return body.dump();
  }

  absl::StatusOr<CompletionRow> ReadRow(absl::string_view body, int32_t top) const override {
    ASSIGN_OR_RETURN(const json answer, ParseObject(name(), body));
    const json* const choices = Find(answer, {"choices"});
    if (choices == nullptr || !choices->is_array() || choices->size() != 1) {
      return Malformed(name(), "not one choice");
    }
    const json* const tokens = Find(choices->front(), {"logprobs", "tokens"});
    const json* const logprobs = Find(choices->front(), {"logprobs", "token_logprobs"});
    const json* const tops = Find(choices->front(), {"logprobs", "top_logprobs"});
    for (const json* const list : {tokens, logprobs, tops}) {
      if (list == nullptr || !list->is_array() || list->size() != 1) {
        return Malformed(name(), "no log-probs of one token");
      }
    }
    CompletionRow row;
    if (!tokens->front().is_string()) return Malformed(name(), "a token without its id");
    ASSIGN_OR_RETURN(row.sampled, IdOf(tokens->front().get_ref<const std::string&>()));
    ASSIGN_OR_RETURN(row.sampled_logprob, ReadLogprob(name(), &logprobs->front()));
    if (!tops->front().is_object()) return Malformed(name(), "no top_logprobs");
    // Outside the top the sampled token is an entry more.
    const bool surplus = tops->front().size() > static_cast<size_t>(top);
    for (const auto& [key, value] : tops->front().items()) {
      ASSIGN_OR_RETURN(const int32_t id, IdOf(key));
      ASSIGN_OR_RETURN(const double logprob, ReadLogprob(name(), &value));
      if (logprob <= kNothing || (surplus && id == row.sampled)) continue;
      row.top.ids.push_back(id);
      row.top.logprobs.push_back(logprob);
    }
    if (row.top.ids.size() > static_cast<size_t>(top)) {
      return Malformed(
          name(), absl::StrCat(row.top.ids.size(), " log-probs where ", top, " were asked for"));
    }
    row.prompt_tokens = ReadSize(Find(answer, {"usage", "prompt_tokens"}));
    Sort(row.top);
    return row;
  }

  absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const override {
    ASSIGN_OR_RETURN(const json first, FirstModel(name(), body));
    CompletionModel model;
    const json* const id = Find(first, {"id"});
    if (id == nullptr || !id->is_string()) return Malformed(name(), "a model without an id");
    model.id = id->get<std::string>();
    model.max_context = ReadSize(Find(first, {"max_model_len"}));
    return model;
  }

  std::string TokenizeBody(absl::string_view text, const std::string& model) const override {
    return json{{"model", model}, {"prompt", std::string(text)}, {"add_special_tokens", false}}
        .dump();
  }

 private:
  // "token_id:667".
  absl::StatusOr<int32_t> IdOf(absl::string_view text) const {
    int32_t id;
    if (!absl::ConsumePrefix(&text, "token_id:") || !absl::SimpleAtoi(text, &id) || id < 0) {
      return Malformed(name(), "tokens are not told by their ids");
    }
    return id;
  }
};

class LlamaCppDialect : public CompletionDialect {
 public:
  absl::string_view name() const override { return "llama.cpp"; }
  absl::string_view path() const override { return "/completion"; }

  std::string Body(const Query& query) const override {
    json body = {
        {"prompt", std::vector<int32_t>(query.prompt.begin(), query.prompt.end())},
        {"n_predict", 1},
        {"n_probs", query.top},
        {"post_sampling_probs", false},
        {"temperature", query.temperature},
        // Nothing but the temperature stands between the law and the draw.
        {"samplers", {"temperature"}},
        {"repeat_penalty", 1},
        {"presence_penalty", 0},
        {"frequency_penalty", 0},
        {"stream", false},
        {"ignore_eos", false},
        {"cache_prompt", true},
        {"response_fields", {"tokens_evaluated", "completion_probabilities"}},
    };
    // Where the text ends within a character the server tells no law. It is told from before this
    // bias.
    if (query.whole_character >= 0) {
      body["logit_bias"] = json::array({json::array({query.whole_character, 1000})});
    }
    return body.dump();
  }

  absl::StatusOr<CompletionRow> ReadRow(absl::string_view body, int32_t top) const override {
    ASSIGN_OR_RETURN(const json answer, ParseObject(name(), body));
    const json* const tokens = Find(answer, {"completion_probabilities"});
    if (tokens == nullptr || !tokens->is_array() || tokens->size() != 1) {
      return Malformed(name(), "no log-probs of one token");
    }
    CompletionRow row;
    ASSIGN_OR_RETURN(row.sampled, ReadId(name(), Find(tokens->front(), {"id"})));
    ASSIGN_OR_RETURN(row.sampled_logprob, ReadLogprob(name(), Find(tokens->front(), {"logprob"})));
    const json* const tops = Find(tokens->front(), {"top_logprobs"});
    if (tops == nullptr || !tops->is_array() || tops->size() > static_cast<size_t>(top)) {
      return Malformed(name(), "no top_logprobs, or more than were asked for");
    }
    for (const json& entry : *tops) {
      ASSIGN_OR_RETURN(const int32_t id, ReadId(name(), Find(entry, {"id"})));
      ASSIGN_OR_RETURN(const double logprob, ReadLogprob(name(), Find(entry, {"logprob"})));
      row.top.ids.push_back(id);
      row.top.logprobs.push_back(logprob);
    }
    row.prompt_tokens = ReadSize(Find(answer, {"tokens_evaluated"}));
    Sort(row.top);
    return row;
  }

  absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const override {
    ASSIGN_OR_RETURN(const json first, FirstModel(name(), body));
    CompletionModel model;
    const json* const id = Find(first, {"id"});
    if (id != nullptr && id->is_string()) model.id = id->get<std::string>();
    model.vocab_size = ReadSize(Find(first, {"meta", "n_vocab"}));
    model.max_context = ReadSize(Find(first, {"meta", "n_ctx"}));
    return model;
  }

  std::string TokenizeBody(absl::string_view text, const std::string&) const override {
    return json{{"content", std::string(text)}, {"add_special", false}, {"parse_special", true}}
        .dump();
  }
};

}  // namespace

absl::StatusOr<std::vector<int32_t>> CompletionDialect::ReadTokens(absl::string_view body) const {
  ASSIGN_OR_RETURN(const json answer, ParseObject(name(), body));
  const json* const tokens = Find(answer, {"tokens"});
  if (tokens == nullptr || !tokens->is_array()) return Malformed(name(), "no tokens");
  std::vector<int32_t> ids;
  for (const json& token : *tokens) {
    ASSIGN_OR_RETURN(const int32_t id, ReadId(name(), &token));
    ids.push_back(id);
  }
  return ids;
}

absl::Status CompletionDialect::ReadError(int http_status, absl::string_view body) const {
  std::string what = absl::StrCat("HTTP ", http_status);
  const absl::StatusOr<json> parsed = ParseJson(body);
  const json* const type = parsed.ok() ? Find(*parsed, {"error", "type"}) : nullptr;
  if (type != nullptr && type->is_string() && type->get_ref<const std::string&>().size() < 60) {
    absl::StrAppend(&what, " (", type->get_ref<const std::string&>(), ")");
  }
  switch (http_status) {
    case 400:
    case 413:
    case 422:
      return absl::InvalidArgumentError(what);
    case 401:
      return absl::UnauthenticatedError(absl::StrCat(what, " (see --upstream_token_file)"));
    case 403:
      return absl::PermissionDeniedError(absl::StrCat(what, " (see --upstream_token_file)"));
    case 404:
    case 405:
      return absl::FailedPreconditionError(
          absl::StrCat(what, ": the server knows no such path or model"));
    case 408:
    case 504:
      return absl::DeadlineExceededError(what);
    case 429:
      return absl::ResourceExhaustedError(absl::StrCat(what, ": too many requests"));
    default:
      return absl::UnavailableError(what);
  }
}

std::unique_ptr<CompletionDialect> NewVllmDialect() { return std::make_unique<VllmDialect>(); }
std::unique_ptr<CompletionDialect> NewLlamaCppDialect() {
  return std::make_unique<LlamaCppDialect>();
}

absl::StatusOr<TopRefusal> ReadTopRefusal(absl::string_view body) {
  const absl::StatusOr<json> parsed = ParseJson(body);
  const json* const message = parsed.ok() ? Find(*parsed, {"error", "message"}) : nullptr;
  if (message != nullptr && message->is_string()) {
    absl::string_view text = message->get_ref<const std::string&>();
    const auto number_after = [&](absl::string_view words, int64_t* number) {
      const size_t at = text.find(words);
      if (at == absl::string_view::npos) return false;
      text.remove_prefix(at + words.size());
      const size_t end = text.find_first_not_of("0123456789");
      return absl::SimpleAtoi(text.substr(0, end), number);
    };
    TopRefusal refusal;
    if (number_after("logprobs of ", &refusal.requested) &&
        number_after("max allowed: ", &refusal.allowed)) {
      return refusal;
    }
  }
  return absl::NotFoundError("another error than too many log-probs");
}

}  // namespace unlearn
