#include "proxy/upstream/vllm_dialect.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/answer_json.h"

namespace unlearn {
namespace {

using nlohmann::json;

// vLLM writes minus infinity as -9999.
constexpr double kNothing = -9998;

class VllmDialect : public CompletionDialect {
 public:
  absl::string_view name() const override { return "vLLM"; }
  absl::string_view path() const override { return "/v1/completions"; }

  std::string Body(const Query& query) const override {
    json body = Neutral(query.prompt, query.top, query.temperature, query.model);
    body["max_tokens"] = 1;
    body["stream"] = false;
    if (!query.cache_group.empty()) body["cache_salt"] = query.cache_group;
    return body.dump();
  }

  absl::StatusOr<CompletionRow> ReadRow(absl::string_view body, int32_t top) const override {
    ASSIGN_OR_RETURN(const json answer, ParseAnswer(name(), body));
    const json* const choices = FindInAnswer(answer, {"choices"});
    if (choices == nullptr || !choices->is_array() || choices->size() != 1) {
      return MalformedAnswer(name(), "not one choice");
    }
    ASSIGN_OR_RETURN(std::vector<SampledRow> rows, ReadRows(choices->front(), top));
    if (rows.size() != 1) return MalformedAnswer(name(), "no log-probs of one token");
    CompletionRow row;
    row.sampled = rows[0].id;
    row.sampled_logprob = rows[0].logprob;
    row.top = std::move(rows[0].top);
    row.prompt_tokens = ReadSize(FindInAnswer(answer, {"usage", "prompt_tokens"}));
    return row;
  }

  // vLLM takes a lower one for this one.
  double least_temperature() const override { return 0.01; }
  bool streams_draws() const override { return true; }

  std::string DrawBody(const Draw& draw) const override {
    json body = Neutral(draw.prompt, draw.top, draw.temperature, draw.model);
    body["max_tokens"] = draw.max_tokens;
    body["seed"] = draw.seed;
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}, {"continuous_usage_stats", true}};
    return body.dump();
  }

  absl::StatusOr<DrawnTokens> ReadDrawn(absl::string_view text, const Draw& draw) const override {
    ASSIGN_OR_RETURN(const json event, ParseAnswer(name(), text));
    if (event.contains("error")) {
      const int32_t code = ReadSize(FindInAnswer(event, {"error", "code"}));
      return ReadError(code == 0 ? 500 : code, text);
    }
    DrawnTokens drawn;
    drawn.prompt_tokens = ReadSize(FindInAnswer(event, {"usage", "prompt_tokens"}));
    drawn.drawn_tokens = ReadSize(FindInAnswer(event, {"usage", "completion_tokens"}));
    const json* const choices = FindInAnswer(event, {"choices"});
    if (choices == nullptr || !choices->is_array() || choices->size() > 1) {
      return MalformedAnswer(name(), "more than one choice, or none");
    }
    if (choices->empty()) return drawn;  // an event that only counts
    const json& choice = choices->front();
    if (const json* const reason = FindInAnswer(choice, {"finish_reason"});
        reason != nullptr && !reason->is_null()) {
      if (*reason != "stop" && *reason != "length") {
        return absl::UnavailableError("the server broke its stream off");
      }
      drawn.ended = true;
    }
    const json* const logprobs = FindInAnswer(choice, {"logprobs"});
    const bool none = logprobs == nullptr || logprobs->is_null();
    if (none && drawn.ended) return drawn;
    ASSIGN_OR_RETURN(drawn.rows, ReadRows(choice, draw.top));
    for (const SampledRow& row : drawn.rows) {
      if (row.logprob <= kNothing) return MalformedAnswer(name(), "a token of probability 0");
    }
    return drawn;
  }

  absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const override {
    ASSIGN_OR_RETURN(const json first, ReadFirstModel(name(), body));
    CompletionModel model;
    const json* const id = FindInAnswer(first, {"id"});
    if (id == nullptr || !id->is_string()) return MalformedAnswer(name(), "a model without an id");
    model.id = id->get<std::string>();
    model.max_context = ReadSize(FindInAnswer(first, {"max_model_len"}));
    return model;
  }

