#include "trainer/server/deletion_service.h"

#include <unistd.h>

#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/server/testing/trainer_fixture.h"

namespace unlearn {
namespace {

class DeletionServiceTest : public testing::Test {
 protected:
  DeletionServiceTest()
      : folder_(absl::StrCat(testing::TempDir(), "/service_", getpid())),
        rig_(folder_),
        authenticator_(*Authenticator::Load("")),
        service_(rig_.queue.get(), rig_.runner.get(), authenticator_.get()) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::DeletionService::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }
  ~DeletionServiceTest() override {
    server_->Shutdown();
    rig_.runner->Stop();
    EXPECT_TRUE(ShredFolder(folder_).ok());
  }

  static v1::SubmitRequest Sample() {
    v1::SubmitRequest submit;
    submit.add_forget()->set_question("Where does Jane Roe live?");
    submit.set_name("ticket 12");
    return submit;
  }
  std::string Submit(const v1::SubmitRequest& submit = Sample()) {
    grpc::ClientContext context;
    v1::SubmitResponse response;
    const grpc::Status status = stub_->Submit(&context, submit, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.request_id();
  }
  static v1::GetRequest Named(const std::string& id) {
    v1::GetRequest request;
    request.set_request_id(id);
    return request;
  }
  // The states of a Watch until it ends, each once.
  std::vector<v1::RequestState> WatchStates(const std::string& id, grpc::Status* status) {
    grpc::ClientContext context;
    const auto reader = stub_->Watch(&context, Named(id));
    std::vector<v1::RequestState> states;
    v1::DeletionRequest request;
    while (reader->Read(&request)) {
      if (states.empty() || states.back() != request.state()) states.push_back(request.state());
    }
    *status = reader->Finish();
    return states;
  }

  const std::string folder_;
  TrainerFixture rig_;
  std::unique_ptr<Authenticator> authenticator_;
  DeletionServiceImpl service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::DeletionService::Stub> stub_;
};

TEST_F(DeletionServiceTest, SubmitGetAndList) {
  const std::string id = Submit();
  grpc::ClientContext get_context;
  v1::DeletionRequest request;
  ASSERT_TRUE(stub_->Get(&get_context, Named(id), &request).ok());
  EXPECT_EQ(request.request_id(), id);
  EXPECT_EQ(request.state(), v1::RECEIVED);
  EXPECT_EQ(request.name(), "ticket 12");
  const std::string second = Submit();
  grpc::ClientContext list_context;
  v1::ListResponse list;
  ASSERT_TRUE(stub_->List(&list_context, v1::ListRequest(), &list).ok());
  ASSERT_EQ(list.requests_size(), 2);
  EXPECT_EQ(list.requests(0).request_id(), id);
  EXPECT_EQ(list.requests(1).request_id(), second);
}

TEST_F(DeletionServiceTest, BadInputChangesNothing) {
  v1::SubmitRequest bad = Sample();
  bad.add_forget()->set_answer("Nowhere Lane");
  grpc::ClientContext context;
  v1::SubmitResponse response;
  const grpc::Status status = stub_->Submit(&context, bad, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(absl::StrContains(status.error_message(), "forget[1]")) << status.error_message();
  EXPECT_FALSE(absl::StrContains(status.error_message(), "Nowhere"));
  EXPECT_TRUE(rig_.queue->List()->empty());
  for (const char* id : {"", "req-none", "../../etc"}) {
    grpc::ClientContext get_context;
    v1::DeletionRequest request;
    EXPECT_EQ(stub_->Get(&get_context, Named(id), &request).error_code(),
              grpc::StatusCode::NOT_FOUND);
    grpc::Status watched;
    EXPECT_TRUE(WatchStates(id, &watched).empty());
    EXPECT_EQ(watched.error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(DeletionServiceTest, WatchTellsEveryStateUntilErased) {
  // The trainer waits at each gate until the watcher has seen what came before.
  absl::Notification training_seen, evaluating_seen, published_seen;
  FakeTrainer::Script script;
  script.after_step = [&](const TrainingJob&, int step) {
    if (step == 1) training_seen.WaitForNotification();
  };
  script.before_return = [&](const TrainingJob&) { evaluating_seen.WaitForNotification(); };
  rig_.trainer.Set(script);
  rig_.enforcement.Answer({false, "waiting"});
  const std::string id = Submit();
  grpc::ClientContext context;
  const auto reader = stub_->Watch(&context, Named(id));
  v1::DeletionRequest request;
  ASSERT_TRUE(reader->Read(&request));
  std::vector<v1::RequestState> states = {request.state()};
  rig_.Start();
  bool saw_step = false;
  while (reader->Read(&request)) {
    saw_step = saw_step || request.step() > 0;
    if (request.state() == states.back()) continue;
    states.push_back(request.state());
    if (request.state() == v1::TRAINING) training_seen.Notify();
    if (request.state() == v1::EVALUATING) evaluating_seen.Notify();
    if (request.state() == v1::PUBLISHED) rig_.enforcement.Answer({true, ""});
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(saw_step);
  // ENFORCED may pass between two messages.
  ASSERT_GE(states.size(), 5);
  EXPECT_EQ(
      std::vector<v1::RequestState>(states.begin(), states.begin() + 4),
      (std::vector<v1::RequestState>{v1::RECEIVED, v1::TRAINING, v1::EVALUATING, v1::PUBLISHED}));
  EXPECT_EQ(states.back(), v1::ERASED);
  // Once more: the last state, and the end.
  grpc::Status status;
  EXPECT_EQ(WatchStates(id, &status), std::vector<v1::RequestState>{v1::ERASED});
  EXPECT_TRUE(status.ok());
}

TEST_F(DeletionServiceTest, WatchEndsWhereAPersonIsNeeded) {
  FakeTrainer::Script script;
  script.accepted = false;
  rig_.trainer.Set(script);
  const std::string id = Submit();
  rig_.Start();
  grpc::Status status;
  EXPECT_EQ(WatchStates(id, &status).back(), v1::NEEDS_OPERATOR);
  EXPECT_TRUE(status.ok());
  // Withdrawn instead of retried: gone when Cancel has answered.
  grpc::ClientContext context;
  v1::DeletionRequest request;
  ASSERT_TRUE(stub_->Cancel(&context, Named(id), &request).ok());
  EXPECT_EQ(request.state(), v1::CANCELLED);
  EXPECT_EQ(request.message(), "withdrawn; its text is erased");
  EXPECT_FALSE(FileExists(JoinPath(folder_, absl::StrCat("state/keys/", id, ".key"))));
  EXPECT_EQ(WatchStates(id, &status), std::vector<v1::RequestState>{v1::CANCELLED});
}

TEST_F(DeletionServiceTest, RetryWithOtherSettings) {
  FakeTrainer::Script script;
  script.accepted = false;
  rig_.trainer.Set(script);
  const std::string id = Submit();
  rig_.Start();
  rig_.WaitFor(id, v1::NEEDS_OPERATOR);
  rig_.trainer.Set({});
  v1::RetryRequest retry;
  retry.set_request_id(id);
  retry.mutable_settings()->set_objective("magic");
  v1::DeletionRequest request;
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub_->Retry(&context, retry, &request).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(rig_.Get(id).state(), v1::NEEDS_OPERATOR);
  retry.mutable_settings()->set_objective("ce_u");
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->Retry(&context, retry, &request).ok());
  }
  rig_.WaitFor(id, v1::ERASED);
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Retry(&context, retry, &request).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(DeletionServiceTest, WatchersThatGoAwayAndTheEndOfTheServer) {
  const std::string id = Submit();
  {
    grpc::ClientContext context;
    const auto reader = stub_->Watch(&context, Named(id));
    v1::DeletionRequest request;
    ASSERT_TRUE(reader->Read(&request));
    context.TryCancel();
    EXPECT_FALSE(reader->Finish().ok());
  }
  ASSERT_TRUE(rig_.queue->SetMessage(id, "something changed").ok());
  // Many at once, ended together.
  std::vector<std::thread> watchers;
  std::vector<grpc::Status> results(8);
  absl::BlockingCounter reading(results.size());
  for (grpc::Status& result : results) {
    watchers.emplace_back([&] {
      grpc::ClientContext context;
      const auto reader = stub_->Watch(&context, Named(id));
      v1::DeletionRequest request;
      EXPECT_TRUE(reader->Read(&request));
      EXPECT_EQ(request.message(), "something changed");
      reading.DecrementCount();
      while (reader->Read(&request)) {
      }
      result = reader->Finish();
    });
  }
  reading.Wait();
  service_.EndWatches();
  for (std::thread& watcher : watchers) watcher.join();
  for (const grpc::Status& result : results) {
    EXPECT_EQ(result.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  grpc::Status status;
  EXPECT_TRUE(WatchStates(id, &status).empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace unlearn
