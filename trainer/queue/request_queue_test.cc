#include "trainer/queue/request_queue.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

v1::SubmitRequest Sample(const std::string& key = "", int size = 10) {
  v1::SubmitRequest submit;
  v1::Item* item = submit.add_forget();
  item->set_question("Where does Jane Roe live?");
  item->set_answer(std::string(size, 'a'));
  submit.add_retain()->set_text("A sentence that stays.");
  submit.mutable_settings()->set_steps(7);
  submit.set_name("ticket 12");
  submit.set_idempotency_key(key);
  return submit;
}

class RequestQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/queue_", getpid());
    Reopen();
  }
  void TearDown() override {
    queue_.reset();
    ASSERT_TRUE(ShredFolder(folder_).ok());
  }
  void Reopen() {
    queue_.reset();
    auto queue = RequestQueue::Open(folder_);
    ASSERT_TRUE(queue.ok()) << queue.status();
    queue_ = *std::move(queue);
  }
  std::string MustSubmit(const v1::SubmitRequest& submit) {
    const auto id = queue_->Submit(submit);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or("");
  }
  v1::RequestState StateOf(const std::string& id) { return queue_->Get(id)->request.state(); }

  std::string folder_;
  std::unique_ptr<RequestQueue> queue_;
};

TEST_F(RequestQueueTest, WhatWasSubmittedIsThereAfterReopening) {
  const std::string id = MustSubmit(Sample());
  EXPECT_EQ(id.size(), 20);
  EXPECT_TRUE(absl::StartsWith(id, "req-"));
  Reopen();
  const auto queued = queue_->Get(id);
  ASSERT_TRUE(queued.ok()) << queued.status();
  EXPECT_EQ(queued->request.state(), v1::RECEIVED);
  EXPECT_EQ(queued->request.name(), "ticket 12");
  EXPECT_EQ(queued->request.forget_items(), 1);
  EXPECT_EQ(queued->request.retain_items(), 1);
  EXPECT_EQ(queued->request.settings().steps(), 7);
  EXPECT_GT(queued->request.received_unix_seconds(), 0);
  const auto payload = queue_->Payload(id);
  ASSERT_TRUE(payload.ok()) << payload.status();
  EXPECT_EQ(payload->SerializeAsString(), Sample().SerializeAsString());
}

TEST_F(RequestQueueTest, TheOldestThatNeedsTrainingComesFirst) {
  EXPECT_FALSE(queue_->Next()->has_value());
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(MustSubmit(Sample()));
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 4);
  EXPECT_EQ((*queue_->Next())->request.request_id(), ids[0]);
  ASSERT_TRUE(queue_->Transition(ids[0], v1::RECEIVED, v1::FAILED, "why").ok());
  EXPECT_EQ((*queue_->Next())->request.request_id(), ids[1]);
  ASSERT_TRUE(queue_->Transition(ids[1], v1::RECEIVED, v1::TRAINING).ok());
  EXPECT_EQ((*queue_->Next())->request.request_id(), ids[1]);
  ASSERT_TRUE(queue_->Retry(ids[0], absl::nullopt).ok());
  EXPECT_EQ((*queue_->Next())->request.request_id(), ids[0]);
  const auto all = queue_->List();
  ASSERT_EQ(all->size(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*all)[i].request.request_id(), ids[i]);
}