  std::string TokenizeBody(absl::string_view text, const std::string& model) const override {
    return json{{"model", model}, {"prompt", std::string(text)}, {"add_special_tokens", false}}
        .dump();
  }

 private:
  // Nothing but the temperature stands between the law and the draw, and no token ends the text.
  static json Neutral(absl::Span<const int32_t> prompt, int32_t top, double temperature,
                      const std::string& model) {
    return {
        {"model", model},
        {"prompt", std::vector<int32_t>(prompt.begin(), prompt.end())},
        {"logprobs", top},
        {"return_tokens_as_token_ids", true},
        {"temperature", temperature},
        {"top_p", 1},
        {"top_k", 0},
        {"min_p", 0},
        {"presence_penalty", 0},
        {"frequency_penalty", 0},
        {"repetition_penalty", 1},
        {"n", 1},
        {"echo", false},
        {"stop", json::array()},
        {"min_tokens", 0},
        {"ignore_eos", true},
        {"add_special_tokens", false},
        {"skip_special_tokens", false},
    };
  }

  // The tokens of a choice, each with `top` log-probs or fewer.
  absl::StatusOr<std::vector<SampledRow>> ReadRows(const json& choice, int32_t top) const {
    const json* const tokens = FindInAnswer(choice, {"logprobs", "tokens"});
    const json* const logprobs = FindInAnswer(choice, {"logprobs", "token_logprobs"});
    const json* const tops = FindInAnswer(choice, {"logprobs", "top_logprobs"});
    for (const json* const list : {tokens, logprobs, tops}) {
      if (list == nullptr || !list->is_array() || list->size() != tokens->size()) {
        return MalformedAnswer(name(), "no log-probs of each token");
      }
    }
    std::vector<SampledRow> rows;
    for (size_t i = 0; i < tokens->size(); ++i) {
      ASSIGN_OR_RETURN(rows.emplace_back(),
                       ReadRowOf((*tokens)[i], (*logprobs)[i], (*tops)[i], top));
    }
    return rows;
  }

  absl::StatusOr<SampledRow> ReadRowOf(const json& token, const json& logprob, const json& tops,
                                       int32_t top) const {
    SampledRow row;
    if (!token.is_string()) return MalformedAnswer(name(), "a token without its id");
    ASSIGN_OR_RETURN(row.id, IdOf(token.get_ref<const std::string&>()));
    ASSIGN_OR_RETURN(row.logprob, ReadLogprob(name(), &logprob));
    if (!tops.is_object()) return MalformedAnswer(name(), "no top_logprobs");
    // Outside the top the sampled token is an entry more.
    const bool surplus = tops.size() > static_cast<size_t>(top);
    for (const auto& [key, value] : tops.items()) {
      ASSIGN_OR_RETURN(const int32_t id, IdOf(key));
      ASSIGN_OR_RETURN(const double known, ReadLogprob(name(), &value));
      if (known <= kNothing || (surplus && id == row.id)) continue;
      row.top.ids.push_back(id);
      row.top.logprobs.push_back(known);
    }
    if (row.top.ids.size() > static_cast<size_t>(top)) {
      return MalformedAnswer(
          name(), absl::StrCat(row.top.ids.size(), " log-probs where ", top, " were asked for"));
    }
    SortByLogprob(row.top);
    return row;
  }

  // "token_id:667".
  absl::StatusOr<int32_t> IdOf(absl::string_view text) const {
    int32_t id;
    if (!absl::ConsumePrefix(&text, "token_id:") || !absl::SimpleAtoi(text, &id) || id < 0) {
      return MalformedAnswer(name(), "tokens are not told by their ids");
    }
    return id;
  }
};

}  // namespace

std::unique_ptr<CompletionDialect> NewVllmDialect() { return std::make_unique<VllmDialect>(); }

absl::StatusOr<TopRefusal> ReadTopRefusal(absl::string_view body) {
  const absl::StatusOr<json> parsed = ParseJson(body);
  const json* const message = parsed.ok() ? FindInAnswer(*parsed, {"error", "message"}) : nullptr;
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
