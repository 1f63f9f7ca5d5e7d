#include "proxy/upstream/llama_cpp_dialect.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/status_macros.h"
#include "proxy/upstream/answer_json.h"

namespace unlearn {
namespace {

using nlohmann::json;

class LlamaCppDialect : public CompletionDialect {
 public:
  absl::string_view name() const override { return "llama.cpp"; }
  absl::string_view path() const override { return "/completion"; }

  std::string Body(const Query& query) const override {
    json body = Neutral(query.prompt, query.top, query.temperature);
    body["n_predict"] = 1;
    body["response_fields"] = {"tokens_evaluated", "completion_probabilities"};
    // Where the text ends within a character the server tells no law. It is told from before this
    // bias.
    if (query.whole_character >= 0) {
      body["logit_bias"] = json::array({json::array({query.whole_character, 1000})});
    }
    return body.dump();
  }

  absl::StatusOr<CompletionRow> ReadRow(absl::string_view body, int32_t top) const override {
    ASSIGN_OR_RETURN(const json answer, ParseAnswer(name(), body));
    const json* const entries = FindInAnswer(answer, {"completion_probabilities"});
    if (entries == nullptr || !entries->is_array() || entries->size() != 1) {
      return MalformedAnswer(name(), "no log-probs of one token");
    }
    ASSIGN_OR_RETURN(SampledRow sampled, ReadEntry(entries->front(), top));
    CompletionRow row;
    row.sampled = sampled.id;
    row.sampled_logprob = sampled.logprob;
    row.top = std::move(sampled.top);
    row.prompt_tokens = ReadSize(FindInAnswer(answer, {"tokens_evaluated"}));
    return row;
  }

  double least_temperature() const override { return 0; }
  // Its stream leaves out tokens that end within a character of the text, so that what it tells
  // would not be what was drawn. An answer at once has the ids of all.
  bool streams_draws() const override { return false; }

  std::string DrawBody(const Draw& draw) const override {
    json body = Neutral(draw.prompt, draw.top, draw.temperature);
    body["n_predict"] = draw.max_tokens;
    body["seed"] = draw.seed;
    body["return_tokens"] = true;
    body["response_fields"] = {"tokens", "completion_probabilities", "tokens_evaluated",
                               "tokens_predicted", "stop_type"};
    return body.dump();
  }

  absl::StatusOr<DrawnTokens> ReadDrawn(absl::string_view text, const Draw& draw) const override {
    ASSIGN_OR_RETURN(const json answer, ParseAnswer(name(), text));
    const json* const tokens = FindInAnswer(answer, {"tokens"});
    if (tokens == nullptr || !tokens->is_array() || tokens->empty()) {
      return MalformedAnswer(name(), "no tokens");
    }
    DrawnTokens drawn;
    for (const json& token : *tokens) {
      ASSIGN_OR_RETURN(drawn.rows.emplace_back().id, ReadTokenId(name(), &token));
    }
    drawn.prompt_tokens = ReadSize(FindInAnswer(answer, {"tokens_evaluated"}));
    drawn.drawn_tokens = ReadSize(FindInAnswer(answer, {"tokens_predicted"}));
    const json* const stop = FindInAnswer(answer, {"stop_type"});
    if (stop == nullptr || (*stop != "limit" && *stop != "eos")) {
      return MalformedAnswer(name(), "the text ended neither at its limit nor with an end token");
    }
    drawn.ended = *stop == "eos" || tokens->size() < static_cast<size_t>(draw.max_tokens);
    std::vector<SampledRow> told;
    // Missing where no token has one.
    if (const json* const entries = FindInAnswer(answer, {"completion_probabilities"})) {
      if (!entries->is_array()) return MalformedAnswer(name(), "no completion_probabilities");
      for (const json& entry : *entries) {
        ASSIGN_OR_RETURN(told.emplace_back(), ReadEntry(entry, draw.top));
      }
    }
    RETURN_IF_ERROR(GiveRows(std::move(told), drawn.rows));
    return drawn;
  }

  absl::StatusOr<CompletionModel> ReadModels(absl::string_view body) const override {
    ASSIGN_OR_RETURN(const json first, ReadFirstModel(name(), body));
    CompletionModel model;
    const json* const id = FindInAnswer(first, {"id"});
    if (id != nullptr && id->is_string()) model.id = id->get<std::string>();
    model.vocab_size = ReadSize(FindInAnswer(first, {"meta", "n_vocab"}));
    model.max_context = ReadSize(FindInAnswer(first, {"meta", "n_ctx"}));
    return model;
  }

  std::string TokenizeBody(absl::string_view text, const std::string&) const override {
    return json{{"content", std::string(text)}, {"add_special", false}, {"parse_special", true}}
        .dump();
  }

 private:
  // Nothing but the temperature stands between the law and the draw, whatever the server's
  // defaults.
  static json Neutral(absl::Span<const int32_t> prompt, int32_t top, double temperature) {
    return {
        {"prompt", std::vector<int32_t>(prompt.begin(), prompt.end())},
        {"n_probs", top},
        {"post_sampling_probs", false},
        {"temperature", temperature},
        {"dynatemp_range", 0},
        {"mirostat", 0},
        {"samplers", {"temperature"}},
        {"repeat_penalty", 1},
        {"presence_penalty", 0},
        {"frequency_penalty", 0},
        {"logit_bias", json::array()},
        {"stop", json::array()},
        {"stream", false},
        {"ignore_eos", false},
        {"cache_prompt", true},
    };
  }

  // What a token's law was: the list has what is most likely, the token stands beside it.
  absl::StatusOr<SampledRow> ReadEntry(const json& entry, int32_t top) const {
    SampledRow row;
    ASSIGN_OR_RETURN(row.id, ReadTokenId(name(), FindInAnswer(entry, {"id"})));
    ASSIGN_OR_RETURN(row.logprob, ReadLogprob(name(), FindInAnswer(entry, {"logprob"})));
    const json* const tops = FindInAnswer(entry, {"top_logprobs"});
    if (tops == nullptr || !tops->is_array() || tops->size() > static_cast<size_t>(top)) {
      return MalformedAnswer(name(), "no top_logprobs, or more than were asked for");
    }
    for (const json& known : *tops) {
      ASSIGN_OR_RETURN(const int32_t id, ReadTokenId(name(), FindInAnswer(known, {"id"})));
      ASSIGN_OR_RETURN(const double logprob, ReadLogprob(name(), FindInAnswer(known, {"logprob"})));
      row.top.ids.push_back(id);
      row.top.logprobs.push_back(logprob);
    }
    SortByLogprob(row.top);
    return row;
  }

  // The server has no entry for a token after which the text ends within a character, and does not
  // say which these are. Entries come in order, so an entry is a token's where the first and the
  // last way to fit all entries in agree; a token between them keeps an empty row.
  absl::Status GiveRows(std::vector<SampledRow> entries, std::vector<SampledRow>& tokens) const {
    std::vector<size_t> first(entries.size());
    size_t at = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      while (at < tokens.size() && tokens[at].id != entries[i].id) ++at;
      if (at == tokens.size()) return MalformedAnswer(name(), "log-probs of other tokens");
      first[i] = at++;
    }
    at = tokens.size();
    for (size_t i = entries.size(); i-- > 0;) {
      do --at;
      while (tokens[at].id != entries[i].id);  // it is there: there is a first way
      if (at == first[i]) tokens[at] = std::move(entries[i]);
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<CompletionDialect> NewLlamaCppDialect() {
  return std::make_unique<LlamaCppDialect>();
}

}  // namespace unlearn
