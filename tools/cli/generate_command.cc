#include "tools/cli/generate_command.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "tools/cli/connection.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

struct GenerateOptions {
  ConnectionFlags connection;
  std::string prompt;
  std::vector<int32_t> token_ids;
  int32_t max_tokens = 0;
  float temperature = 0;
  float top_p = 0;
  int32_t top_k = 0;
  float min_p = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  std::string decoding = "auto";
  bool exact = false;
  std::optional<double> alpha;
  std::optional<uint64_t> offset_version;
  bool json = false;
};

const char* FinishReasonName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    default:
      return "unknown";
  }
}

// As --decoding spells them.
const std::map<std::string, v1::Decoding>& Decodings() {
  static const auto* const decodings = new std::map<std::string, v1::Decoding>{
      {"auto", v1::DECODING_AUTO},
      {"lockstep", v1::DECODING_LOCKSTEP},
      {"draft-and-verify", v1::DECODING_DRAFT_AND_VERIFY},
      {"top-k", v1::DECODING_TOP_K},
      {"stream-and-verify", v1::DECODING_STREAM_AND_VERIFY}};
  return *decodings;
}

v1::GenerateRequest MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  if (options.token_ids.empty()) {
    request.set_text(options.prompt);
  } else {
    for (const int32_t id : options.token_ids) request.mutable_token_ids()->add_ids(id);
  }
  v1::SamplingParameters& sampling = *request.mutable_sampling();
  sampling.set_max_tokens(options.max_tokens);
  sampling.set_temperature(options.temperature);
  sampling.set_top_p(options.top_p);
  sampling.set_top_k(options.top_k);
  sampling.set_min_p(options.min_p);
  sampling.set_seed(options.seed);
  for (const std::string& stop : options.stop) sampling.add_stop(stop);
  for (const int32_t id : options.stop_token_ids) sampling.add_stop_token_ids(id);
  sampling.set_ignore_eos(options.ignore_eos);
  request.set_decoding(Decodings().at(options.decoding));
  request.set_exact(options.exact);
  if (options.alpha.has_value()) request.set_alpha(*options.alpha);
  if (options.offset_version.has_value()) request.set_offset_version(*options.offset_version);
  return request;
}

Json TimingJson(const v1::Timing& timing) {
  return {{"ttft_ms", timing.ttft_ms()},
          {"total_ms", timing.total_ms()},
          {"upstream_ms", timing.upstream_ms()},
          {"pair_ms", timing.pair_ms()}};
}

absl::Status RunGenerate(const GenerateOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::GenerationService::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Arm(context);
  const auto reader = stub->Generate(&context, MakeRequest(options));

  std::string text;
  Json token_ids = Json::array();
  Json logprobs = Json::array();
  Json offset = nullptr;  // of the newest token; null while there is none
  v1::GenerateResponse response;
  v1::GenerateResponse last;
  while (reader->Read(&response)) {
    if (!options.json) PrintText(response.text(), console);
    text += response.text();
    for (const v1::GeneratedToken& token : response.tokens()) {
      token_ids.push_back(token.id());
      logprobs.push_back(ShortDouble(token.logprob()));
      offset = token.offset_version();
    }
    last = response;
  }
  if (!options.json && !text.empty()) console.out << '\n' << std::flush;
  RETURN_IF_ERROR(connection.ToStatus(reader->Finish()));
  if (last.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) {
    return absl::InternalError(absl::StrCat(options.connection.address,
                                            ": the stream ended without a finish reason, so the "
                                            "completion may be cut; ask again"));
  }
  if (!options.json) return absl::OkStatus();
  PrintJson({{"text", text},
             {"token_ids", token_ids},
             {"logprobs", logprobs},
             {"finish_reason", FinishReasonName(last.finish_reason())},
             {"offset", offset},
             {"usage",
              {{"prompt_tokens", last.usage().prompt_tokens()},
               {"completion_tokens", last.usage().completion_tokens()}}},
             {"timing", TimingJson(last.timing())}},
            console);
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(CLI::App* root, Action* chosen) {
  CLI::App* command = root->add_subcommand(
      "generate", "Generates a completion under the ensemble of M and the active offset");
  auto options = std::make_shared<GenerateOptions>();
  CLI::Option_group* prompt = command->add_option_group("Prompt", "one of");
  prompt->add_option("--prompt", options->prompt, "The text to go on from");
  AddList(prompt, "--token_ids", &options->token_ids, "The same as M's token ids: 5,6,7");
  prompt->require_option(1);
  command->add_option("--max_tokens", options->max_tokens, "Most tokens to generate; 0: 16");
  command->add_option("--temperature", options->temperature,
                      "0: always the most likely token; 1: the ensemble's own distribution");
  command->add_option("--top_p", options->top_p,
                      "Only the most likely tokens that together reach this probability");
  command->add_option("--top_k", options->top_k, "Only the k most likely tokens; 0: all");
  command->add_option("--min_p", options->min_p,
                      "Only tokens with this share of the most likely one's probability");
  command->add_option("--seed", options->seed, "The same seed and request give the same tokens");
  AddRepeated(command, "--stop", &options->stop,
              "Ends before this string; may be given up to 16 times");
  AddList(command, "--stop_token_ids", &options->stop_token_ids, "Ends after any of these tokens");
  command->add_flag("--ignore_eos", options->ignore_eos, "Goes on after end-of-sequence tokens");
  command
      ->add_option("--decoding", options->decoding,
                   "How tokens come about: auto, lockstep, draft-and-verify, top-k or "
                   "stream-and-verify; all draw from the ensemble")
      ->check(CLI::IsMember(Decodings()));
  command->add_flag("--exact", options->exact,
                    "An error rather than a token within the server's --max_truncated_mass");
  command->add_option("--alpha", options->alpha,
                      "Another strength of the offset; needs the role admin");
  command->add_option("--offset_version", options->offset_version,
                      "Another version than the active one; needs the role admin");
  AddJsonFlag(command, &options->json);
  AddConnectionFlags(command, Peer::kProxy, kNoTimeout, &options->connection);
  SetAction<GenerateOptions>(command, options, chosen, RunGenerate);
}

}  // namespace unlearn
