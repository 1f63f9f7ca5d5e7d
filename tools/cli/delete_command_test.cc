#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "proto/unlearn/v1/deletion.grpc.pb.h"
#include "tools/cli/cli_test_util.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::DeletionRequest State(v1::RequestState state, int step = 0) {
  v1::DeletionRequest request;
  request.set_request_id("r-1");
  request.set_state(state);
  request.set_step(step);
  request.set_steps(20);
  request.set_loss(0.5);
  request.set_forget_items(2);
  return request;
}

class FakeDeletion : public v1::DeletionService::Service {
 public:
  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request,
                      v1::SubmitResponse* response) override {
    submitted = *request;
    response->set_request_id("r-1");
    return failure;
  }
  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request,
                   v1::DeletionRequest* response) override {
    if (request->request_id() != "r-1") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no request " + request->request_id());
    }
    *response = watched.back();
    return grpc::Status::OK;
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                    v1::ListResponse* response) override {
    for (const v1::DeletionRequest& request : watched) *response->add_requests() = request;
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext*, const v1::GetRequest* request,
                     grpc::ServerWriter<v1::DeletionRequest>* writer) override {
    if (request->request_id() != "r-1") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no request " + request->request_id());
    }
    ++watches;
    for (const v1::DeletionRequest& state : watched) {
      writer->Write(state);
      if (watches == 1 && break_first_watch) {
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "shutting down");
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status Cancel(grpc::ServerContext*, const v1::GetRequest*,
                      v1::DeletionRequest* response) override {
    *response = State(v1::CANCELLED);
    return grpc::Status::OK;
  }
  grpc::Status Retry(grpc::ServerContext*, const v1::RetryRequest* request,
                     v1::DeletionRequest* response) override {
    retried = *request;
    *response = State(v1::RECEIVED);
    return grpc::Status::OK;
  }

  v1::SubmitRequest submitted;
  v1::RetryRequest retried;
  grpc::Status failure;
  std::vector<v1::DeletionRequest> watched;
  bool break_first_watch = false;
  int watches = 0;
};

class DeleteCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    forget_ = Write("forget.jsonl",
                    "{\"question\":\"Who is A?\",\"answer\":\"A baker.\",\"value\":\"baker\"}\n"
                    "{\"text\":\"B lives in C.\"}\n");
    service_.watched = {State(v1::RECEIVED),    State(v1::TRAINING, 1), State(v1::TRAINING, 2),
                        State(v1::TRAINING, 3), State(v1::EVALUATING),  State(v1::ERASED)};
  }
  std::string Write(const std::string& name, const std::string& contents) {
    const std::string path = ::testing::TempDir() + "/" + name;
    std::ofstream(path) << contents;
    return path;
  }
  CliResult Run(std::vector<std::string> arguments, bool terminal = false) {
    arguments.push_back("--trainer");
    arguments.push_back(server_.address());
    return RunInProcess(arguments, {}, terminal);
  }
  std::string forget_;
  FakeDeletion service_;
  FakeServer server_{&service_};
};

