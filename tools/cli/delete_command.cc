#include "tools/cli/delete_command.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proto/unlearn/v1/deletion.grpc.pb.h"
#include "tools/cli/connection.h"
#include "tools/cli/request_view.h"
#include "tools/cli/watch.h"
#include "trainer/data/item_reader.h"

namespace unlearn {
namespace {

// What the flags of `submit` and `retry` ask of the training; what is not given is the trainer's.
struct SettingsFlags {
  std::optional<std::string> objective;
  std::optional<int32_t> steps;
  std::optional<double> learning_rate;
  std::optional<uint64_t> seed;

  bool Any() const { return objective || steps || learning_rate || seed; }
  v1::TrainingSettings ToProto() const {
    v1::TrainingSettings settings;
    settings.set_objective(objective.value_or(""));
    settings.set_steps(steps.value_or(0));
    settings.set_learning_rate(learning_rate.value_or(0));
    settings.set_seed(seed.value_or(0));
    return settings;
  }
};

struct SubmitOptions {
  ConnectionFlags connection;
  std::string forget;
  std::string retain;
  SettingsFlags settings;
  std::string name;
  std::string idempotency_key;
  bool wait = false;
  bool json = false;
};

// get, watch, cancel and retry.
struct RequestOptions {
  ConnectionFlags connection;
  std::string request_id;
  SettingsFlags settings;  // retry
  bool wait = false;       // retry
  bool json = false;
};

struct ListOptions {
  ConnectionFlags connection;
  bool json = false;
};

void PrintRequest(const v1::DeletionRequest& request, bool json, Console& console) {
  if (json) {
    PrintJson(RequestJson(request), console);
  } else {
    console.out << RequestDetails(request);
  }
}

// Waits with progress on stderr, prints how it ended, and says so in the status.
absl::Status WaitAndPrint(const Connection& connection, v1::DeletionService::Stub& stub,
                          const std::string& request_id, bool json, Console& console) {
  absl::StatusOr<v1::DeletionRequest> last;
  {
    ProgressView progress(console);
    last = WatchRequest(
        connection, stub, request_id,
        [&](const v1::DeletionRequest& request) { progress.Show(request); },
        [&](const absl::Status& status) {
          progress.Note(absl::StrCat("waiting for the trainer: ", status.message()));
        });
  }
  if (!last.ok()) {
    return absl::Status(
        last.status().code(),
        absl::StrCat(last.status().message(), "; request ", request_id,
                     " is kept: go on with `unlearn delete watch ", request_id, "`"));
  }
  PrintRequest(*last, json, console);
  return EndStatus(*last);
}

absl::Status RunSubmit(const SubmitOptions& options, Console& console) {
  v1::SubmitRequest request;
  // The files first: a bad line shall not need a trainer to be found.
  ASSIGN_OR_RETURN(const std::vector<v1::Item> forget, ReadItems(options.forget));
  for (const v1::Item& item : forget) *request.add_forget() = item;
  if (!options.retain.empty()) {
    ASSIGN_OR_RETURN(const std::vector<v1::Item> retain, ReadItems(options.retain));
    for (const v1::Item& item : retain) *request.add_retain() = item;
  }
  if (options.settings.Any()) *request.mutable_settings() = options.settings.ToProto();
  request.set_name(options.name);
  request.set_idempotency_key(options.idempotency_key);

  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::DeletionService::NewStub(connection.channel());
  v1::SubmitResponse response;
  {
    grpc::ClientContext context;
    connection.Arm(context);
    const absl::Status status = connection.ToStatus(stub->Submit(&context, request, &response));
    if (!status.ok()) {
      const bool unknown = status.code() == absl::StatusCode::kUnavailable ||
                           status.code() == absl::StatusCode::kDeadlineExceeded;
      if (!unknown) return status;
      return absl::Status(
          status.code(),
          absl::StrCat(status.message(), "; whether the request was accepted is not known: ",
                       options.idempotency_key.empty()
                           ? "look with `unlearn delete list`, and give an --idempotency_key to "
                             "be able to submit again safely"
                           : "submit again with the same --idempotency_key"));
    }
  }
  const std::string& id = response.request_id();
  if (!options.wait) {
    if (options.json) {
      PrintJson({{"request_id", id}}, console);
    } else {
      console.out << id << '\n';
    }
    return absl::OkStatus();
  }
  console.err << "accepted as request " << id << '\n' << std::flush;
  return WaitAndPrint(connection, *stub, id, options.json, console);
}

using RequestCall = grpc::Status (v1::DeletionService::Stub::*)(grpc::ClientContext*,
                                                                const v1::GetRequest&,
                                                                v1::DeletionRequest*);

// get and cancel: one call, the request printed as it is afterwards.
absl::Status RunOnRequest(const RequestOptions& options, RequestCall call, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::DeletionService::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Arm(context);
  v1::GetRequest request;
  request.set_request_id(options.request_id);
  v1::DeletionRequest response;
  RETURN_IF_ERROR(connection.ToStatus((stub.get()->*call)(&context, request, &response)));
  PrintRequest(response, options.json, console);
  return absl::OkStatus();
}

absl::Status RunGet(const RequestOptions& options, Console& console) {
  return RunOnRequest(options, &v1::DeletionService::Stub::Get, console);
}

absl::Status RunCancel(const RequestOptions& options, Console& console) {
  return RunOnRequest(options, &v1::DeletionService::Stub::Cancel, console);
}

absl::Status RunRetry(const RequestOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::DeletionService::NewStub(connection.channel());
  v1::RetryRequest request;
  request.set_request_id(options.request_id);
  if (options.settings.Any()) *request.mutable_settings() = options.settings.ToProto();
  v1::DeletionRequest response;
  {
    grpc::ClientContext context;
    connection.Arm(context);
    RETURN_IF_ERROR(connection.ToStatus(stub->Retry(&context, request, &response)));
  }
  if (options.wait) {
    return WaitAndPrint(connection, *stub, options.request_id, options.json, console);
  }
  PrintRequest(response, options.json, console);
  return absl::OkStatus();
}

absl::Status RunList(const ListOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::DeletionService::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Arm(context);
  v1::ListResponse response;
  RETURN_IF_ERROR(connection.ToStatus(stub->List(&context, v1::ListRequest(), &response)));
  if (options.json) {
    Json requests = Json::array();
    for (const v1::DeletionRequest& request : response.requests()) {
      requests.push_back(RequestJson(request));
    }
    PrintJson({{"requests", requests}}, console);
    return absl::OkStatus();
  }
  for (const v1::DeletionRequest& request : response.requests()) {
    console.out << RequestLine(request) << '\n';
  }
  if (response.requests().empty()) console.out << "no requests\n";
  return absl::OkStatus();
}

absl::Status RunWatch(const RequestOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const Connection connection, Connection::Open(options.connection));
  const auto stub = v1::DeletionService::NewStub(connection.channel());
  ASSIGN_OR_RETURN(const v1::DeletionRequest last,
                   WatchRequest(
                       connection, *stub, options.request_id,
                       [&](const v1::DeletionRequest& request) {
                         if (options.json) {
                           PrintJson(RequestJson(request), console);
                         } else {
                           console.out << RequestLine(request) << '\n' << std::flush;
                         }
                       },
                       [&](const absl::Status& status) {
                         console.err << "waiting for the trainer: " << status.message() << '\n'
                                     << std::flush;
                       }));
  return EndStatus(last);
}

void AddSettings(CLI::App* command, SettingsFlags* settings) {
  command
      ->add_option("--objective", settings->objective,
                   "mixed, refusal, relabel, npo, max_entropy or ce_u; the trainer's default where "
                   "not given")
      ->group("Training");
  command->add_option("--steps", settings->steps, "Training steps; 0: the trainer's default")
      ->group("Training");
  command->add_option("--learning_rate", settings->learning_rate, "0: the trainer's default")
      ->group("Training");
  command->add_option("--seed", settings->seed, "Of the training")->group("Training");
}

void AddRequestCommand(CLI::App* parent, const std::string& name, const std::string& help,
                       double default_timeout, Action* chosen,
                       absl::Status (*run)(const RequestOptions&, Console&)) {
  CLI::App* command = parent->add_subcommand(name, help);
  auto options = std::make_shared<RequestOptions>();
  command->add_option("REQUEST_ID", options->request_id, "As `submit` printed it")->required();
  if (run == RunRetry) {
    AddSettings(command, &options->settings);
    command->add_flag("--wait", options->wait, "Waits for the end, as `submit --wait` does");
  }
  AddJsonFlag(command, &options->json);
  AddConnectionFlags(command, Peer::kTrainer, default_timeout, &options->connection);
  SetAction<RequestOptions>(command, options, chosen, run);
}

void AddSubmit(CLI::App* parent, Action* chosen) {
  CLI::App* command =
      parent->add_subcommand("submit", "Hands in a deletion request and prints its id");
  auto options = std::make_shared<SubmitOptions>();
  command
      ->add_option("--forget", options->forget,
                   "JSON lines of what to forget: question and answer (with optional paraphrases, "
                   "perturbed answers and value), questions alone, or text")
      ->required();
  command->add_option("--retain", options->retain, "JSON lines of what to keep");
  command->add_option("--name", options->name,
                      "A label; it stays after erasure, so no personal data");
  command->add_option("--idempotency_key", options->idempotency_key,
                      "The same key gives the same request, however often it is submitted");
  command->add_flag("--wait", options->wait,
                    "Waits until the request is enforced and erased; exit code 3 when the quality "
                    "gate does not accept it");
  AddSettings(command, &options->settings);
  AddJsonFlag(command, &options->json);
  AddConnectionFlags(command, Peer::kTrainer, kNoTimeout, &options->connection);
  SetAction<SubmitOptions>(command, options, chosen, RunSubmit);
}

}  // namespace

