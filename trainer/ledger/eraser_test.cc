#include "trainer/ledger/eraser.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/ledger/residue_scan.h"

namespace unlearn {
namespace {

class EraserTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/eraser_", getpid());
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
  std::string SubmitTo(v1::RequestState state) {
    v1::SubmitRequest submit;
    submit.add_forget()->set_text(std::string(20000, 't'));
    const std::string id = *queue_->Submit(submit);
    SealedFolder work = queue_->WorkFolder(id);
    EXPECT_TRUE(work.Write("cache", std::string(100000, 'c')).ok());
    EXPECT_TRUE(work.Write("checkpoint", "k").ok());
    if (state == v1::CANCELLED) {
      EXPECT_TRUE(queue_->Transition(id, v1::RECEIVED, v1::CANCELLED).ok());
      return id;
    }
    v1::RequestState now = v1::RECEIVED;
    for (const v1::RequestState next :
         {v1::TRAINING, v1::EVALUATING, v1::PUBLISHED, v1::ENFORCED}) {
      if (now == state) break;
      EXPECT_TRUE(queue_->Transition(id, now, next).ok());
      now = next;
    }
    return id;
  }
  void ExpectNothingLeft(const std::string& id) {
    EXPECT_FALSE(FileExists(JoinPath(folder_, absl::StrCat("keys/", id, ".key"))));
    EXPECT_FALSE(FileExists(JoinPath(folder_, absl::StrCat("work/", id))));
    EXPECT_FALSE(queue_->Payload(id).ok());
    EXPECT_TRUE(queue_->Get(id)->erased);
  }

  std::string folder_;
  std::unique_ptr<RequestQueue> queue_;
};

TEST_F(EraserTest, ErasesEnforcedAndCancelledRequestsOnce) {
  Eraser eraser(queue_.get());
  for (const v1::RequestState state : {v1::ENFORCED, v1::CANCELLED}) {
    const std::string id = SubmitTo(state);
    ASSERT_TRUE(eraser.Erase(id).ok());
    ExpectNothingLeft(id);
    EXPECT_EQ(queue_->Get(id)->request.state(), state == v1::ENFORCED ? v1::ERASED : v1::CANCELLED);
    ASSERT_TRUE(eraser.Erase(id).ok());
  }
}

TEST_F(EraserTest, RefusesARequestThatIsNotEnforced) {
  Eraser eraser(queue_.get());
  const std::string id = SubmitTo(v1::PUBLISHED);
  EXPECT_EQ(eraser.Erase(id).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(queue_->Payload(id).ok());
  EXPECT_TRUE(queue_->WorkFolder(id).Read("cache").ok());
}

TEST_F(EraserTest, AKilledErasureIsFinishedByTheNext) {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const std::string id = SubmitTo(v1::ENFORCED);
    queue_.reset();
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto queue = RequestQueue::Open(folder_);
      if (!queue.ok() || write(ends[1], "x", 1) != 1) _exit(2);
      Eraser(queue->get()).Erase(id).IgnoreError();
      _exit(0);
    }
    char started = 0;
    close(ends[1]);
    ASSERT_EQ(read(ends[0], &started, 1), 1);
    close(ends[0]);
    absl::SleepFor(absl::Microseconds(random() % 6000));  // when the kill falls, not a wait
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    Reopen();
    const v1::RequestState state = queue_->Get(id)->request.state();
    ASSERT_TRUE(state == v1::ENFORCED || state == v1::ERASED);
    ASSERT_TRUE(Eraser(queue_.get()).Erase(id).ok());
    ExpectNothingLeft(id);
    EXPECT_EQ(queue_->Get(id)->request.state(), v1::ERASED);
  }
}

}  // namespace
}  // namespace unlearn