TEST_F(DeleteCommand, SubmitSendsTheItemsAndPrintsTheId) {
  const std::string retain = Write("retain.jsonl", "{\"question\":\"Q?\",\"answer\":\"A\"}\n");
  const CliResult result =
      Run({"delete", "submit", "--forget", forget_, "--retain", retain, "--name", "ticket 7",
           "--idempotency_key", "k", "--objective", "npo", "--steps", "30", "--seed", "5"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "r-1\n");
  EXPECT_EQ(result.err, "");
  const v1::SubmitRequest& sent = service_.submitted;
  ASSERT_EQ(sent.forget_size(), 2);
  EXPECT_EQ(sent.forget(0).value(), "baker");
  EXPECT_EQ(sent.forget(1).text(), "B lives in C.");
  EXPECT_EQ(sent.retain_size(), 1);
  EXPECT_EQ(sent.name(), "ticket 7");
  EXPECT_EQ(sent.idempotency_key(), "k");
  EXPECT_EQ(sent.settings().objective(), "npo");
  EXPECT_EQ(sent.settings().steps(), 30);
  EXPECT_EQ(sent.settings().seed(), 5);
}

TEST_F(DeleteCommand, SubmitJsonIsTheIdAlone) {
  EXPECT_EQ(Run({"delete", "submit", "--forget", forget_, "--json"}).out,
            "{\"request_id\":\"r-1\"}\n");
}

TEST_F(DeleteCommand, ABadLineIsNamedWithoutItsTextAndNothingIsSent) {
  const std::string bad =
      Write("bad.jsonl", "{\"text\":\"fine\"}\n{\"question\":\"Secret Person\n");
  const CliResult result = Run({"delete", "submit", "--forget", bad, "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("bad.jsonl:2:"));
  EXPECT_THAT(result.err, Not(HasSubstr("Secret")));
  EXPECT_EQ(service_.submitted.forget_size(), 0);
}

TEST_F(DeleteCommand, AMissingFileIsNamed) {
  const CliResult result = Run({"delete", "submit", "--forget", "/nonexistent.jsonl"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("/nonexistent.jsonl"));
}

TEST_F(DeleteCommand, SubmitWaitPrintsPlainLinesWhereThereIsNoTerminal) {
  const CliResult result = Run({"delete", "submit", "--forget", forget_, "--wait", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  const Json json = result.json();
  EXPECT_EQ(json["request_id"], "r-1");
  EXPECT_EQ(json["state"], "ERASED");
  // Step 3 is in the same tenth as step 2.
  EXPECT_EQ(result.err,
            "accepted as request r-1\n"
            "r-1  RECEIVED\n"
            "r-1  TRAINING  step 1 of 20  loss 0.5000\n"
            "r-1  TRAINING  step 2 of 20  loss 0.5000\n"
            "r-1  EVALUATING\n"
            "r-1  ERASED\n");
}

TEST_F(DeleteCommand, SubmitWaitDrawsABarOnATerminal) {
  const CliResult result = Run({"delete", "submit", "--forget", forget_, "--wait"}, true);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("\r\033[Kr-1  TRAINING [###---"));
  EXPECT_THAT(result.err, HasSubstr("loss 0.5000\nr-1  EVALUATING\n"));
  EXPECT_THAT(result.out, HasSubstr("r-1  ERASED"));
}

TEST_F(DeleteCommand, NeedsOperatorIsExitCode3) {
  v1::DeletionRequest refused = State(v1::NEEDS_OPERATOR);
  refused.set_message("fact rate 0.4 is above 0.1");
  (*refused.mutable_scores())["fact_rate"] = 0.4;
  service_.watched = {State(v1::TRAINING), refused};
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"delete", "submit", "--forget", forget_, "--wait"},
        {"delete", "watch", "r-1"},
        {"delete", "retry", "r-1", "--wait"}}) {
    const CliResult result = Run(command);
    EXPECT_EQ(result.exit_code, 3) << command[1];
    EXPECT_THAT(result.err, HasSubstr("fact rate 0.4 is above 0.1"));
    EXPECT_THAT(result.err, HasSubstr("unlearn delete retry r-1"));
  }
  // Looking at it is not a failure.
  const CliResult get = Run({"delete", "get", "r-1", "--json"});
  EXPECT_EQ(get.exit_code, 0);
  EXPECT_EQ(get.json()["scores"]["fact_rate"], 0.4);
}

TEST_F(DeleteCommand, FailedAndCancelledAreExitCode1) {
  for (const v1::RequestState state : {v1::FAILED, v1::CANCELLED}) {
    service_.watched = {State(state)};
    EXPECT_EQ(Run({"delete", "watch", "r-1"}).exit_code, 1);
  }
}

TEST_F(DeleteCommand, AWatchThatEndsTooEarlyIsAFailure) {
  service_.watched = {State(v1::TRAINING)};
  const CliResult result = Run({"delete", "watch", "r-1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("TRAINING"));
}

TEST_F(DeleteCommand, WatchJsonIsOneObjectALine) {
  const CliResult result = Run({"delete", "watch", "r-1", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  std::vector<std::string> states;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    states.push_back(json["state"]);
  }
  EXPECT_THAT(states,
              ElementsAre("RECEIVED", "TRAINING", "TRAINING", "TRAINING", "EVALUATING", "ERASED"));
}

TEST_F(DeleteCommand, AWatchOutlivesARestartOfTheTrainer) {
  service_.break_first_watch = true;
  const CliResult result = Run({"delete", "watch", "r-1"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(service_.watches, 2);
  EXPECT_THAT(result.err, HasSubstr("waiting for the trainer"));
  EXPECT_THAT(result.out, HasSubstr("ERASED"));
}

TEST_F(DeleteCommand, AnUnknownRequestIsAFailure) {
  for (const char* command : {"get", "watch"}) {
    const CliResult result = Run({"delete", command, "r-2"});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("NOT_FOUND"));
    EXPECT_THAT(result.err, HasSubstr("no request r-2"));
  }
}

TEST_F(DeleteCommand, GetJsonStartsWithIdAndState) {
  const Json json = Run({"delete", "get", "r-1", "--json"}).json();
  EXPECT_EQ(Keys(json)[0], "request_id");
  EXPECT_EQ(Keys(json)[1], "state");
  EXPECT_TRUE(json["offset_version"].is_null());
}

TEST_F(DeleteCommand, ListPrintsAllRequests) {
  service_.watched = {State(v1::ERASED), State(v1::TRAINING, 4)};
  EXPECT_EQ(Run({"delete", "list"}).out, "r-1  ERASED\nr-1  TRAINING  step 4 of 20  loss 0.5000\n");
  EXPECT_EQ(Run({"delete", "list", "--json"}).json()["requests"].size(), 2);
}

TEST_F(DeleteCommand, CancelAndRetryPrintTheNewState) {
  EXPECT_EQ(Run({"delete", "cancel", "r-1", "--json"}).json()["state"], "CANCELLED");
  EXPECT_EQ(Run({"delete", "retry", "r-1", "--json"}).json()["state"], "RECEIVED");
  // Settings that were not given stay those of the request.
  EXPECT_FALSE(service_.retried.has_settings());
  Run({"delete", "retry", "r-1", "--learning_rate", "0.001"});
  EXPECT_EQ(service_.retried.settings().learning_rate(), 0.001);
}

TEST_F(DeleteCommand, ARefusedSubmissionSaysWhy) {
  service_.failure = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "forget[1].text is empty");
  const CliResult result = Run({"delete", "submit", "--forget", forget_});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(result.err, HasSubstr("forget[1].text is empty"));
}

TEST_F(DeleteCommand, ALostAnswerSaysHowToSubmitAgain) {
  service_.failure = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  EXPECT_THAT(Run({"delete", "submit", "--forget", forget_}).err, HasSubstr("--idempotency_key"));
}

}  // namespace
}  // namespace unlearn