TEST_F(RequestQueueTest, TransitionsAreCheckedAndKeepTheProgress) {
  const std::string id = MustSubmit(Sample());
  EXPECT_EQ(queue_->Transition(id, v1::RECEIVED, v1::PUBLISHED).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(queue_->Transition(id, v1::TRAINING, v1::EVALUATING).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(queue_->Transition("req-0", v1::RECEIVED, v1::TRAINING).code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(queue_->Transition(id, v1::RECEIVED, v1::TRAINING).ok());
  queue_->UpdateProgress(id, 3, 9, 0.5);
  EXPECT_EQ(queue_->Get(id)->request.step(), 3);
  ASSERT_TRUE(queue_->Transition(id, v1::TRAINING, v1::NEEDS_OPERATOR, "too weak").ok());
  ASSERT_TRUE(queue_->SetOutcome(id, 0, {{"forget", 0.75}}).ok());
  Reopen();
  v1::DeletionRequest request = queue_->Get(id)->request;
  EXPECT_EQ(request.state(), v1::NEEDS_OPERATOR);
  EXPECT_EQ(request.message(), "too weak");
  EXPECT_EQ(request.step(), 3);
  EXPECT_EQ(request.steps(), 9);
  EXPECT_EQ(request.loss(), 0.5);
  EXPECT_EQ(request.scores().at("forget"), 0.75);

  v1::TrainingSettings other;
  other.set_objective("npo");
  ASSERT_TRUE(queue_->Retry(id, other).ok());
  request = queue_->Get(id)->request;
  EXPECT_EQ(request.state(), v1::RECEIVED);
  EXPECT_EQ(request.message(), "");
  EXPECT_EQ(request.step(), 0);
  EXPECT_EQ(request.scores_size(), 0);
  EXPECT_EQ(queue_->Payload(id)->settings().objective(), "npo");
  EXPECT_EQ(queue_->Payload(id)->settings().steps(), 0);
  EXPECT_EQ(queue_->Retry(id, other).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(RequestQueueTest, WhatIsBeingPublishedCannotBeCancelled) {
  const std::string id = MustSubmit(Sample());
  EXPECT_EQ(queue_->BeginPublishing(id).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(queue_->Transition(id, v1::RECEIVED, v1::TRAINING).ok());
  ASSERT_TRUE(queue_->Transition(id, v1::TRAINING, v1::EVALUATING).ok());
  ASSERT_TRUE(queue_->BeginPublishing(id).ok());
  Reopen();
  EXPECT_TRUE(queue_->Get(id)->publishing);
  EXPECT_EQ(queue_->Transition(id, v1::EVALUATING, v1::CANCELLED).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(queue_->Transition(id, v1::EVALUATING, v1::FAILED).ok());
  EXPECT_FALSE(queue_->Get(id)->publishing);
  ASSERT_TRUE(queue_->Transition(id, v1::FAILED, v1::CANCELLED).ok());
}

TEST_F(RequestQueueTest, AnIdempotencyKeyGivesTheSameRequestAndIsNotStored) {
  const std::string key = "order-of-jane-roe-0815";
  const std::string id = MustSubmit(Sample(key));
  EXPECT_EQ(MustSubmit(Sample(key)), id);
  EXPECT_NE(MustSubmit(Sample(key + "x")), id);
  EXPECT_NE(MustSubmit(Sample()), MustSubmit(Sample()));
  EXPECT_EQ(queue_->Submit(Sample(key, 11)).status().code(), absl::StatusCode::kAlreadyExists);
  Reopen();
  EXPECT_EQ(MustSubmit(Sample(key)), id);
  EXPECT_EQ(queue_->List()->size(), 4);
  for (const char* file : {"queue.db", "queue.db-wal"}) {
    EXPECT_FALSE(absl::StrContains(*ReadFile(JoinPath(folder_, file)), key)) << file;
  }
  // Also after its text is gone.
  ASSERT_TRUE(queue_->Transition(id, v1::RECEIVED, v1::CANCELLED).ok());
  ASSERT_TRUE(queue_->Erase(id).ok());
  ASSERT_TRUE(queue_->MarkErased(id).ok());
  EXPECT_EQ(MustSubmit(Sample(key)), id);
}

TEST_F(RequestQueueTest, ManyThreadsWithOneKeyMakeOneRequest) {
  std::vector<std::string> ids(8);
  std::vector<std::thread> threads;
  for (std::string& id : ids) threads.emplace_back([&] { id = MustSubmit(Sample("one")); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1);
  EXPECT_EQ(queue_->List()->size(), 1);
}

TEST_F(RequestQueueTest, OneProcessAtATime) {
  const auto second = RequestQueue::Open(folder_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(second.status().message(), "--state"));
}

TEST_F(RequestQueueTest, EveryFileIsPrivate) {
  const std::string id = MustSubmit(Sample());
  ASSERT_TRUE(queue_->WorkFolder(id).Write("cache", "x").ok());
  for (const std::string& name :
       {std::string("queue.db"), std::string("queue.db-wal"), std::string("lock"),
        absl::StrCat("keys/", id, ".key"), absl::StrCat("work/", id, "/cache")}) {
    struct stat info;
    ASSERT_EQ(stat(JoinPath(folder_, name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, 0600) << name;
  }
}

TEST_F(RequestQueueTest, AMissingKeyIsDataLoss) {
  const std::string id = MustSubmit(Sample());
  ASSERT_TRUE(ShredFile(JoinPath(folder_, absl::StrCat("keys/", id, ".key"))).ok());
  EXPECT_EQ(queue_->Payload(id).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(queue_->Get(id).ok());
}

TEST_F(RequestQueueTest, ANewerSchemaIsRefused) {
  queue_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(JoinPath(folder_, "queue.db").c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  EXPECT_EQ(RequestQueue::Open(folder_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(RequestQueueTest, WhatAKilledSubmitLeftIsRemovedAndForeignFilesStay) {
  const std::string id = MustSubmit(Sample());
  const std::string keys = JoinPath(folder_, "keys");
  ASSERT_TRUE(WriteFileAtomically(JoinPath(keys, "req-dead.key"), "x").ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(keys, "req-half.key.new"), "x").ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(keys, "NOTES"), "x").ok());
  ASSERT_TRUE(MakeFolders(JoinPath(folder_, "work/req-dead")).ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(folder_, "work/req-dead/cache"), "x").ok());
  Reopen();
  EXPECT_EQ(*ListFolder(keys), (std::vector<std::string>{"NOTES", "queue.key", id + ".key"}));
  EXPECT_FALSE(FileExists(JoinPath(folder_, "work/req-dead")));
  EXPECT_TRUE(queue_->Payload(id).ok());
}

// The kernel refuses to let any file grow beyond a few hundred kB: what a full disk or a quota does
// in the middle of a write.
TEST_F(RequestQueueTest, AFullDiskAcceptsNothing) {
  const std::string before = MustSubmit(Sample());
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const struct rlimit small = {300 << 10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto refused = queue_->Submit(Sample("key", 2 << 20));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "not accepted"));
  EXPECT_EQ(queue_->List()->size(), 1);
  EXPECT_EQ(*ListFolder(JoinPath(folder_, "keys")),
            (std::vector<std::string>{"queue.key", before + ".key"}));
  // With room again the same submission goes through, and the old one never suffered.
  const std::string id = MustSubmit(Sample("key", 2 << 20));
  Reopen();
  EXPECT_EQ(queue_->Payload(id)->forget(0).answer().size(), 2 << 20);
  EXPECT_TRUE(queue_->Payload(before).ok());
}

}  // namespace
}  // namespace unlearn