void AddDeleteCommands(CLI::App* root, Action* chosen) {
  CLI::App* parent = root->add_subcommand("delete", "Deletion requests: submit, follow, withdraw");
  AddSubmit(parent, chosen);
  AddRequestCommand(parent, "get", "Prints a request's state", kCallTimeoutSeconds, chosen, RunGet);

  CLI::App* list = parent->add_subcommand("list", "Prints all requests, oldest first");
  auto list_options = std::make_shared<ListOptions>();
  AddJsonFlag(list, &list_options->json);
  AddConnectionFlags(list, Peer::kTrainer, kCallTimeoutSeconds, &list_options->connection);
  SetAction<ListOptions>(list, list_options, chosen, RunList);

  AddRequestCommand(parent, "watch",
                    "Prints a request's state now and whenever it changes, until it lasts; exit "
                    "code 3 when that is NEEDS_OPERATOR",
                    kNoTimeout, chosen, RunWatch);
  AddRequestCommand(parent, "cancel",
                    "Withdraws a request that is not yet published and erases its text",
                    kCallTimeoutSeconds, chosen, RunCancel);
  AddRequestCommand(parent, "retry",
                    "Trains a FAILED or NEEDS_OPERATOR request again, with other settings if given",
                    kNoTimeout, chosen, RunRetry);
}

}  // namespace unlearn
