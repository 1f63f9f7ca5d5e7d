#include "tools/cli/score_command.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "offset/base/status_macros.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "tools/cli/connection.h"

namespace unlearn {
namespace {

struct ScoreOptions {
  ConnectionFlags connection;
  std::string prompt;
  std::vector<int32_t> token_ids;
  std::string completion;
  std::vector<int32_t> completion_token_ids;
  bool append_eos = false;
  bool json = false;
};

v1::ScoreRequest MakeRequest(const ScoreOptions& options) {
  v1::ScoreRequest request;
  if (options.token_ids.empty()) {
    request.set_text(options.prompt);
  } else {
    for (const int32_t id : options.token_ids) request.mutable_token_ids()->add_ids(id);
  }
  if (options.completion_token_ids.empty()) {
    request.set_completion_text(options.completion);
  } else {
    for (const int32_t id : options.completion_token_ids) {
      request.mutable_completion_token_ids()->add_ids(id);
    }
  }
  request.set_append_eos(options.append_eos);
  return request;
}

absl::Status RunScore(const ScoreOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::GenerationService::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Arm(context);
  v1::ScoreResponse response;
  RETURN_IF_ERROR(connection.ToStatus(stub->Score(&context, MakeRequest(options), &response)));
  if (options.json) {
    Json token_ids = Json::array();
    for (const int32_t id : response.token_ids()) token_ids.push_back(id);
    Json logprobs = Json::array();
    for (const float logprob : response.logprobs()) logprobs.push_back(ShortDouble(logprob));
    PrintJson({{"token_ids", token_ids},
               {"logprobs", logprobs},
               {"sum_logprob", response.sum_logprob()},
               {"logprob_error_bound", response.logprob_error_bound()}},
              console);
    return absl::OkStatus();
  }
  for (int i = 0; i < response.token_ids_size() && i < response.logprobs_size(); ++i) {
    console.out << absl::StrFormat("%8d  %.6f\n", response.token_ids(i), response.logprobs(i));
  }
  console.out << absl::StrFormat("sum of %d tokens: %.6f (each within %g), offset version %d\n",
                                 response.token_ids_size(), response.sum_logprob(),
                                 response.logprob_error_bound(), response.offset_version());
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App* root, Action* chosen) {
  CLI::App* command = root->add_subcommand(
      "score", "Prints the log-probabilities (natural, temperature 1) of a completion");
  auto options = std::make_shared<ScoreOptions>();
  CLI::Option_group* prompt = command->add_option_group("Prompt", "one of");
  prompt->add_option("--prompt", options->prompt, "What comes before the completion");
  AddList(prompt, "--token_ids", &options->token_ids, "The same as M's token ids: 5,6,7");
  prompt->require_option(1);
  CLI::Option_group* completion = command->add_option_group("Completion", "one of");
  completion->add_option("--completion", options->completion,
                         "The text to score; tokenised apart from the prompt");
  AddList(completion, "--completion_token_ids", &options->completion_token_ids,
          "The same as M's token ids");
  completion->require_option(1);
  command->add_flag("--append_eos", options->append_eos,
                    "Scores the end-of-sequence token after the completion too");
  AddJsonFlag(command, &options->json);
  AddConnectionFlags(command, Peer::kProxy, kCallTimeoutSeconds, &options->connection);
  SetAction<ScoreOptions>(command, options, chosen, RunScore);
}

}  // namespace unlearn
